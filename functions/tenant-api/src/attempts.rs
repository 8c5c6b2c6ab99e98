//! Invalid API keys: counted for an alarm, and looked up in the database at a bounded rate.

use std::sync::{Mutex, PoisonError};

use shared::{app::App, metrics::Metric, problem::Problem};

use crate::access::Rule;

/// Look-ups per second of keys that are not in this instance's cache. Each costs a read. A valid key's first
/// request is a look-up too, so a flood of invented keys may delay it by a second.
const LOOK_UPS_PER_SECOND: u32 = 100;
/// How often failures are logged, seconds: the first at once, later ones summed up, so a flood of requests
/// does not flood the log. What an instance has not logged when it ends is lost.
const TOLD_EVERY_SECONDS: i64 = 10;

/// The counters of this instance.
#[derive(Default)]
pub struct Attempts(Mutex<State>);

#[derive(Default)]
struct State {
    second: i64,
    looked_up: u32,
    failed: i64,
    at_operators_routes: i64,
    told_at: i64,
}

impl Attempts {
    /// Counts one look-up.
    ///
    /// # Errors
    /// 429 beyond [`LOOK_UPS_PER_SECOND`].
    pub fn look_up(&self, app: &App) -> Result<(), Problem> {
        let now = app.clock.unix();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.second != now {
            (state.second, state.looked_up) = (now, 0);
        }
        state.looked_up += 1;
        if state.looked_up > LOOK_UPS_PER_SECOND { Err(Problem::rate_limited(1)) } else { Ok(()) }
    }

    /// Counts a request with an invalid key.
    pub fn failed(&self, app: &App, rule: Rule) {
        let now = app.clock.unix();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failed += 1;
        state.at_operators_routes += i64::from(rule.scope().is_none());
        if now - state.told_at < TOLD_EVERY_SECONDS {
            return;
        }
        let (failed, operator) = (state.failed, state.at_operators_routes);
        (state.failed, state.at_operators_routes, state.told_at) = (0, 0, now);
        drop(state);
        tracing::warn!(
            failed,
            operator,
            "{failed} requests had a wrong key, {operator} at the operator's routes"
        );
        app.metrics.put(Metric::AuthenticationFailures, failed, app.clock.now());
    }
}
