//! Queues.

use std::collections::BTreeMap;

use serde::Deserialize;
use yaml_serde::{Mapping, Value};

use super::{
    error::TemplateError,
    intrinsics::{Arn, typed},
    resources::Resources,
    specs::QueueSpec,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: Arn,
    max_receive_count: u32,
}

/// The queue with the logical id `logical_id`. What is no text, number or boolean, such as a key, has no effect here.
pub fn read_queue(logical_id: &str, resources: &Resources) -> Result<QueueSpec, TemplateError> {
    let properties: Mapping = resources.properties(logical_id)?;
    let mut attributes = BTreeMap::new();
    for (name, value) in &properties {
        let name = name.as_str().unwrap_or_default();
        let value = match value {
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::String(text) => text.clone(),
            policy if name == "RedrivePolicy" => {
                let RedrivePolicy { dead_letter_target_arn: Arn(target), max_receive_count } =
                    typed(&format!("{logical_id}.RedrivePolicy"), policy)?;
                let target = queue_name(&target, &resources.properties(&target)?);
                serde_json::json!({
                    "deadLetterTargetArn": format!("arn:aws:sqs:us-east-1:000000000000:{target}"),
                    "maxReceiveCount": max_receive_count,
                })
                .to_string()
            }
            _ => continue,
        };
        attributes.insert(name.to_owned(), value);
    }
    let name = queue_name(logical_id, &properties);
    Ok(QueueSpec { logical_id: logical_id.to_owned(), name, attributes })
}

fn queue_name(logical_id: &str, properties: &Mapping) -> String {
    let fifo = properties.get("FifoQueue").and_then(Value::as_bool).unwrap_or(false);
    format!("{logical_id}{}", if fifo { ".fifo" } else { "" })
}
