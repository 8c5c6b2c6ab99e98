//! Watches token refreshes: a refresher holds a lease, so no token is ever refreshed twice at the same time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use shared::clock::Clock;

/// The platform's own token, which no authorization concerns.
const COMPONENT: &str = "component";
/// An authorization takes over the lease of a running refresh of its account; for so long two may overlap. Its call does
/// not name the account.
const AUTHORIZATION_GRACE_SECONDS: i64 = 60;

/// Refreshes in flight, and what was observed.
pub struct RefreshMonitor {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<MonitorState>>,
}

#[derive(Default)]
struct MonitorState {
    in_flight: BTreeMap<String, u32>,
    authorized_at: i64,
    violations: Vec<String>,
    refresh_counts: BTreeMap<String, u32>,
}

impl RefreshMonitor {
    /// No refresh yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default() }
    }

    /// Notes that a call begins. It ends when the returned value is dropped, also by a crash.
    pub fn call_begins(&self, path: &str, body: &str) -> Option<RefreshInFlight> {
        let path = path.split('?').next().unwrap();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let mut room = self.state.lock().unwrap();
        let what = match path.rsplit('/').next().unwrap() {
            "api_query_auth" => {
                room.authorized_at = self.clock.unix();
                return None;
            }
            "api_component_token" => COMPONENT.to_owned(),
            "api_authorizer_token" => body["authorizer_appid"].as_str().unwrap().to_owned(),
            _ => return None,
        };
        *room.refresh_counts.entry(what.clone()).or_default() += 1;
        let up = room.in_flight.entry(what.clone()).or_default();
        *up += 1;
        let concurrent = *up;
        let may_overlap =
            what != COMPONENT && self.clock.unix() <= room.authorized_at + AUTHORIZATION_GRACE_SECONDS;
        if concurrent > 1 && !may_overlap {
            room.violations.push(format!("{concurrent} refreshes of {what} at once"));
        }
        Some(RefreshInFlight { state: Arc::clone(&self.state), credential: what })
    }

    /// Notes that a call was answered.
    pub fn call_answered(&self, path: &str) {
        if path.contains("api_query_auth") {
            self.state.lock().unwrap().authorized_at = self.clock.unix();
        }
    }

    /// Overlapping refreshes.
    pub fn violations(&self) -> Vec<String> {
        self.state.lock().unwrap().violations.clone()
    }

    /// How many refreshes were requested, of `component` or of an app id.
    pub fn refresh_count(&self, what: &str) -> u32 {
        self.state.lock().unwrap().refresh_counts.get(what).copied().unwrap_or(0)
    }
}

/// A refresh in flight.
pub struct RefreshInFlight {
    state: Arc<Mutex<MonitorState>>,
    credential: String,
}

impl Drop for RefreshInFlight {
    fn drop(&mut self) {
        *self.state.lock().unwrap().in_flight.get_mut(&self.credential).unwrap() -= 1;
    }
}
