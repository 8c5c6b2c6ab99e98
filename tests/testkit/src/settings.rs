//! Settings of a function under test.

use shared::config::{Config, Need, RunMode, is_queue_variable};

/// The third-party platform's app id.
pub const COMPONENT_APP_ID: &str = "wx00c0ffee00c0ffee";
/// The operator's key.
pub const ADMIN_KEY: &str = "the-operators-key";

/// Where a function under test finds its services.
pub struct Endpoints<'a> {
    /// DynamoDB's.
    pub dynamodb: &'a str,
    /// SQS's; each queue's URL is this and the variable that names the queue.
    pub sqs: &'a str,
}

/// The configuration of a function with these needs. `settings` come before the usual ones.
pub fn load_config(needs: &[Need], endpoints: &Endpoints<'_>, settings: &[(&str, &str)]) -> Config {
    let load = |name: &str| {
        if let Some((_, value)) = settings.iter().find(|(given, _)| *given == name) {
            return Some((*value).to_owned());
        }
        let value = match name {
            "OAHUB_COMPONENT_APP_ID" => COMPONENT_APP_ID,
            "OAHUB_COMPONENT_APP_SECRET" => "0123456789abcdef",
            "OAHUB_COMPONENT_TOKEN" => "hubToken2025",
            "OAHUB_COMPONENT_AES_KEY" => "kQ3vXo7BzR2mN8sTfW1cYpE6uJ5hLdGa0iSxAeMnZbU",
            "OAHUB_PUBLIC_URL" => "https://hub.example.com",
            "OAHUB_ADMIN_KEY" => ADMIN_KEY,
            "AWS_REGION" => "us-east-1",
            "AWS_ENDPOINT_URL_DYNAMODB" => endpoints.dynamodb,
            "AWS_ENDPOINT_URL_SQS" => endpoints.sqs,
            name if is_queue_variable(name) => return Some(format!("{}/{name}", endpoints.sqs)),
            name => return table_of_variable(name),
        };
        Some(value.to_owned())
    };
    Config::load(needs, RunMode::Simulated, load).unwrap()
}

/// The table that a variable names: `WorkTable` for `OAHUB_WORK_TABLE`.
fn table_of_variable(variable: &str) -> Option<String> {
    let name = variable.strip_prefix("OAHUB_")?.strip_suffix("_TABLE")?;
    let (first, rest) = name.split_at_checked(1)?;
    Some(format!("{first}{}Table", rest.to_lowercase()))
}
