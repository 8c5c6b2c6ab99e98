//! Waits before a retry of what DynamoDB refused for a moment: members that a batch left unprocessed,
//! requests that were throttled as a whole, and writes that conflicted with a transaction. The SDK itself
//! retries throttled requests and those without an answer, within 150 ms (`crate::aws`).

use std::time::Duration;

use super::Store;

/// Attempts in all. The waits add up to at most 1.55 s, which leaves every function time to finish.
const MAX_ATTEMPTS: u32 = 6;
/// Upper bound of the first wait; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(50);

impl Store {
    /// Waits after `failures` failures; returns `false` at once after the last attempt. Half of each wait is
    /// random, so that writers which collided once do not collide again.
    pub(super) async fn back_off(&self, failures: u32) -> bool {
        if failures >= MAX_ATTEMPTS {
            return false;
        }
        let most = FIRST_WAIT * (1 << failures.saturating_sub(1).min(MAX_ATTEMPTS));
        let half = most / 2;
        let drawn = self.random.below(u64::try_from(half.as_micros()).unwrap_or(u64::MAX));
        tokio::time::sleep(half + Duration::from_micros(drawn)).await;
        true
    }
}
