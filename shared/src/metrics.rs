//! Metrics that AWS does not count. On Lambda each value is one line of CloudWatch's embedded metric
//! format on standard output, which CloudWatch Logs turns into a metric; elsewhere it is a `debug` log.
//!
//! Every series is listed in [`Metric::ALL`]. A custom metric costs 0.30 USD a month beyond ten, and there is one for each
//! combination of dimensions, so the only dimensions are the stack and a [`Cause`]: never an account or tenant.
//!
//! Source: "Specification: Embedded metric format" of the CloudWatch user guide. With the log format JSON, Lambda
//! passes a line that is JSON on as it is, as level INFO: an application log level above that loses all metrics.

use std::io::Write;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// CloudWatch's namespace.
pub const NAMESPACE: &str = "oahub";
/// Dimension of every metric: it tells two deployments in one region apart.
pub const STACK_DIMENSION: &str = "Stack";
/// Dimension of failures.
pub const CAUSE_DIMENSION: &str = "Cause";

/// Who can do something about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The account or its tenant: the authorization is gone, a capability is missing, the reply window is closed.
    Account,
    /// WeChat refused, was busy or was not reached.
    WeChat,
    /// This deployment: a table, a queue, a missing ticket, a lost worker.
    Hub,
}

impl Cause {
    /// The dimension's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::WeChat => "wechat",
            Self::Hub => "hub",
        }
    }
}

/// A metric, with its cause where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Seconds since the newest component ticket; not written before the first one.
    ComponentTicketAge,
    /// Accounts whose token was due five minutes ago and is still the old one, among those looked at.
    OverdueAccounts,
    /// Tokens that could not be refreshed, for a logged reason of WeChat's or the
    /// hub's. Accounts whose authorization is gone do not count: they are unbound.
    RefreshFailures,
    /// Imports that have neither moved nor ended for an hour.
    StuckImports,
    /// Due timers that this release cannot hand over; not written while there are none, to save cost.
    StuckTimers,
    /// Imports that paused or failed; the import says why.
    HaltedImports,
    /// Messages that ended as failed.
    FailedMessages(Cause),
    /// Callbacks whose signature did not match, or that could not be read.
    RefusedPushes,
    /// Requests to the API with an invalid key. Somebody may be trying keys.
    AuthenticationFailures,
    /// Pushes for accounts that are not bound; they are not stored.
    UnboundPushes,
}

impl Metric {
    /// Every series there is.
    pub const ALL: [Self; 12] = [
        Self::ComponentTicketAge,
        Self::OverdueAccounts,
        Self::RefreshFailures,
        Self::StuckImports,
        Self::StuckTimers,
        Self::HaltedImports,
        Self::FailedMessages(Cause::Account),
        Self::FailedMessages(Cause::WeChat),
        Self::FailedMessages(Cause::Hub),
        Self::RefusedPushes,
        Self::AuthenticationFailures,
        Self::UnboundPushes,
    ];

    /// Its name in CloudWatch.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ComponentTicketAge => "ComponentTicketAge",
            Self::OverdueAccounts => "OverdueAccounts",
            Self::RefreshFailures => "RefreshFailures",
            Self::StuckImports => "StuckImports",
            Self::StuckTimers => "StuckTimers",
            Self::HaltedImports => "HaltedImports",
            Self::FailedMessages(_) => "FailedMessages",
            Self::RefusedPushes => "RefusedPushes",
            Self::AuthenticationFailures => "AuthenticationFailures",
            Self::UnboundPushes => "UnboundPushes",
        }
    }

    /// Its second dimension.
    #[must_use]
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::FailedMessages(cause) => Some(cause),
            Self::ComponentTicketAge
            | Self::OverdueAccounts
            | Self::RefreshFailures
            | Self::StuckImports
            | Self::StuckTimers
            | Self::HaltedImports
            | Self::RefusedPushes
            | Self::AuthenticationFailures
            | Self::UnboundPushes => None,
        }
    }

    /// Its unit in CloudWatch.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::ComponentTicketAge => "Seconds",
            Self::OverdueAccounts
            | Self::RefreshFailures
            | Self::StuckImports
            | Self::StuckTimers
            | Self::HaltedImports
            | Self::FailedMessages(_)
            | Self::RefusedPushes
            | Self::AuthenticationFailures
            | Self::UnboundPushes => "Count",
        }
    }
}

