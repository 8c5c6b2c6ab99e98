//! Schedules: calls a function every so often, once at the start, and never twice at once.

use std::time::Duration;

use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

use crate::gateway::Target;

/// Starts a schedule; it ends when `stop` says so.
pub fn start(target: Target, every: Duration, stop: &watch::Receiver<bool>, tasks: &mut JoinSet<()>) {
    let mut stop = stop.clone();
    tasks.spawn(async move {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = tick.tick() => run(&target).await,
                _ = stop.changed() => return,
            }
        }
    });
}

async fn run(target: &Target) {
    let called = target.clone();
    let call = tokio::spawn(async move {
        tokio::time::timeout(called.timeout, called.function.call(json!({"schedule": called.name}))).await
    });
    let name = &target.name;
    match call.await {
        Ok(Ok(Ok(_))) => {}
        Ok(Ok(Err(error))) => tracing::error!(function = name, %error, "{name} failed: {error}"),
        Ok(Err(_)) => tracing::error!(function = name, "{name} timed out"),
        Err(error) => tracing::error!(function = name, %error, "{name} panicked"),
    }
}
