//! Reads template.yaml: which functions there are, what calls them, and which tables and queues they use. What
//! it does not say does not run here either.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_yaml_ng::{Mapping, Value};
use thiserror::Error;

use crate::rights::{Rights, policy};

/// The template that the binary was built with.
pub const TEMPLATE: &str = include_str!("../../../template.yaml");

/// The template does not say what the local runner needs.
#[derive(Debug, Error)]
#[error("template.yaml: {0}")]
pub struct TemplateError(String);

fn wrong(what: impl Into<String>) -> TemplateError {
    TemplateError(what.into())
}

/// All that is run here.
#[derive(Debug)]
pub struct Template {
    /// Functions, in the template's order.
    pub functions: Vec<FunctionSpec>,
    /// Tables.
    pub tables: Vec<TableSpec>,
    /// Queues, dead-letter queues first.
    pub queues: Vec<QueueSpec>,
    /// Environment variables of any function that name a table or queue: variable → logical id.
    pub variables: BTreeMap<String, String>,
}

/// A function.
#[derive(Debug)]
pub struct FunctionSpec {
    /// Logical id.
    pub name: String,
    /// Folder of its package.
    pub code_uri: String,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// The environment variables that it gets.
    pub variables: BTreeSet<String>,
    /// What calls it.
    pub events: Vec<EventSpec>,
    /// What it may do to tables and queues.
    pub rights: Rights,
}

/// What calls a function.
#[derive(Debug, Clone)]
pub enum EventSpec {
    /// A route of the HTTP API.
    Http {
        /// `GET`, …, `ANY`.
        method: String,
        /// With `{parameters}` and `{proxy+}`.
        path: String,
    },
    /// A queue.
    Sqs {
        /// Logical id.
        queue: String,
        /// Messages in one invocation, at most.
        batch_size: i32,
        /// Invocations at once, at most.
        concurrency: usize,
    },
    /// A schedule.
    Schedule {
        /// How often.
        every: Duration,
    },
}

/// A table.
#[derive(Debug)]
pub struct TableSpec {
    /// Logical id, and its name here.
    pub name: String,
    /// Attribute → `S`, `N` or `B`.
    pub attributes: BTreeMap<String, String>,
    /// Attribute and `HASH` or `RANGE`.
    pub key: Vec<(String, String)>,
    /// Indexes.
    pub indexes: Vec<IndexSpec>,
    /// The attribute that says when an item may go.
    pub ttl: Option<String>,
}

/// An index.
#[derive(Debug)]
pub struct IndexSpec {
    /// Its name.
    pub name: String,
    /// Whether it is a global one.
    pub global: bool,
    /// Attribute and `HASH` or `RANGE`.
    pub key: Vec<(String, String)>,
    /// `ALL` or `KEYS_ONLY`.
    pub projection: String,
}

/// A queue.
#[derive(Debug)]
pub struct QueueSpec {
    /// Logical id.
    pub logical_id: String,
    /// Its name here: a FIFO queue's ends in `.fifo`.
    pub name: String,
    /// As SetQueueAttributes takes them.
    pub attributes: BTreeMap<String, String>,
}

/// Reads a template.
///
/// # Errors
/// What is missing or not understood.
pub fn parse(text: &str) -> Result<Template, TemplateError> {
    let root: Value = serde_yaml_ng::from_str(text).map_err(|e| wrong(e.to_string()))?;
    let resources = map(&root, "Resources").ok_or_else(|| wrong("no Resources"))?;
    let timeout = root.get("Globals").and_then(|g| g.get("Function")).and_then(|f| f.get("Timeout"));
    let default_timeout = timeout.and_then(Value::as_u64).unwrap_or(3);
    let globals = root.get("Globals").and_then(|g| map(g, "Function")).cloned().unwrap_or_default();
    let mut template = Template {
        functions: Vec::new(),
        tables: Vec::new(),
        queues: Vec::new(),
        variables: BTreeMap::new(),
    };
    for (name, resource) in resources {
        let name = name.as_str().unwrap_or_default();
        let properties = map(resource, "Properties").cloned().unwrap_or_default();
        match text_of(resource, "Type") {
            Some("AWS::Serverless::Function") => {
                let mut function = function(name, &properties, resources, default_timeout)?;
                for (variable, value) in variables(&globals).chain(variables(&properties)) {
                    function.variables.insert(variable.to_owned());
                    if let Some(target) = tagged(value, "Ref") {
                        template.variables.insert(variable.to_owned(), target.to_owned());
                    }
                }
                template.functions.push(function);
            }
            Some("AWS::DynamoDB::Table") => template.tables.push(table(name, &properties)?),
            Some("AWS::SQS::Queue") => template.queues.push(queue(name, &properties, resources)),
            _ => {}
        }
    }
    template.queues.sort_by_key(|q| q.attributes.contains_key("RedrivePolicy"));
    Ok(template)
}

