//! Logs: JSON lines to standard error, `info` unless `RUST_LOG` says else. Never a secret, token, ticket, key,
//! and no openid at `info`.

use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging; a second call does nothing.
pub fn init(json: bool, filter: Option<&str>) {
    let filter = EnvFilter::try_new(filter.unwrap_or("info")).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
    drop(started); // a second start is a test's second binding, not an error
}
