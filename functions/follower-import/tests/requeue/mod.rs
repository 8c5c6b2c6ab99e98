//! `TakeUpV1` that dies, or comes twice.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use follower_import::{
    dispatch,
    types::{Budget, ImportJobOutcome, JobDelivery, Outbox},
};
use futures::future::BoxFuture;
use shared::{
    clock::Clock, deadline::Deadline, error::Error, model::import::ImportStatus, queue::jobs::ImportJob,
    services::Services, timers::TimerJob,
};

use crate::{
    requeue_job,
    support::{APP, ImportHarness, open_ids},
};

/// Keeps what is queued, or refuses it.
#[derive(Default)]
struct RecordingOutbox {
    refuses: AtomicBool,
    jobs: Mutex<Vec<ImportJob>>,
}

impl Outbox for RecordingOutbox {
    fn enqueue(&self, jobs: Vec<ImportJob>, _: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            if self.refuses.load(Ordering::SeqCst) {
                return Err(Error::Queue("refused".into()));
            }
            self.jobs.lock().unwrap().extend(jobs);
            Ok(())
        })
    }

    fn schedule<'a>(
        &'a self,
        _: &'a Services,
        _: &'a str,
        _: i64,
        _: TimerJob<'a>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
}

/// Delivers a requeue of `id` as the SQS message `message_id`; returns how many jobs it queued, or none if it failed.
async fn requeue(
    harness: &ImportHarness,
    outbox: &RecordingOutbox,
    id: &str,
    message_id: &str,
) -> Option<usize> {
    let delivery = JobDelivery {
        message_id,
        receive_count: 1,
        budget: Budget::of(Duration::from_secs(60)),
        until: Deadline::NEVER,
    };
    outbox.jobs.lock().unwrap().clear();
    match dispatch::run_job(&harness.app, &requeue_job(id), delivery, outbox).await {
        ImportJobOutcome::Done => Some(outbox.jobs.lock().unwrap().len()),
        ImportJobOutcome::Retry(..) => None,
    }
}

/// An import that paused until long ago, and whose resumption was lost.
async fn paused_import(harness: &ImportHarness) -> String {
    let (id, _) = harness.start().await;
    let until = harness.clock.unix() + 60;
    assert!(harness.app.store.imports().pause(APP, &id, until, "a quota").await.unwrap());
    harness.clock.advance(4_000);
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requeue_that_resumed_an_import_and_died_is_finished_when_it_comes_again() {
    let harness = ImportHarness::new(1, &open_ids(3)).await;
    let id = paused_import(&harness).await;
    let outbox = RecordingOutbox::default();
    outbox.refuses.store(true, Ordering::SeqCst);
    assert_eq!(requeue(&harness, &outbox, &id, "m1").await, None);
    assert_eq!(harness.import(&id).await.status, ImportStatus::Running, "it was resumed");
    outbox.refuses.store(false, Ordering::SeqCst);
    assert_eq!(requeue(&harness, &outbox, &id, "m2").await, Some(0), "another one, too early");
    assert_eq!(requeue(&harness, &outbox, &id, "m1").await, Some(1), "the same again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requeue_that_comes_again_ends_no_later_pause() {
    let harness = ImportHarness::new(1, &open_ids(3)).await;
    let (id, _) = harness.start().await;
    harness.clock.advance(4_000);
    let outbox = RecordingOutbox::default();
    assert_eq!(requeue(&harness, &outbox, &id, "m1").await, Some(1));
    let until = harness.clock.unix() + 3_600;
    assert!(harness.app.store.imports().pause(APP, &id, until, "a quota").await.unwrap());
    assert_eq!(requeue(&harness, &outbox, &id, "m1").await, Some(0));
    let import = harness.import(&id).await;
    assert_eq!((import.status, import.paused_until), (ImportStatus::Paused, Some(until)));
}
