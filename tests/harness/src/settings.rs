//! The settings of the simulated deployment: what an operator and CloudFormation would give the functions.

use std::collections::BTreeMap;

use local::{environment::resource_variables, template::Template};
use shared::config::{Config, Need, RunMode};

/// The operator's key.
pub const ADMIN_KEY: &str = "simulated-admin-key";
/// WeChat's EncodingAESKey.
pub(crate) const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";

/// All variables of the template, and the settings.
pub(crate) fn environment(template: &Template) -> BTreeMap<String, String> {
    let mut given = resource_variables(template);
    for (name, value) in [
        ("OAHUB_COMPONENT_APP_ID", "wx00c0ffee00c0ffee"),
        ("OAHUB_COMPONENT_APP_SECRET", "0123456789abcdef0123456789abcdef"),
        ("OAHUB_COMPONENT_TOKEN", "simulated"),
        ("OAHUB_COMPONENT_AES_KEY", AES_KEY),
        ("OAHUB_ADMIN_KEY", ADMIN_KEY),
        ("AWS_REGION", "us-east-1"),
        ("OAHUB_PUBLIC_URL", "http://hub"),
        ("OAHUB_WECHAT_API_URL", "http://wechat"),
        ("OAHUB_WECHAT_MP_URL", "http://wechat"),
        ("OAHUB_WECHAT_OPEN_URL", "http://wechat"),
    ] {
        given.insert(name.into(), value.into());
    }
    given
}

/// The configuration of a function that needs these.
pub(crate) fn load_config(needs: &[Need], environment: &BTreeMap<String, String>) -> Config {
    Config::load(needs, RunMode::Simulated, |name| environment.get(name).cloned()).unwrap()
}
