//! How long to wait before asking again for what DynamoDB refused for a moment: keys, items and statements that a batch
//! left undone because of throttling, requests that were throttled as a whole, and writes that met a transaction. The SDK
//! repeats the latter but two and those without an answer by itself, within 150 ms (`crate::aws`).

use std::time::Duration;

use super::Store;

/// Tries in all. The waits between them come to at most 1.55 s, which leaves every function time for its end.
const TRIES: u32 = 6;
/// The first wait at most; it doubles.
const FIRST: Duration = Duration::from_millis(50);

impl Store {
    /// Waits after so many failures; `false` at once where that was the last try. The second half of each wait is drawn,
    /// so that those who met once do not meet again.
    pub(super) async fn may_retry(&self, failures: u32) -> bool {
        if failures >= TRIES {
            return false;
        }
        let most = FIRST * (1 << failures.saturating_sub(1).min(TRIES));
        let half = most / 2;
        let drawn = self.random.below(u64::try_from(half.as_micros()).unwrap_or(u64::MAX));
        tokio::time::sleep(half + Duration::from_micros(drawn)).await;
        true
    }
}
