//! Reads template.yaml: the functions, what invokes them, and the tables and queues that they use. Anything
//! that is not in the template does not run here either.
//!
//! Properties are read after `intrinsics` has put in parameters and conditions, into types that say what is needed; an
//! error names the place.

mod error;
mod functions;
pub(crate) mod intrinsics;
mod queues;
mod resources;
mod specs;
mod tables;

use std::collections::BTreeMap;

use serde::Deserialize;

use functions::FunctionProperties;
use queues::read_queue;
use resources::{FUNCTION, Resources};
use tables::TableProperties;

pub use error::TemplateError;
pub use specs::{EventSpec, FunctionSpec, IndexSpec, QueueSpec, TableSpec, Throttle};

/// The template that the binary was built with.
pub const TEMPLATE: &str = include_str!("../../../template.yaml");

/// The account concurrency from which the template's `Concurrency` is `standard`.
const STANDARD_CONCURRENCY: usize = 700;

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

/// The properties of the HTTP API.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiProperties {
    default_route_settings: Option<Throttle>,
    #[serde(default)]
    route_settings: BTreeMap<String, Throttle>,
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
    let resources = Resources::of(text, parameters)?;
    let mut template = Template {
        functions: Vec::new(),
        tables: Vec::new(),
        queues: Vec::new(),
        variables: BTreeMap::new(),
        throttles: BTreeMap::new(),
        default_throttle: None,
    };
    for (name, kind) in resources.types() {
        match kind {
            FUNCTION => {
                let properties: FunctionProperties = resources.properties(name)?;
                for (variable, target) in properties.references() {
                    if resources.has(&target) {
                        template.variables.insert(variable, target);
                    }
                }
                template.functions.push(properties.read(name, &resources)?);
            }
            "AWS::DynamoDB::Table" => {
                let properties: TableProperties = resources.properties(name)?;
                template.tables.push(properties.read(name));
            }
            "AWS::SQS::Queue" => template.queues.push(read_queue(name, &resources)?),
            "AWS::Serverless::HttpApi" => {
                let properties: ApiProperties = resources.properties(name)?;
                template.default_throttle = properties.default_route_settings;
                template.throttles.extend(properties.route_settings);
            }
            _ => {}
        }
    }
    template.queues.sort_by_key(|q| q.attributes.contains_key("RedrivePolicy"));
    Ok(template)
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
    }

    #[test]
    fn errors_name_the_place() {
        for (properties, error) in [
            (
                "RouteSettings: { 'GET /a': { ThrottlingRateLimit: 1 } }",
                "Api.RouteSettings.GET /a: missing field `ThrottlingBurstLimit`",
            ),
            ("Timeout: !If [Nowhere, 1, 2]", "Api.Timeout: there is no condition Nowhere"),
            ("MemorySize: much", "F.MemorySize: "),
            (
                "Events: { Tick: { Type: ScheduleV2, Properties: { ScheduleExpression: cron(0 12) } } }",
                "F.Events.Tick: only rate(…) schedules are known, not cron(0 12)",
            ),
            ("Events: { New: { Type: S3, Properties: {} } }", "F.Events.New.Type: unknown variant `S3`"),
            (
                "Events: { Jobs: { Type: SQS, Properties: { Queue: Jobs } } }",
                "F.Events.Jobs.Properties.Queue: ",
            ),
        ] {
            let found = template_with(properties).unwrap_err().to_string();
            assert!(found.starts_with(&format!("template.yaml: {error}")), "{found}");
        }
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
}
