//! Keys that open nothing: counted for an alarm, and looked up at a bounded rate.

use std::sync::{Mutex, PoisonError};

use shared::{app::App, metrics::Metric, problem::Problem};

use crate::access::Rule;

/// Keys that this instance does not remember, looked up in one second at most. Each costs a read; a new key's first
/// request is one too, so that a flood of invented keys may make it wait a second.
const LOOK_UPS_PER_SECOND: u32 = 100;
/// How often failures are told, seconds: the first at once, those after it together, so that a flood of requests is no
/// flood of log lines. Those that an instance has not told when it ends are not told.
const TOLD_EVERY_SECONDS: i64 = 10;

/// What this instance remembers of them.
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
    /// Takes one look-up.
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

    /// Counts a key that opens nothing.
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
