//! Token refreshes in flight: never two for one token, for a refresher has a lease.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use shared::clock::Clock;

/// An authorization takes the lease from whoever refreshes; so long after it two may be in flight, seconds.
const AUTHORIZED_LATELY: i64 = 60;

/// What is in flight, and what was seen.
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
    /// Nothing yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, room: Arc::default() }
    }

    /// A call begins; it ends when the answer is dropped, also by a crash.
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

    /// A call was answered.
    pub fn landed(&self, path: &str) {
        if path.contains("api_query_auth") {
            self.room.lock().unwrap().authorized_at = self.clock.unix();
        }
    }

    /// What must not have happened.
    pub fn complaints(&self) -> Vec<String> {
        self.room.lock().unwrap().complaints.clone()
    }

    /// Refreshes asked for: `component`, and by app id.
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
