//! Requests and responses of AWS JSON 1.0.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::SqsError;
use crate::message::{
    MessageAttribute, MessageAttributes, NewMessage, ReceivedMessage, SentMessage, md5_attributes, md5_hex,
};
use crate::queue_settings::{ARN_PREFIX, QueueAttributes};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueueRequest {
    pub queue_name: String,
    pub queue_name_prefix: String,
    pub queue_url: Option<String>,
    pub attributes: QueueAttributes,
    pub attribute_names: Vec<String>,
}

/// `SendMessage`, and an entry of its batch.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SendRequest {
    pub id: String,
    pub queue_url: Option<String>,
    pub message_body: Option<String>,
    pub delay_seconds: Option<i64>,
    pub message_attributes: MessageAttributes,
    pub message_system_attributes: MessageAttributes,
    pub message_group_id: Option<String>,
    pub message_deduplication_id: Option<String>,
}

impl SendRequest {
    /// The message in it. The request's trace header is kept with it, unless the sender gave one.
    #[must_use]
    pub fn into_new_message(self, trace: Option<&str>) -> NewMessage {
        let mut system = self.message_system_attributes;
        if let Some(trace) = trace {
            system.entry("AWSTraceHeader".to_owned()).or_insert_with(|| MessageAttribute {
                data_type: "String".to_owned(),
                string_value: Some(trace.to_owned()),
                binary_value: None,
            });
        }
        NewMessage {
            body: self.message_body.unwrap_or_default(),
            attributes: self.message_attributes,
            system_attributes: system,
            delay_seconds: self.delay_seconds,
            group: self.message_group_id,
            dedup: self.message_deduplication_id,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReceiveRequest {
    pub queue_url: Option<String>,
    pub max_number_of_messages: Option<i64>,
    pub visibility_timeout: Option<i64>,
    pub wait_time_seconds: Option<i64>,
    pub attribute_names: Vec<String>,
    pub message_system_attribute_names: Vec<String>,
    pub message_attribute_names: Vec<String>,
}

/// `DeleteMessage` and `ChangeMessageVisibility`, and entries of their batches.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReceiptRequest {
    pub id: String,
    pub queue_url: Option<String>,
    pub receipt_handle: Option<String>,
    pub visibility_timeout: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchRequest<E> {
    pub queue_url: Option<String>,
    #[serde(default = "Vec::new")]
    pub entries: Vec<E>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MoveRequest {
    pub source_arn: Option<String>,
    pub destination_arn: Option<String>,
}

/// An entry of a batch.
pub trait BatchEntry {
    /// Its id in the response.
    fn id(&self) -> &str;
}

impl BatchEntry for SendRequest {
    fn id(&self) -> &str {
        &self.id
    }
}

impl BatchEntry for ReceiptRequest {
    fn id(&self) -> &str {
        &self.id
    }
}

/// An object of the pairs that have a value.
fn object(pairs: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let pairs = pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// The response to a send.
#[must_use]
pub fn sent_message_json(sent: SentMessage) -> Value {
    object([
        ("MessageId", Some(sent.id.into())),
        ("MD5OfMessageBody", Some(sent.md5_body.into())),
        ("MD5OfMessageAttributes", sent.md5_attributes.map(Value::from)),
        ("MD5OfMessageSystemAttributes", sent.md5_system_attributes.map(Value::from)),
        ("SequenceNumber", sent.sequence_number.map(Value::from)),
    ])
}

/// The response to a batch: the entries that succeeded, and why the others failed.
#[must_use]
pub fn batch_result_json(results: Vec<(String, Result<Value, SqsError>)>) -> Value {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, result) in results {
        match result {
            Ok(mut value) => {
                if let Some(map) = value.as_object_mut() {
                    map.insert("Id".to_owned(), id.into());
                }
                successful.push(value);
            }
            Err(fault) => failed.push(json!({
                "Id": id,
                "Code": fault.code.names().1,
                "Message": fault.message,
                "SenderFault": fault.is_sender_fault(),
            })),
        }
    }
    json!({ "Successful": successful, "Failed": failed })
}

/// A received message with the attributes that the request asked for.
#[must_use]
pub fn received_message_json(delivery: ReceivedMessage, request: &ReceiveRequest) -> Value {
    let ReceivedMessage { message, receipt_handle: receipt, fifo } = delivery;
    let md5_body = md5_hex(message.body.as_bytes());
    let wanted = |name: &str| {
        let mut names = request.attribute_names.iter().chain(&request.message_system_attribute_names);
        names.any(|asked| asked == "All" || asked == name)
    };
    let system = object([
        ("SenderId", Some("000000000000".into())),
        ("SentTimestamp", Some(message.sent.to_string().into())),
        ("ApproximateReceiveCount", Some(message.received.to_string().into())),
        ("ApproximateFirstReceiveTimestamp", message.first_received.map(|at| at.to_string().into())),
        ("MessageGroupId", message.group.map(Value::from)),
        ("MessageDeduplicationId", message.dedup.map(Value::from)),
        ("SequenceNumber", fifo.then(|| crate::message_ids::sequence_number(message.seq).into())),
        ("DeadLetterQueueSourceArn", message.gave_up.map(|name| format!("{ARN_PREFIX}{name}").into())),
        ("AWSTraceHeader", message.trace.get("AWSTraceHeader").map(|a| a.string_value.clone().into())),
    ]);
    let system: Map<String, Value> = match system {
        Value::Object(map) => map.into_iter().filter(|(name, _)| wanted(name)).collect(),
        _ => Map::new(),
    };
    let asked = |name: &str| {
        request.message_attribute_names.iter().any(|asked| match asked.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => asked == "All" || asked == name,
        })
    };
    let attributes: BTreeMap<String, MessageAttribute> =
        message.attributes.into_iter().filter(|(name, _)| asked(name)).collect();
    object([
        ("MessageId", Some(message.id.into())),
        ("ReceiptHandle", Some(receipt.into())),
        ("MD5OfBody", Some(md5_body.into())),
        ("Body", Some(message.body.into())),
        ("Attributes", (!system.is_empty()).then_some(Value::Object(system))),
        ("MD5OfMessageAttributes", md5_attributes(&attributes).map(Value::from)),
        ("MessageAttributes", (!attributes.is_empty()).then(|| json!(attributes))),
    ])
}