fn function(
    name: &str,
    properties: &Mapping,
    resources: &Mapping,
    default_timeout: u64,
) -> Result<FunctionSpec, TemplateError> {
    let code_uri = properties.get("CodeUri").and_then(Value::as_str);
    let timeout = properties.get("Timeout").and_then(Value::as_u64).unwrap_or(default_timeout);
    let mut events = Vec::new();
    for (event_name, event) in properties.get("Events").and_then(Value::as_mapping).into_iter().flatten() {
        let event_name = format!("{name}.{}", event_name.as_str().unwrap_or_default());
        let properties =
            map(event, "Properties").ok_or_else(|| wrong(format!("{event_name} has no Properties")))?;
        let need = |member: &str| {
            properties
                .get(member)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .ok_or_else(|| wrong(format!("{event_name} has no {member}")))
        };
        events.push(match text_of(event, "Type") {
            Some("HttpApi") => EventSpec::Http { method: need("Method")?, path: need("Path")? },
            Some("SQS") => {
                let queue = properties.get("Queue").and_then(|q| tagged(q, "GetAtt"));
                let queue = queue.and_then(|q| q.strip_suffix(".Arn"));
                let number = |v: Option<&Value>| v.and_then(Value::as_u64);
                let concurrency =
                    number(properties.get("ScalingConfig").and_then(|s| s.get("MaximumConcurrency")));
                EventSpec::Sqs {
                    queue: queue.ok_or_else(|| wrong(format!("{event_name} names no queue")))?.to_owned(),
                    batch_size: number(properties.get("BatchSize"))
                        .and_then(|n| i32::try_from(n).ok())
                        .unwrap_or(10),
                    concurrency: concurrency.and_then(|n| usize::try_from(n).ok()).unwrap_or(5),
                }
            }
            Some("ScheduleV2") => EventSpec::Schedule { every: rate(&need("ScheduleExpression")?)? },
            other => {
                return Err(wrong(format!(
                    "{event_name}: the local runner knows no event of type {other:?}"
                )));
            }
        });
    }
    let code_uri = code_uri.ok_or_else(|| wrong(format!("{name} has no CodeUri")))?.to_owned();
    let role = properties.get("Role").and_then(|r| tagged(r, "GetAtt")).and_then(|r| r.strip_suffix(".Arn"));
    let role = role.and_then(|role| resources.get(role)).and_then(|role| map(role, "Properties"));
    // without a role of its own, SAM would add rights that nobody reads here
    let role = role.ok_or_else(|| wrong(format!("{name} has no Role of this template")))?;
    let rights = policy::rights(role).map_err(|why| wrong(format!("{name}'s role: {why}")))?;
    Ok(FunctionSpec {
        name: name.to_owned(),
        code_uri,
        timeout: Duration::from_secs(timeout),
        variables: BTreeSet::new(),
        events,
        rights,
    })
}

/// The environment variables that these properties set.
fn variables(properties: &Mapping) -> impl Iterator<Item = (&str, &Value)> {
    let variables = properties.get("Environment").and_then(|e| map(e, "Variables"));
    variables.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str()?, value)))
}

/// `rate(5 minutes)`.
fn rate(expression: &str) -> Result<Duration, TemplateError> {
    let inner = expression.strip_prefix("rate(").and_then(|e| e.strip_suffix(')'));
    let parts =
        inner.and_then(|e| e.split_once(' ')).and_then(|(n, unit)| Some((n.parse::<u64>().ok()?, unit)));
    match parts {
        Some((n, "minute" | "minutes")) => Ok(Duration::from_secs(n * 60)),
        Some((n, "hour" | "hours")) => Ok(Duration::from_secs(n * 3600)),
        Some((n, "day" | "days")) => Ok(Duration::from_secs(n * 86_400)),
        _ => Err(wrong(format!("the local runner knows rate(…) schedules, not {expression}"))),
    }
}

