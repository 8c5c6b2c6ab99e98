//! Logs: JSON lines to standard error, `info` unless `RUST_LOG` says otherwise. Never a secret,
//! token, ticket or key, and no openid at `info`. Libraries print whole requests and responses at
//! `trace`, with tokens and tickets, so they are limited to `debug` whatever `RUST_LOG` asks for.

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
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

/// Starts logging; a second call does nothing. `filter` is a level, or levels
/// by module as in `info,shared::wechat=debug`; an invalid one means `info`.
pub fn init(json: bool, filter: Option<&str>) {
    let registry = tracing_subscriber::registry().with(log_targets(filter));
    // no colours in a file; the layer itself respects `NO_COLOR`
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if std::io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
    let started = if json {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
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
