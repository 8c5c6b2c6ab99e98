//! Single functions started for one test, without the rest of the system.

use std::{collections::BTreeMap, time::Duration};

use local::template::{self, FunctionSpec};
use oahub_tests::{
    binary,
    hub::settings,
    lambda::{
        instance::{Instance, Launch, MAX_DESCRIPTORS},
        runtime_api::InvocationOutcome,
    },
};
use serde_json::Value;

/// A URL where nothing listens.
pub const UNREACHABLE_URL: &str = "http://127.0.0.1:9";
/// Longer than any of these invocations takes on a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// All functions of the template.
pub fn template_functions() -> Vec<FunctionSpec> {
    template::parse(template::TEMPLATE).unwrap().functions
}

/// A function by its package, with valid settings, whose tables, queues and WeChat are unreachable.
pub fn launch(package: &str) -> Launch {
    let spec = template_functions()
        .into_iter()
        .find(|spec| spec.code_uri == format!("functions/{package}"))
        .unwrap();
    let mut environment: BTreeMap<String, String> = settings(UNREACHABLE_URL, "https://hub.example")
        .into_iter()
        .filter(|(name, _)| spec.variables.contains(*name) || name.starts_with("OAHUB_WECHAT_"))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for name in spec.variables.iter().filter(|name| name.ends_with("_TABLE")) {
        environment.insert(name.clone(), "Table".into());
    }
    for name in
        spec.variables.iter().filter(|name| ["_QUEUE", "_DEAD_LETTERS"].iter().any(|end| name.ends_with(end)))
    {
        environment.insert(name.clone(), "https://sqs.us-east-1.amazonaws.com/000000000000/Queue".into());
    }
    for name in ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SQS"] {
        environment.insert(name.into(), UNREACHABLE_URL.into());
    }
    Launch {
        name: spec.name,
        binary: binary::bootstrap(binary::functions(), package),
        environment,
        memory_mb: None,
        max_descriptors: Some(MAX_DESCRIPTORS),
    }
}

/// Such a function, running.
pub async fn start(package: &str) -> Instance {
    Instance::start(&launch(package), false).await
}

/// Invokes a function; returns its response as JSON.
pub async fn invoke_json(instance: &Instance, event: &Value) -> Value {
    match instance.invoke(event.to_string(), TIMEOUT).await {
        InvocationOutcome::Response(answer) => serde_json::from_slice(&answer).unwrap(),
        other => panic!("{other:?}: {}", instance.log()),
    }
}
