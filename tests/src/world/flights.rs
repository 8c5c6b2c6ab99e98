//! Watches token refreshes: a refresher holds a lease, so no token is ever refreshed twice at the same time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use shared::clock::Clock;

/// An authorization takes over the lease of a running refresh; for so long two may overlap.
const AUTHORIZED_LATELY: i64 = 60;

/// Refreshes in flight, and what was observed.
pub struct Flights {
    clock: Arc<dyn Clock>,
    room: Arc<Mutex<Room>>,
}

#[derive(Default)]
struct Room {
    up: BTreeMap<String, u32>,
    authorized_at: i64,
    complaints: Vec<String>,
    refreshes: BTreeMap<String, u32>,
}

impl Flights {
    /// No refresh yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, room: Arc::default() }
    }

    /// Notes that a call begins. It ends when the returned value is dropped, also by a crash.
    pub fn take_off(&self, path: &str, body: &str) -> Option<Flight> {
        let path = path.split('?').next().unwrap();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let mut room = self.room.lock().unwrap();
        let what = match path.rsplit('/').next().unwrap() {
            "api_query_auth" => {
                room.authorized_at = self.clock.unix();
                return None;
            }
            "api_component_token" => "component".to_owned(),
            "api_authorizer_token" => body["authorizer_appid"].as_str().unwrap().to_owned(),
            _ => return None,
        };
        *room.refreshes.entry(what.clone()).or_default() += 1;
        let up = room.up.entry(what.clone()).or_default();
        *up += 1;
        let crowd = *up;
        if crowd > 1 && self.clock.unix() > room.authorized_at + AUTHORIZED_LATELY {
            room.complaints.push(format!("{crowd} refreshes of {what} at once"));
        }
        Some(Flight { room: Arc::clone(&self.room), what })
    }

    /// Notes that a call was answered.
    pub fn landed(&self, path: &str) {
        if path.contains("api_query_auth") {
            self.room.lock().unwrap().authorized_at = self.clock.unix();
        }
    }

    /// Overlapping refreshes.
    pub fn complaints(&self) -> Vec<String> {
        self.room.lock().unwrap().complaints.clone()
    }

    /// How many refreshes were requested, of `component` or of an app id.
    pub fn refreshes(&self, what: &str) -> u32 {
        self.room.lock().unwrap().refreshes.get(what).copied().unwrap_or(0)
    }
}

/// A refresh in flight.
pub struct Flight {
    room: Arc<Mutex<Room>>,
    what: String,
}

impl Drop for Flight {
    fn drop(&mut self) {
        *self.room.lock().unwrap().up.get_mut(&self.what).unwrap() -= 1;
    }
}
