//! Reads template.yaml: the functions, what invokes them, and the tables and queues that they use. Anything
//! that is not in the template does not run here either.

mod intrinsic_functions;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use thiserror::Error;
use yaml_serde::{Mapping, Value};

use crate::iam::{permission::Permissions, policy};
use intrinsic_functions::IntrinsicEvaluator;

/// The template that the binary was built with.
pub const TEMPLATE: &str = include_str!("../../../template.yaml");

/// The account concurrency from which the template's `Concurrency` is `standard`.
const STANDARD_CONCURRENCY: usize = 700;

/// The template lacks something that the local runner needs, or has something that it does not understand.
#[derive(Debug, Error)]
#[error("template.yaml: {0}")]
pub struct TemplateError(String);

fn invalid(what: impl Into<String>) -> TemplateError {
    TemplateError(what.into())
}

/// Everything that runs here.
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
    /// Throttles of the HTTP API by route key (`POST /wechat/component`).
    pub throttles: BTreeMap<String, Throttle>,
    /// The throttle of every other route.
    pub default_throttle: Option<Throttle>,
}

/// A route's limits, beyond which it returns 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// Requests a second.
    pub rate: u32,
    /// Requests at once.
    pub burst: u32,
}

/// A function.
#[derive(Debug)]
pub struct FunctionSpec {
    /// Logical id.
    pub name: String,
    /// Folder of its package.
    pub code_uri: String,
    /// The timeout of an invocation.
    pub timeout: Duration,
    /// Memory, MB; the share of a processor is proportional to it.
    pub memory: u32,
    /// `RecursiveLoop: Allow`: chains of invocations through queues are intended and never stopped.
    pub recursive: bool,
    /// `ReservedConcurrentExecutions`: concurrency that no other function can use.
    pub reserved: Option<usize>,
    /// The names of its environment variables.
    pub variables: BTreeSet<String>,
    /// What calls it.
    pub events: Vec<EventSpec>,
    /// Its permissions on tables and queues.
    pub permissions: Permissions,
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
        /// `ReportBatchItemFailures`: only the messages that the function names are delivered again.
        item_failures: bool,
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
    /// The attribute with the time at which an item expires.
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
    /// The attributes, as `SetQueueAttributes` expects them.
    pub attributes: BTreeMap<String, String>,
}

impl QueueSpec {
    /// Its visibility timeout.
    #[must_use]
    pub fn visibility_timeout(&self) -> Duration {
        let seconds = self.attributes.get("VisibilityTimeout").and_then(|text| text.parse().ok());
        Duration::from_secs(seconds.unwrap_or(30))
    }
}

/// Reads a template, every parameter at its default.
///
/// # Errors
/// What is missing or not understood.
pub fn parse(text: &str) -> Result<Template, TemplateError> {
    parse_with(text, &[])
}

/// The project's own template, with the parameters for an AWS account of this concurrency.
///
/// # Errors
/// As [`parse`].
pub fn for_account(concurrency: usize) -> Result<Template, TemplateError> {
    let size = if concurrency < STANDARD_CONCURRENCY { "small" } else { "standard" };
    parse_with(TEMPLATE, &[("Concurrency", size)])
}

