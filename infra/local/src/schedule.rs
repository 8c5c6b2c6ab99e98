//! Schedules: invokes a function at an interval, first at the start, never concurrently. Tests may inject what
//! EventBridge Scheduler allows itself: up to a minute late, at least once, and sometimes lost.
//!
//! # Source
//! EventBridge Scheduler user guide, "Schedule types" (60 seconds of precision, at least once); Lambda developer guide,
//! "Invoking a Lambda function asynchronously": a throttled event is retried until it is too old.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use shared::{clock::Clock, random::Random};
use tokio::{sync::watch, task::JoinSet};

use crate::lambda::{FunctionTarget, InvocationError, chain::Chain};

/// How old a tick may be when it begins: the template's `MaximumEventAgeInSeconds`.
const MAX_EVENT_AGE: Duration = Duration::from_secs(60);
/// Between two tries of a throttled tick.
const THROTTLED_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Faults of a schedule.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScheduleFaults {
    /// The longest random delay of a tick.
    pub max_delay: Duration,
    /// How many of a thousand ticks are lost.
    pub lost_per_mille: u32,
    /// How many of a thousand ticks are delivered twice at once.
    pub doubled_per_mille: u32,
}

/// Starts a schedule; it ends when `stop` says so.
pub fn start(
    target: FunctionTarget,
    every: Duration,
    habits: ScheduleFaults,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    stop: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) {
    let mut stop = stop.clone();
    tasks.spawn(async move {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            let jitter = u64::try_from(habits.max_delay.as_millis()).unwrap_or(0);
            let delay = Duration::from_millis(random.below(jitter.saturating_add(1)));
            let wait = async {
                tick.tick().await;
                tokio::time::sleep(delay).await;
            };
            // a tick that runs is not left alone by a stop: it would go on writing
            tokio::select! {
                () = wait => {}
                _ = stop.changed() => return,
            }
            let times = match random.below(1000) {
                n if n < u64::from(habits.lost_per_mille) => 0,
                n if n < u64::from(habits.lost_per_mille.saturating_add(habits.doubled_per_mille)) => 2,
                _ => 1,
            };
            let ticks = (0..times).map(|_| run_tick(&target, clock.now(), stop.clone()));
            futures::future::join_all(ticks).await;
        }
    });
}

async fn run_tick(target: &FunctionTarget, now: Timestamp, mut stop: watch::Receiver<bool>) {
    let name = &target.name;
    let tries = u32::try_from(MAX_EVENT_AGE.as_secs() / THROTTLED_RETRY_PAUSE.as_secs()).unwrap_or(1);
    for _ in 0..tries {
        match target.invoke(scheduled_event(name, now), &Chain::default()).await {
            Ok(_) => return,
            Err(InvocationError::Throttled) => tokio::select! {
                () = tokio::time::sleep(THROTTLED_RETRY_PAUSE) => {}
                _ = stop.changed() => return,
            },
            Err(failure) => return tracing::error!(function = name, "{name} {failure}"),
        }
    }
    tracing::error!(function = name, "{name} was throttled for a minute: this tick is dropped");
}

/// The event that EventBridge Scheduler sends when a schedule has no input of its own.
fn scheduled_event(name: &str, now: Timestamp) -> Value {
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::future::BoxFuture;
    use shared::{clock::ManualClock, deadline::Deadline, function::FunctionError, random::StdRandom};
    use tokio::time::Instant;

    use super::*;
    use crate::{functions::Handler, lambda::concurrency::ConcurrencyPool};

    /// Notes when it was called.
    #[derive(Clone, Default)]
    struct RecordingHandler(Arc<Mutex<Vec<Instant>>>);

    impl Handler for RecordingHandler {
        fn call(&self, _: Value, _: Deadline) -> BoxFuture<'static, Result<Value, FunctionError>> {
            self.0.lock().unwrap().push(Instant::now());
            Box::pin(async { Ok(Value::Null) })
        }
    }

    /// Seconds after the start of each call in an hour of ticks a minute.
    async fn hour(habits: ScheduleFaults, room: &ConcurrencyPool) -> Vec<u64> {
        let (calls, began) = (RecordingHandler::default(), Instant::now());
        let target = FunctionTarget {
            name: "Tick".into(),
            handler: Arc::new(calls.clone()),
            timeout: Duration::from_secs(1),
            clock: Arc::new(ManualClock::at(1)),
            recursive: false,
            concurrency: room.clone(),
        };
        let (stop, mut tasks) = (watch::Sender::new(false), JoinSet::new());
        let (clock, random) = (Arc::new(ManualClock::at(1)), Arc::new(StdRandom::seeded(7)));
        start(target, Duration::from_secs(60), habits, clock, random, &stop.subscribe(), &mut tasks);
        tokio::time::sleep(Duration::from_secs(3599)).await;
        stop.send_replace(true);
        tasks.join_next().await;
        let calls = calls.0.lock().unwrap();
        calls.iter().map(|at| at.duration_since(began).as_secs()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_are_late_lost_and_doubled_as_a_test_wants_them() {
        let room = ConcurrencyPool::with_limit(9);
        let exact = hour(ScheduleFaults::default(), &room).await;
        assert_eq!(exact, (0..60).map(|n| n * 60).collect::<Vec<_>>(), "by itself: each at its second");
        let late =
            hour(ScheduleFaults { max_delay: Duration::from_secs(59), ..ScheduleFaults::default() }, &room)
                .await;
        assert!(late.iter().enumerate().all(|(n, at)| at / 60 == n as u64), "within its minute: {late:?}");
        assert!(late.iter().any(|at| at % 60 > 30) && late.iter().any(|at| at % 60 < 30), "{late:?}");
        let lost = hour(ScheduleFaults { lost_per_mille: 500, ..ScheduleFaults::default() }, &room).await;
        assert!((10..50).contains(&lost.len()), "{}", lost.len());
        let doubled =
            hour(ScheduleFaults { doubled_per_mille: 500, ..ScheduleFaults::default() }, &room).await;
        assert!(doubled.len() > 70 && doubled.windows(2).any(|two| two[0] == two[1]), "{doubled:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_tick_waits_for_a_minute_at_most() {
        let room = ConcurrencyPool::with_limit(1);
        let other = room.try_acquire().unwrap();
        let freed = async {
            tokio::time::sleep(Duration::from_secs(90)).await;
            drop(other);
        };
        let (calls, ()) = futures::future::join(hour(ScheduleFaults::default(), &room), freed).await;
        assert_eq!(
            calls.first().map(|at| at / 10),
            Some(9),
            "the second tick, once there is room: {calls:?}"
        );
        assert_eq!(calls.len(), 59);
    }
}