fn table(name: &str, properties: &Mapping) -> Result<TableSpec, TemplateError> {
    let mut attributes = BTreeMap::new();
    for definition in sequence(properties, "AttributeDefinitions") {
        let pair = text_of(definition, "AttributeName").zip(text_of(definition, "AttributeType"));
        let (attribute, kind) =
            pair.ok_or_else(|| wrong(format!("{name}: an attribute without name or type")))?;
        attributes.insert(attribute.to_owned(), kind.to_owned());
    }
    let mut indexes = Vec::new();
    for (member, global) in [("GlobalSecondaryIndexes", true), ("LocalSecondaryIndexes", false)] {
        for index in sequence(properties, member) {
            let index =
                index.as_mapping().ok_or_else(|| wrong(format!("{name}: an index that is no map")))?;
            let projection =
                index.get("Projection").and_then(|p| text_of(p, "ProjectionType")).unwrap_or("ALL");
            indexes.push(IndexSpec {
                name: index.get("IndexName").and_then(Value::as_str).unwrap_or_default().to_owned(),
                global,
                key: key_schema(index),
                projection: projection.to_owned(),
            });
        }
    }
    let ttl = properties.get("TimeToLiveSpecification").and_then(|t| text_of(t, "AttributeName"));
    Ok(TableSpec {
        name: name.to_owned(),
        attributes,
        key: key_schema(properties),
        indexes,
        ttl: ttl.map(str::to_owned),
    })
}

fn key_schema(properties: &Mapping) -> Vec<(String, String)> {
    sequence(properties, "KeySchema")
        .filter_map(|k| Some((text_of(k, "AttributeName")?.to_owned(), text_of(k, "KeyType")?.to_owned())))
        .collect()
}

fn queue(logical_id: &str, properties: &Mapping, resources: &Mapping) -> QueueSpec {
    let mut attributes = BTreeMap::new();
    for (member, value) in properties {
        let member = member.as_str().unwrap_or_default();
        let value = match value {
            Value::Number(n) => n.to_string(),
            Value::Bool(b) => b.to_string(),
            Value::String(text) => text.clone(),
            Value::Mapping(policy) if member == "RedrivePolicy" => {
                let target =
                    policy.get("deadLetterTargetArn").and_then(|t| tagged(t, "GetAtt")).unwrap_or_default();
                let target = target.strip_suffix(".Arn").unwrap_or(target);
                let count = policy.get("maxReceiveCount").and_then(Value::as_u64).unwrap_or(5);
                let name = queue_name(target, resources.get(target).and_then(|r| map(r, "Properties")));
                serde_json::json!({
                    "deadLetterTargetArn": format!("arn:aws:sqs:us-east-1:000000000000:{name}"),
                    "maxReceiveCount": count,
                })
                .to_string()
            }
            _ => continue,
        };
        attributes.insert(member.to_owned(), value);
    }
    QueueSpec {
        logical_id: logical_id.to_owned(),
        name: queue_name(logical_id, Some(properties)),
        attributes,
    }
}

fn queue_name(logical_id: &str, properties: Option<&Mapping>) -> String {
    let fifo = properties.and_then(|p| p.get("FifoQueue")).and_then(Value::as_bool).unwrap_or(false);
    format!("{logical_id}{}", if fifo { ".fifo" } else { "" })
}

fn map<'a>(value: &'a Value, member: &str) -> Option<&'a Mapping> {
    value.get(member).and_then(Value::as_mapping)
}

fn text_of<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member).and_then(Value::as_str)
}

fn sequence<'a>(map: &'a Mapping, member: &str) -> impl Iterator<Item = &'a Value> {
    map.get(member).and_then(Value::as_sequence).into_iter().flatten()
}

/// The text behind a short function: `!Ref X`, `!GetAtt X.Arn`.
fn tagged<'a>(value: &'a Value, function: &str) -> Option<&'a str> {
    let Value::Tagged(tagged) = value else { return None };
    (tagged.tag == function).then(|| tagged.value.as_str()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_says_what_the_local_runner_needs() {
        let template = parse(TEMPLATE).unwrap();
        assert_eq!(template.tables.len(), 5);
        assert!(template.functions.iter().all(|f| !f.events.is_empty()), "a function that nothing calls");
        assert_eq!(template.variables.get("OAHUB_SEND_QUEUE").map(String::as_str), Some("SendQueue"));
        let send = template.queues.iter().find(|q| q.logical_id == "SendQueue").unwrap();
        assert_eq!(send.name, "SendQueue.fifo");
        assert!(send.attributes["RedrivePolicy"].contains("SendDeadLetters.fifo"));
    }

    #[test]
    fn rates_are_read_and_anything_else_is_named() {
        assert_eq!(rate("rate(1 minute)").unwrap(), Duration::from_secs(60));
        assert_eq!(rate("rate(2 hours)").unwrap(), Duration::from_secs(7200));
        assert!(rate("cron(0 12 * * ? *)").unwrap_err().to_string().contains("cron"));
    }
}