/// Writes metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    stack: Option<String>,
}

impl Metrics {
    /// For the deployment `stack`; without one, values are only logged.
    #[must_use]
    pub fn new(stack: Option<String>) -> Self {
        Self { stack }
    }

    /// Counts one occurrence at `at`.
    pub fn count(&self, metric: Metric, at: Timestamp) {
        self.record(metric, 1, at);
    }

    /// Records `value` at `at`.
    pub fn record(&self, metric: Metric, value: i64, at: Timestamp) {
        let Some(stack) = &self.stack else {
            let cause = metric.cause().map(Cause::name);
            tracing::debug!(metric = metric.name(), cause, value, "{} is {value}", metric.name());
            return;
        };
        let line = emf_document(stack, metric, value, at);
        // a metric that cannot be written must not fail the work that it counts
        drop(writeln!(std::io::stdout().lock(), "{line}"));
    }
}

/// One document of the embedded metric format.
fn emf_document(stack: &str, metric: Metric, value: i64, at: Timestamp) -> Value {
    let mut dimensions = vec![STACK_DIMENSION];
    let mut root = Map::from_iter([(STACK_DIMENSION.to_owned(), stack.into())]);
    if let Some(cause) = metric.cause() {
        dimensions.push(CAUSE_DIMENSION);
        root.insert(CAUSE_DIMENSION.into(), cause.name().into());
    }
    root.insert(metric.name().into(), value.into());
    let directive = json!({
        "Namespace": NAMESPACE,
        "Dimensions": [dimensions],
        "Metrics": [{ "Name": metric.name(), "Unit": metric.unit() }],
    });
    root.insert("_aws".into(), json!({ "Timestamp": at.as_millisecond(), "CloudWatchMetrics": [directive] }));
    Value::Object(root)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// What the specification demands of a document, with the limits of CloudWatch.
    fn assert_valid_emf(document: &Value) {
        let text = document.to_string();
        assert!(!text.contains('\n') && text.len() < 1_000_000, "one log event: {text}");
        let root = document.as_object().unwrap();
        let aws = root["_aws"].as_object().unwrap();
        assert!(aws["Timestamp"].as_i64().unwrap() > 1_500_000_000_000, "milliseconds since the epoch");
        let directives = aws["CloudWatchMetrics"].as_array().unwrap();
        assert!(!directives.is_empty());
        for directive in directives {
            let members: HashSet<_> = directive.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(members, HashSet::from(["Namespace", "Dimensions", "Metrics"]));
            let namespace = directive["Namespace"].as_str().unwrap();
            assert!((1..=255).contains(&namespace.len()) && !namespace.starts_with("AWS/"));
            for set in directive["Dimensions"].as_array().unwrap() {
                let set = set.as_array().unwrap();
                assert!(set.len() <= 30);
                for key in set {
                    let value = root[key.as_str().unwrap()].as_str().expect("a dimension is a text");
                    assert!((1..=1024).contains(&value.len()) && value.is_ascii());
                }
            }
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!((1..=100).contains(&metrics.len()));
            for metric in metrics {
                assert!(root[metric["Name"].as_str().unwrap()].is_number(), "a target is a number");
                assert!(["Seconds", "Count"].contains(&metric["Unit"].as_str().unwrap()));
            }
        }
    }

    #[test]
    fn every_metric_is_a_document_of_the_embedded_metric_format() {
        let at: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        for metric in Metric::ALL {
            assert_valid_emf(&emf_document("oahub", metric, 7, at));
        }
        let document = emf_document("oahub", Metric::FailedMessages(Cause::WeChat), 1, at);
        assert_eq!(
            document.to_string(),
            r#"{"Stack":"oahub","Cause":"wechat","FailedMessages":1,"_aws":{"Timestamp":1795514400000,"CloudWatchMetrics":[{"Namespace":"oahub","Dimensions":[["Stack","Cause"]],"Metrics":[{"Name":"FailedMessages","Unit":"Count"}]}]}}"#
        );
    }

    #[test]
    fn there_are_few_series_and_each_is_listed_once() {
        let series: HashSet<_> = Metric::ALL.iter().map(|m| (m.name(), m.cause().map(Cause::name))).collect();
        assert_eq!(series.len(), Metric::ALL.len());
        assert!(series.len() <= 12, "{} series: those beyond ten cost 0.30 USD a month each", series.len());
    }
}
