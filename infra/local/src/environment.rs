//! The environment that functions see: the operator's settings, and what template.yaml names.

use std::{collections::BTreeMap, net::SocketAddr};

use local_sqs::Sqs;
use shared::{
    config::{SETTINGS, SIMULATED_ADMIN_KEY},
    random::Random,
};

use crate::{
    options::WeChatMode,
    template::{FunctionSpec, Template},
};

/// The simulated platform's credentials and operator's key. They are public, and valid nowhere else.
const SIMULATED_SETTINGS: [(&str, &str); 5] = [
    ("OAHUB_COMPONENT_APP_ID", "wx00c0ffee00c0ffee"),
    ("OAHUB_COMPONENT_APP_SECRET", "0123456789abcdef0123456789abcdef"),
    ("OAHUB_COMPONENT_TOKEN", "simulated"),
    ("OAHUB_COMPONENT_AES_KEY", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"),
    ("OAHUB_ADMIN_KEY", SIMULATED_ADMIN_KEY),
];

/// Draws new secrets for the simulated platform, valid while this process runs; the simulated WeChat gets them too.
pub fn randomize_secrets(environment: &mut BTreeMap<String, String>, random: &dyn Random) {
    for (name, letters) in
        [("OAHUB_COMPONENT_APP_SECRET", 32), ("OAHUB_COMPONENT_TOKEN", 32), ("OAHUB_COMPONENT_AES_KEY", 43)]
    {
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        environment.insert(name.to_owned(), hex.chars().take(letters).collect());
    }
}

/// Where things listen.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The gateway.
    pub gateway: SocketAddr,
    /// DynamoDB and SQS, where they have ports.
    pub aws: Option<(SocketAddr, SocketAddr)>,
    /// The simulated WeChat.
    pub wechat: Option<SocketAddr>,
}

/// The part of `environment` that one function sees: its variables of template.yaml, and the endpoints
/// of the local AWS and WeChat.
#[must_use]
pub fn for_function(spec: &FunctionSpec, environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let given = |name: &str| {
        spec.variables.contains(name) || name.starts_with("AWS_") || name.starts_with("OAHUB_WECHAT_")
    };
    let given = environment.iter().filter(|(name, _)| given(name));
    given.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The variables that name a table or a queue of the template.
#[must_use]
pub fn resource_variables(template: &Template) -> BTreeMap<String, String> {
    let value = |logical_id: &String| {
        let queue = template.queues.iter().find(|queue| queue.logical_id == *logical_id);
        let is_table = template.tables.iter().any(|table| table.name == *logical_id);
        queue.map(|queue| Sqs::queue_url(&queue.name)).or_else(|| is_table.then(|| logical_id.clone()))
    };
    let named = template.variables.iter();
    named.filter_map(|(variable, logical_id)| Some((variable.clone(), value(logical_id)?))).collect()
}

/// The environment of all functions together. `get` reads this process's environment.
pub fn for_all_functions(
    wechat: WeChatMode,
    addresses: &Addresses,
    template: &Template,
    get: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, String> {
    let mut given = resource_variables(template);
    if let Some((dynamodb, sqs)) = addresses.aws {
        given.insert("AWS_ENDPOINT_URL_DYNAMODB".into(), format!("http://{dynamodb}"));
        given.insert("AWS_ENDPOINT_URL_SQS".into(), format!("http://{sqs}"));
    }
    given.insert("AWS_REGION".into(), "us-east-1".into());
    if wechat == WeChatMode::Simulated {
        given.extend(SIMULATED_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
        if let Some(address) = addresses.wechat {
            for name in ["OAHUB_WECHAT_API_URL", "OAHUB_WECHAT_MP_URL", "OAHUB_WECHAT_OPEN_URL"] {
                given.insert(name.into(), format!("http://{address}"));
            }
        }
        let public = get("OAHUB_PUBLIC_URL").unwrap_or_else(|| format!("http://{}", addresses.gateway));
        given.insert("OAHUB_PUBLIC_URL".into(), public);
        if let Some(key) = get("OAHUB_ADMIN_KEY") {
            given.insert("OAHUB_ADMIN_KEY".into(), key);
        }
    }
    for setting in SETTINGS {
        if let (false, Some(value)) = (given.contains_key(setting.name), get(setting.name)) {
            given.insert(setting.name.to_owned(), value);
        }
    }
    given
}
