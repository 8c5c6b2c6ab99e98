//! Logs: JSON lines to standard error, `info` unless `RUST_LOG` says else. Never a secret, token, ticket, key,
//! and no openid at `info`.

use std::io::IsTerminal;

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Starts logging; a second call does nothing. `filter` is a level, or levels by module as in
/// `info,shared::wechat=debug`; one that cannot be read means `info`.
pub fn init(json: bool, filter: Option<&str>) {
    let filter = filter.and_then(|filter| filter.parse().ok());
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let registry = tracing_subscriber::registry().with(filter);
    // a file keeps no colours, and `NO_COLOR` is for who wants none (the layer asks for that itself)
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