/// Reads a template with some parameters set.
///
/// # Errors
/// As [`parse`].
pub fn parse_with(text: &str, parameters: &[(&str, &str)]) -> Result<Template, TemplateError> {
    let root: Value = yaml_serde::from_str(text).map_err(|e| invalid(e.to_string()))?;
    let resources = map_member(&root, "Resources").ok_or_else(|| invalid("no Resources"))?;
    let values = IntrinsicEvaluator::of(&root, parameters);
    let timeout = root.get("Globals").and_then(|g| g.get("Function")).and_then(|f| f.get("Timeout"));
    let default_timeout = values.number(timeout).unwrap_or(3);
    let memory = root.get("Globals").and_then(|g| g.get("Function")).and_then(|f| f.get("MemorySize"));
    let default_memory = values.number(memory).unwrap_or(128);
    let globals = root.get("Globals").and_then(|g| map_member(g, "Function")).cloned().unwrap_or_default();
    let mut template = Template {
        functions: Vec::new(),
        tables: Vec::new(),
        queues: Vec::new(),
        variables: BTreeMap::new(),
        throttles: BTreeMap::new(),
        default_throttle: None,
    };
    for (name, resource) in resources {
        let name = name.as_str().unwrap_or_default();
        let properties = map_member(resource, "Properties").cloned().unwrap_or_default();
        match text_member(resource, "Type") {
            Some("AWS::Serverless::Function") => {
                let mut function = parse_function(name, &properties, resources, &values, default_timeout)?;
                let memory = values.number(properties.get("MemorySize")).unwrap_or(default_memory);
                function.memory = u32::try_from(memory).unwrap_or(u32::MAX);
                for (variable, value) in
                    environment_variables(&globals).chain(environment_variables(&properties))
                {
                    function.variables.insert(variable.to_owned());
                    if let Some(target) = tagged_text(value, "Ref") {
                        template.variables.insert(variable.to_owned(), target.to_owned());
                    }
                }
                template.functions.push(function);
            }
            Some("AWS::DynamoDB::Table") => template.tables.push(parse_table(name, &properties)?),
            Some("AWS::SQS::Queue") => template.queues.push(parse_queue(name, &properties, resources)),
            Some("AWS::Serverless::HttpApi") => {
                template.default_throttle =
                    properties.get("DefaultRouteSettings").and_then(|s| parse_throttle(s, &values));
                for (route, settings) in
                    properties.get("RouteSettings").and_then(Value::as_mapping).into_iter().flatten()
                {
                    let route = route.as_str().unwrap_or_default().to_owned();
                    let limits = parse_throttle(settings, &values).ok_or_else(|| {
                        invalid(format!("{name}: RouteSettings of {route} hold no ThrottlingRateLimit and ThrottlingBurstLimit"))
                    })?;
                    template.throttles.insert(route, limits);
                }
            }
            _ => {}
        }
    }
    template.queues.sort_by_key(|q| q.attributes.contains_key("RedrivePolicy"));
    Ok(template)
}

fn parse_throttle(settings: &Value, values: &IntrinsicEvaluator) -> Option<Throttle> {
    let number = |name: &str| u32::try_from(values.number(settings.get(name))?).ok();
    Some(Throttle { rate: number("ThrottlingRateLimit")?, burst: number("ThrottlingBurstLimit")? })
}

fn parse_function(
    name: &str,
    properties: &Mapping,
    resources: &Mapping,
    values: &IntrinsicEvaluator,
    default_timeout: u64,
) -> Result<FunctionSpec, TemplateError> {
    let code_uri = properties.get("CodeUri").and_then(Value::as_str);
    let timeout = values.number(properties.get("Timeout")).unwrap_or(default_timeout);
    let mut events = Vec::new();
    for (event_name, event) in properties.get("Events").and_then(Value::as_mapping).into_iter().flatten() {
        let event_name = format!("{name}.{}", event_name.as_str().unwrap_or_default());
        let properties = map_member(event, "Properties")
            .ok_or_else(|| invalid(format!("{event_name} has no Properties")))?;
        let need = |member: &str| {
            properties
                .get(member)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .ok_or_else(|| invalid(format!("{event_name} has no {member}")))
        };
        events.push(match text_member(event, "Type") {
            Some("HttpApi") => EventSpec::Http { method: need("Method")?, path: need("Path")? },
            Some("SQS") => {
                let queue = properties.get("Queue").and_then(|q| tagged_text(q, "GetAtt"));
                let queue = queue.and_then(|q| q.strip_suffix(".Arn"));
                let concurrency =
                    values.number(properties.get("ScalingConfig").and_then(|s| s.get("MaximumConcurrency")));
                let mut types = list_members(properties, "FunctionResponseTypes");
                EventSpec::Sqs {
                    queue: queue.ok_or_else(|| invalid(format!("{event_name} names no queue")))?.to_owned(),
                    batch_size: values
                        .number(properties.get("BatchSize"))
                        .and_then(|n| i32::try_from(n).ok())
                        .unwrap_or(10),
                    concurrency: concurrency.and_then(|n| usize::try_from(n).ok()).unwrap_or(5),
                    item_failures: types.any(|kind| kind == "ReportBatchItemFailures"),
                }
            }
            Some("ScheduleV2") => EventSpec::Schedule { every: parse_rate(&need("ScheduleExpression")?)? },
            other => {
                return Err(invalid(format!(
                    "{event_name}: the local runner knows no event of type {other:?}"
                )));
            }
        });
    }
    let code_uri = code_uri.ok_or_else(|| invalid(format!("{name} has no CodeUri")))?.to_owned();
    let role =
        properties.get("Role").and_then(|r| tagged_text(r, "GetAtt")).and_then(|r| r.strip_suffix(".Arn"));
    let role = role.and_then(|role| resources.get(role)).and_then(|role| map_member(role, "Properties"));
    // without a role in the template, SAM would generate one, whose permissions are not checked here
    let role = role.ok_or_else(|| invalid(format!("{name} has no Role of this template")))?;
    let rights = policy::role_permissions(role).map_err(|why| invalid(format!("{name}'s role: {why}")))?;
    Ok(FunctionSpec {
        name: name.to_owned(),
        code_uri,
        timeout: Duration::from_secs(timeout),
        memory: 0, // known to the caller
        recursive: values.text(properties.get("RecursiveLoop")) == Some("Allow"),
        reserved: values
            .number(properties.get("ReservedConcurrentExecutions"))
            .and_then(|n| usize::try_from(n).ok()),
        variables: BTreeSet::new(),
        events,
        permissions: rights,
    })
}

