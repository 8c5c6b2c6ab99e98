//! Logs: JSON lines to standard error, `info` unless `RUST_LOG` says otherwise. Never a secret,
//! token, ticket or key, and no openid at `info`. Libraries print whole requests and responses at
//! `trace`, with tokens and tickets, so they are limited to `debug` whatever `RUST_LOG` asks for.

use std::io::IsTerminal;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{
        self, FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter,
        format::{JsonFields, Writer},
        time::{FormatTime, SystemTime},
    },
    layer::{Layer, SubscriberExt},
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// Libraries whose traces show requests and responses: the SDK, HTTP, TLS, and Lambda's runtime.
const CAPPED_TARGETS: [&str; 7] = ["aws_", "h2", "hyper", "lambda_", "reqwest", "rustls", "tower"];

/// The levels by target; `info` where `filter` cannot be parsed.
fn log_targets(filter: Option<&str>) -> Targets {
    let given: Option<Targets> = filter.and_then(|filter| filter.parse().ok());
    let given = given.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let capped = |target: &str| CAPPED_TARGETS.iter().any(|prefix| target.starts_with(prefix));
    let level = |target: &str| {
        let levels = [Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
        let level = levels.into_iter().find(|level| given.would_enable(target, level));
        level.map_or(LevelFilter::OFF, LevelFilter::from_level)
    };
    let mut all = given.clone();
    // first the level that a shorter prefix or the default gives them, then their own
    for prefix in CAPPED_TARGETS {
        all = all.with_target(prefix, level(prefix));
    }
    for (target, asked) in given.iter().filter(|(target, _)| capped(target)) {
        all = all.with_target(target, asked.min(LevelFilter::DEBUG));
    }
    all
}

/// Writes a line as one JSON object. The fields of the spans around it stand beside its own, which win: a
/// search for a `message_id` finds all lines of its job, and none has to repeat the id.
struct FlatJson;

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'a str,
    #[serde(flatten)]
    fields: Map<String, Value>,
    target: &'a str,
}

impl<S, F> FormatEvent<S, F> for FlatJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, F>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let (mut timestamp, mut own) = (String::new(), String::new());
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        context.format_fields(Writer::new(&mut own), event)?;
        let mut fields = Map::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<FormattedFields<F>>() {
                fields.extend(parse_fields(of_span));
            }
        }
        fields.extend(parse_fields(&own));
        let (level, target) = (event.metadata().level().as_str(), event.metadata().target());
        let line = serde_json::to_string(&Line { timestamp, level, fields, target });
        writeln!(writer, "{}", line.map_err(|_| std::fmt::Error)?)
    }
}

/// Fields as [`JsonFields`] writes them.
fn parse_fields(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).unwrap_or_default()
}

/// Writes lines to `writer` as a function does.
pub(crate) fn json_lines<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fmt::layer().fmt_fields(JsonFields::new()).event_format(FlatJson).with_ansi(false).with_writer(writer)
}

/// Starts logging; a second call does nothing. `filter` is a level, or levels
/// by module as in `info,shared::wechat=debug`; an invalid one means `info`.
pub fn init(json: bool, filter: Option<&str>) {
    let registry = tracing_subscriber::registry().with(log_targets(filter));
    let started = if json {
        registry.with(json_lines(std::io::stderr)).try_init()
    } else {
        // no colours in a file; the layer itself respects `NO_COLOR`
        let lines = fmt::layer().with_writer(std::io::stderr);
        let lines = if std::io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
        registry.with(lines).try_init()
    };
    drop(started); // a second start is a test's second binding, not an error
}

/// Starts logging as a function does.
#[expect(clippy::disallowed_methods, reason = "the log filter, needed before the settings")]
pub fn init_from_env() {
    init(true, std::env::var("RUST_LOG").ok().as_deref());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_traces_what_passes_over_the_wire() {
        let wire = [
            "aws_smithy_runtime::client::orchestrator",
            "aws_sdk_dynamodb",
            "hyper_util::client",
            "hyper::proto",
            "h2::codec",
            "reqwest::connect",
            "rustls::client",
            "lambda_runtime::layers",
            "tower::buffer",
        ];
        for filter in [
            "trace",
            "aws_smithy_runtime=trace",
            "aws_smithy_runtime::client::orchestrator=trace",
            "aws=trace,h=trace,r=trace",
            "info,hyper=trace,h2::codec=trace,aws_sdk_dynamodb=trace,rustls=trace,lambda_runtime=trace",
        ] {
            let targets = log_targets(Some(filter));
            for target in wire {
                assert!(!targets.would_enable(target, &Level::TRACE), "{filter} traces {target}");
            }
        }
    }

    #[test]
    fn what_is_asked_for_is_logged_else() {
        for (filter, target, level, logged) in [
            (None, "shared::store", Level::INFO, true),
            (None, "shared::store", Level::DEBUG, false),
            (None, "hyper::proto", Level::INFO, true),
            (None, "hyper::proto", Level::DEBUG, false),
            (Some("trace"), "shared::store", Level::TRACE, true),
            (Some("trace"), "aws_sdk_sqs", Level::DEBUG, true),
            (Some("info,shared::wechat=debug"), "shared::wechat", Level::DEBUG, true),
            (Some("warn,aws_sdk_sqs=debug"), "aws_sdk_sqs", Level::DEBUG, true),
            (Some("warn,aws_sdk_sqs=debug"), "aws_runtime", Level::INFO, false),
            (Some("off"), "hyper::proto", Level::ERROR, false),
            (Some("shared=loud"), "shared::store", Level::INFO, true),
        ] {
            assert_eq!(
                log_targets(filter).would_enable(target, &level),
                logged,
                "{filter:?}: {target} at {level}"
            );
        }
    }
}
