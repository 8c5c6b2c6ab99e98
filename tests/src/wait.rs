//! Waiting for what comes by itself.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

/// How long anything may take before its test gives up: far more than it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const STEP: Duration = Duration::from_millis(50);

/// Looks until there is something, and answers it.
pub async fn until<T>(what: impl Display, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look).await
}

/// The same with another end.
pub async fn until_within<T>(
    patience: Duration,
    what: impl Display,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        if begun.elapsed() > patience {
            panic!("{what}: not within {} s", patience.as_secs());
        }
        tokio::time::sleep(STEP).await;
    }
}