/// The environment variables that these properties set.
fn environment_variables(properties: &Mapping) -> impl Iterator<Item = (&str, &Value)> {
    let variables = properties.get("Environment").and_then(|e| map_member(e, "Variables"));
    variables.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str()?, value)))
}

/// `rate(5 minutes)`.
fn parse_rate(expression: &str) -> Result<Duration, TemplateError> {
    let inner = expression.strip_prefix("rate(").and_then(|e| e.strip_suffix(')'));
    let parts =
        inner.and_then(|e| e.split_once(' ')).and_then(|(n, unit)| Some((n.parse::<u64>().ok()?, unit)));
    match parts {
        Some((n, "minute" | "minutes")) => Ok(Duration::from_secs(n * 60)),
        Some((n, "hour" | "hours")) => Ok(Duration::from_secs(n * 3600)),
        Some((n, "day" | "days")) => Ok(Duration::from_secs(n * 86_400)),
        _ => Err(invalid(format!("the local runner knows rate(…) schedules, not {expression}"))),
    }
}

fn parse_table(name: &str, properties: &Mapping) -> Result<TableSpec, TemplateError> {
    let mut attributes = BTreeMap::new();
    for definition in list_members(properties, "AttributeDefinitions") {
        let pair = text_member(definition, "AttributeName").zip(text_member(definition, "AttributeType"));
        let (attribute, kind) =
            pair.ok_or_else(|| invalid(format!("{name}: an attribute without name or type")))?;
        attributes.insert(attribute.to_owned(), kind.to_owned());
    }
    let mut indexes = Vec::new();
    for (member, global) in [("GlobalSecondaryIndexes", true), ("LocalSecondaryIndexes", false)] {
        for index in list_members(properties, member) {
            let index =
                index.as_mapping().ok_or_else(|| invalid(format!("{name}: an index that is no map")))?;
            let projection =
                index.get("Projection").and_then(|p| text_member(p, "ProjectionType")).unwrap_or("ALL");
            indexes.push(IndexSpec {
                name: index.get("IndexName").and_then(Value::as_str).unwrap_or_default().to_owned(),
                global,
                key: key_schema(index),
                projection: projection.to_owned(),
            });
        }
    }
    let ttl = properties.get("TimeToLiveSpecification").and_then(|t| text_member(t, "AttributeName"));
    Ok(TableSpec {
        name: name.to_owned(),
        attributes,
        key: key_schema(properties),
        indexes,
        ttl: ttl.map(str::to_owned),
    })
}

fn key_schema(properties: &Mapping) -> Vec<(String, String)> {
    list_members(properties, "KeySchema")
        .filter_map(|k| {
            Some((text_member(k, "AttributeName")?.to_owned(), text_member(k, "KeyType")?.to_owned()))
        })
        .collect()
}

fn parse_queue(logical_id: &str, properties: &Mapping, resources: &Mapping) -> QueueSpec {
    let mut attributes = BTreeMap::new();
    for (member, value) in properties {
        let member = member.as_str().unwrap_or_default();
        let value = match value {
            Value::Number(n) => n.to_string(),
            Value::Bool(b) => b.to_string(),
            Value::String(text) => text.clone(),
            Value::Mapping(policy) if member == "RedrivePolicy" => {
                let target = policy
                    .get("deadLetterTargetArn")
                    .and_then(|t| tagged_text(t, "GetAtt"))
                    .unwrap_or_default();
                let target = target.strip_suffix(".Arn").unwrap_or(target);
                let count = policy.get("maxReceiveCount").and_then(Value::as_u64).unwrap_or(5);
                let name =
                    queue_name(target, resources.get(target).and_then(|r| map_member(r, "Properties")));
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

fn map_member<'a>(value: &'a Value, member: &str) -> Option<&'a Mapping> {
    value.get(member).and_then(Value::as_mapping)
}

fn text_member<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member).and_then(Value::as_str)
}

