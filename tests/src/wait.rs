//! Waiting for a condition.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

/// How long a test waits before it fails: far more than anything takes on a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// Time between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Polls until `look` returns something, and returns it.
pub async fn until<T>(what: impl Display, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(TIMEOUT, what, look).await
}

/// The same with another time limit.
pub async fn until_within<T>(
    timeout: Duration,
    what: impl Display,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        if begun.elapsed() > timeout {
            panic!("{what}: not within {} s", timeout.as_secs());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
