//! Invalid API keys: counted for an alarm, and looked up in the database at a bounded rate.

use std::sync::{Mutex, PoisonError};

use shared::{metrics::Metric, problem::Problem, services::Services};

use crate::route_policy::RoutePolicy;

/// Look-ups per second of keys that are not in this instance's cache. Each costs a read. A valid key's first
/// request is a look-up too, so a flood of invented keys may delay it by a second.
const MAX_LOOKUPS_PER_SECOND: u32 = 100;
/// How often failures are logged, seconds: the first at once, later ones summed up, so a flood of requests
/// does not flood the log. What an instance has not logged when it ends is lost.
const REPORT_INTERVAL_SECONDS: i64 = 10;

/// The counters of this instance.
#[derive(Default)]
pub struct AuthAttempts(Mutex<AttemptCounts>);

#[derive(Default)]
struct AttemptCounts {
    second: i64,
    lookups: u32,
    failed: i64,
    failed_at_operator_routes: i64,
    reported_at: i64,
}

impl AuthAttempts {
    /// Counts one look-up.
    ///
    /// # Errors
    /// 429 beyond [`MAX_LOOKUPS_PER_SECOND`].
    pub fn allow_lookup(&self, app: &Services) -> Result<(), Problem> {
        let now = app.clock.unix();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.second != now {
            (state.second, state.lookups) = (now, 0);
        }
        state.lookups += 1;
        if state.lookups > MAX_LOOKUPS_PER_SECOND { Err(Problem::rate_limited(1)) } else { Ok(()) }
    }

    /// Counts a request with an invalid key.
    pub fn record_failure(&self, app: &Services, rule: RoutePolicy) {
        let now = app.clock.unix();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failed += 1;
        state.failed_at_operator_routes += i64::from(rule.scope().is_none());
        if now - state.reported_at < REPORT_INTERVAL_SECONDS {
            return;
        }
        let (failed, operator) = (state.failed, state.failed_at_operator_routes);
        (state.failed, state.failed_at_operator_routes, state.reported_at) = (0, 0, now);
        drop(state);
        tracing::warn!(
            failed,
            operator,
            "{failed} requests had a wrong key, {operator} at the operator's routes"
        );
        app.metrics.record(Metric::AuthenticationFailures, failed, app.clock.now());
    }
}
