//! Functions, and what calls them.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use yaml_serde::{Mapping, Value};

use super::{
    error::TemplateError,
    intrinsics::{Arn, Reference, typed},
    resources::Resources,
    specs::{EventSpec, FunctionSpec},
};
use crate::iam::policy;

/// SAM's default, seconds.
const DEFAULT_TIMEOUT: u64 = 3;
/// SAM's default, MB.
const DEFAULT_MEMORY: u32 = 128;

/// The properties of a function, with those of all functions.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FunctionProperties {
    code_uri: String,
    /// Without a role in the template, SAM would generate one, whose permissions are not checked here.
    role: Arn,
    timeout: Option<u64>,
    memory_size: Option<u32>,
    recursive_loop: Option<RecursiveLoop>,
    reserved_concurrent_executions: Option<usize>,
    #[serde(default)]
    environment: Environment,
    /// [`Event`]s, in the template's order.
    #[serde(default)]
    events: Mapping,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Environment {
    variables: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
enum RecursiveLoop {
    Allow,
    Terminate,
}

/// What calls a function. Its `Type` stands first, or what `Properties` refer to is not read.
#[derive(Deserialize)]
#[serde(tag = "Type", content = "Properties", rename_all_fields = "PascalCase")]
enum Event {
    HttpApi {
        method: String,
        path: String,
    },
    #[serde(rename = "SQS")]
    Sqs {
        queue: Arn,
        batch_size: Option<i32>,
        #[serde(default)]
        function_response_types: Vec<String>,
        scaling_config: Option<ScalingConfig>,
    },
    ScheduleV2 {
        schedule_expression: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScalingConfig {
    maximum_concurrency: usize,
}

impl FunctionProperties {
    /// Variables that are set to a `!Ref`, and to which.
    pub fn references(&self) -> impl Iterator<Item = (String, String)> {
        self.environment.variables.iter().filter_map(|(variable, value)| {
            match Reference::deserialize(value) {
                Ok(Reference::Ref(target)) => Some((variable.clone(), target)),
                _ => None,
            }
        })
    }

    /// The function with the logical id `name`.
    pub fn read(self, name: &str, resources: &Resources) -> Result<FunctionSpec, TemplateError> {
        let events = self.events.iter().map(|(event, value)| {
            let place = format!("{name}.Events.{}", event.as_str().unwrap_or_default());
            typed::<Event>(&place, value)?.read(&place)
        });
        let Arn(role) = self.role;
        let permissions = policy::role_permissions(&resources.properties(&role)?)
            .map_err(|why| TemplateError::at(&role, why))?;
        Ok(FunctionSpec {
            name: name.to_owned(),
            code_uri: self.code_uri,
            timeout: Duration::from_secs(self.timeout.unwrap_or(DEFAULT_TIMEOUT)),
            memory: self.memory_size.unwrap_or(DEFAULT_MEMORY),
            recursive: matches!(self.recursive_loop, Some(RecursiveLoop::Allow)),
            reserved: self.reserved_concurrent_executions,
            variables: self.environment.variables.into_keys().collect(),
            events: events.collect::<Result<_, _>>()?,
            permissions,
        })
    }
}

impl Event {
    fn read(self, place: &str) -> Result<EventSpec, TemplateError> {
        Ok(match self {
            Self::HttpApi { method, path } => EventSpec::Http { method, path },
            Self::Sqs { queue: Arn(queue), batch_size, function_response_types, scaling_config } => {
                EventSpec::Sqs {
                    queue,
                    batch_size: batch_size.unwrap_or(10),
                    concurrency: scaling_config.map_or(5, |scaling| scaling.maximum_concurrency),
                    item_failures: function_response_types
                        .iter()
                        .any(|kind| kind == "ReportBatchItemFailures"),
                }
            }
            Self::ScheduleV2 { schedule_expression: expression } => EventSpec::Schedule {
                every: parse_rate(&expression).ok_or_else(|| {
                    TemplateError::at(place, format!("only rate(…) schedules are known, not {expression}"))
                })?,
            },
        })
    }
}

/// `rate(5 minutes)`.
fn parse_rate(expression: &str) -> Option<Duration> {
    let (count, unit) = expression.strip_prefix("rate(")?.strip_suffix(')')?.split_once(' ')?;
    let seconds = match unit {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3600,
        "day" | "days" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(count.parse::<u64>().ok()?.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_nothing_else() {
        assert_eq!(parse_rate("rate(1 minute)"), Some(Duration::from_secs(60)));
        assert_eq!(parse_rate("rate(2 hours)"), Some(Duration::from_secs(7200)));
        assert_eq!(parse_rate("cron(0 12 * * ? *)"), None);
    }
}
