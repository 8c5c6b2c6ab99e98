//! Time passes: schedules tick, queues are processed, until a time or until nothing is left to do.

use std::time::Duration;

use serde_json::json;

use crate::{deployment::SimulatedDeployment, dynamo, rare_states::RareState};

/// Longest step of simulated time: a ticket lives 12 hours.
const OUTAGE_STEP_SECONDS: i64 = 8 * 3600;
/// Bound on [`SimulatedDeployment::run_until_idle`].
const MAX_ROUNDS: u32 = 1_500;
/// The longest step of time while messages wait.
const MAX_STEP_SECONDS: u64 = 900;

impl SimulatedDeployment {
    /// A tick of the schedule.
    pub async fn tick(&self) {
        self.invoke("TokenRefresh", json!({"schedule": "tick"})).await;
    }

    /// As if the schedule had always ticked: a first tick would walk through every slot of the wheel.
    pub fn mark_ticked(&self) {
        let minute = json!({"N": (self.now() / 60).to_string()});
        let item = json!({"pk": {"S": "REFRESH"}, "sk": {"S": "TICK"}, "minute": minute});
        let body = json!({"TableName": "CredentialsTable", "Item": item}).to_string();
        assert_eq!(dynamo::call(&self.backends.db, "PutItem", &body).0, 200);
    }

    /// Advances time: on the way tickets are pushed, schedules tick and queues are processed.
    pub async fn advance(&self, seconds: i64) {
        let end = self.now() + seconds;
        while self.now() < end {
            let left = end - self.now();
            // most of a long time is an outage of the schedule
            let step = left.min(if left > OUTAGE_STEP_SECONDS { OUTAGE_STEP_SECONDS } else { 1200 });
            tokio::time::sleep(Duration::from_secs(step.unsigned_abs())).await;
            if step >= 600 {
                self.sim().push_ticket().await;
            }
            if step >= 60 {
                self.tick().await;
                self.process_batches(1).await;
            }
        }
    }

    /// How many jobs wait in timers.
    pub fn timer_count(&self) -> usize {
        let work = dynamo::scan(&self.backends.db, "WorkTable");
        work.keys().filter(|(pk, sk)| pk.starts_with("TIMER#") && sk != "SWEEP").count()
    }

    /// Runs until nothing is left to do: no push, no message, no timer, no invocation.
    pub async fn run_until_idle(&self) {
        let mut step = 1;
        for _ in 0..MAX_ROUNDS {
            self.sim().deliver_pending().await;
            let came = self.process_batches(2).await;
            if came > 0 {
                step = 1;
                continue;
            }
            let (open, _) = self.queue_depths().await;
            let waiting = self.timer_count();
            if waiting > 0 {
                self.backends.rare_states.reached(RareState::JobInTimer);
            }
            if open == 0 && waiting == 0 && !self.is_busy() && self.sim().deliver_pending().await.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(step)).await;
            if step > 300 {
                self.sim().push_ticket().await;
            }
            if step > 300 || (step > 30 && waiting > 0) {
                self.tick().await;
            }
            step = (step * 2).min(MAX_STEP_SECONDS);
        }
        let (open, dead) = self.queue_depths().await;
        panic!(
            "it never gets quiet: {open} messages and {} timers are left, {dead} messages were given up",
            self.timer_count()
        );
    }
}