fn list_members<'a>(map: &'a Mapping, member: &str) -> impl Iterator<Item = &'a Value> {
    map.get(member).and_then(Value::as_sequence).into_iter().flatten()
}

/// The text behind a short function: `!Ref X`, `!GetAtt X.Arn`.
fn tagged_text<'a>(value: &'a Value, function: &str) -> Option<&'a str> {
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

    /// A template of one function with these properties.
    fn template_with(properties: &str) -> Result<Template, TemplateError> {
        parse(&format!(
            r#"
Parameters: {{ Reserved: {{ Type: Number, Default: 7 }} }}
Conditions: {{ InChina: !Equals [!Ref "AWS::Partition", aws-cn] }}
Resources:
  Api: {{ Type: AWS::Serverless::HttpApi, Properties: {{ {properties} }} }}
  Jobs: {{ Type: AWS::SQS::Queue }}
  Role: {{ Type: AWS::IAM::Role, Properties: {{}} }}
  F:
    Type: AWS::Serverless::Function
    Properties: {{ CodeUri: f, Role: !GetAtt Role.Arn, {properties} }}
"#
        ))
    }

    #[test]
    fn what_a_function_may_do_at_once_and_in_a_chain_is_read() {
        for (what, properties, recursive, reserved) in [
            ("nothing said", "", false, None),
            ("chains are meant", "RecursiveLoop: Allow", true, None),
            ("the default, said", "RecursiveLoop: Terminate", false, None),
            (
                "only where the partition knows it",
                r#"RecursiveLoop: !If [InChina, !Ref "AWS::NoValue", Allow]"#,
                true,
                None,
            ),
            ("a number", "ReservedConcurrentExecutions: 3", false, Some(3)),
            ("a parameter", "ReservedConcurrentExecutions: !Ref Reserved", false, Some(7)),
            ("none at all", "ReservedConcurrentExecutions: 0", false, Some(0)),
        ] {
            let template = template_with(properties).unwrap();
            let function = &template.functions[0];
            assert_eq!((function.recursive, function.reserved), (recursive, reserved), "{what}");
        }
    }

    #[test]
    fn the_apis_limits_are_read() {
        let settings = "DefaultRouteSettings: { ThrottlingBurstLimit: 20, ThrottlingRateLimit: !Ref Reserved }, \
            RouteSettings: { 'GET /a': { ThrottlingBurstLimit: 2, ThrottlingRateLimit: 1 } }";
        let template = template_with(settings).unwrap();
        assert_eq!(template.default_throttle, Some(Throttle { rate: 7, burst: 20 }));
        assert_eq!(template.throttles["GET /a"], Throttle { rate: 1, burst: 2 });
        let half = template_with("RouteSettings: { 'GET /a': { ThrottlingRateLimit: 1 } }").unwrap_err();
        assert!(half.to_string().contains("GET /a"), "{half}");
    }

    #[test]
    fn the_template_fits_a_usual_account_and_a_new_one() {
        for concurrency in [1000, 700, 699, 10] {
            let template = for_account(concurrency).unwrap();
            let account =
                crate::lambda::concurrency::AccountConcurrency::new(concurrency, &template.functions);
            assert!(account.is_ok(), "{concurrency}: {account:?}");
            let push = "POST /wechat/accounts/{app_id}";
            assert!(
                template.throttles.contains_key(push) && template.default_throttle.is_some(),
                "{concurrency}"
            );
        }
        let chains =
            |name: &str| for_account(10).unwrap().functions.iter().any(|f| f.name == name && f.recursive);
        assert!(chains("FollowerImport"), "an import is a chain that is meant");
    }

    #[test]
    fn rates_are_read_and_anything_else_is_named() {
        assert_eq!(parse_rate("rate(1 minute)").unwrap(), Duration::from_secs(60));
        assert_eq!(parse_rate("rate(2 hours)").unwrap(), Duration::from_secs(7200));
        assert!(parse_rate("cron(0 12 * * ? *)").unwrap_err().to_string().contains("cron"));
    }
}
