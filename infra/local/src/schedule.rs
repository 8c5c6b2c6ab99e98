//! Schedules: calls a function every so often, once at the start, and never twice at once.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use shared::clock::Clock;
use tokio::{sync::watch, task::JoinSet};

use crate::lambda::{Target, chain::Chain};

/// Starts a schedule; it ends when `stop` says so.
pub fn start(
    target: Target,
    every: Duration,
    clock: Arc<dyn Clock>,
    stop: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) {
    let mut stop = stop.clone();
    tasks.spawn(async move {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = tick.tick() => run(&target, clock.now()).await,
                _ = stop.changed() => return,
            }
        }
    });
}

async fn run(target: &Target, now: Timestamp) {
    let name = &target.name;
    if let Err(failure) = target.invoke(event(name, now), &Chain::default()).await {
        tracing::error!(function = name, "{name} {failure}");
    }
}

/// What EventBridge Scheduler sends when a schedule names no input of its own.
fn event(name: &str, now: Timestamp) -> Value {
    json!({
        "version": "0",
        "id": "00000000-0000-0000-0000-000000000000",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "000000000000",
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": "us-east-1",
        "resources": [format!("arn:aws:scheduler:us-east-1:000000000000:schedule/default/{name}")],
        "detail": "{}",
    })
}
