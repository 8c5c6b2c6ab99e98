//! Runs one job of an import: its step, then the jobs that follow, or what its error means.

use std::time::Duration;

use shared::{
    error::Error,
    metrics::Metric,
    model::{account::AccountStatus, import::ImportStatus},
    queue::jobs::{ImportJob, ImportRef},
    retry,
    services::Services,
    timers::TimerJob,
};

use crate::{
    chunk,
    failure_policy::{self, FailureDecision},
    fan_out, page, progress, reconcile, requeue, resume,
    types::{FollowUps, ImportJobOutcome, JobDelivery, JobError, Outbox},
};

/// The reason that is logged for [`JobError::RetryPage`].
const SHORT_LIST: &str = "what WeChat answered is doubtful";

/// Runs a job and queues its follow-up jobs.
pub async fn run_job(
    app: &Services,
    job: &ImportJob,
    delivery: JobDelivery<'_>,
    outbox: &dyn Outbox,
) -> ImportJobOutcome {
    let started_at = app.clock.unix();
    let outcome = match attempt(app, job, delivery).await {
        Ok(next) => queue_follow_ups(app, job, outbox, next).await.map(|()| ImportJobOutcome::Done),
        Err(JobError::RetryPage(after)) => Ok(ImportJobOutcome::Retry(after, SHORT_LIST.to_owned())),
        Err(JobError::Failed(error)) => apply_failure(app, job, &error, started_at, delivery, outbox).await,
    };
    outcome.unwrap_or_else(|error| {
        tracing::warn!(%error, "a job comes again: {error}");
        ImportJobOutcome::Retry(retry::wait(&error, delivery.receive_count), error.to_string())
    })
}

async fn attempt(app: &Services, job: &ImportJob, delivery: JobDelivery<'_>) -> Result<FollowUps, JobError> {
    match job {
        ImportJob::PageV1 { import, page, cursor } => page::run(app, import, *page, cursor, delivery).await,
        ImportJob::ChunkV1 { import, page, chunk, chunks, started_at, open_ids } => {
            let at = chunk::ChunkPosition { page: *page, chunk: *chunk, chunks: *chunks };
            Ok(chunk::run(app, import, at, *started_at, open_ids, delivery).await?)
        }
        ImportJob::FanOutV1 { import, page } => Ok(fan_out::run(app, import, *page).await?),
        ImportJob::ReconcileV1 { import, shard, cursor } => {
            Ok(reconcile::run(app, import, *shard, cursor.clone(), delivery).await?)
        }
        ImportJob::ResumeV1 { import } => Ok(resume::run(app, import, delivery).await?),
        ImportJob::TakeUpV1 { import } => Ok(requeue::run(app, import, delivery).await?),
    }
}

async fn queue_follow_ups(
    app: &Services,
    job: &ImportJob,
    outbox: &dyn Outbox,
    next: FollowUps,
) -> Result<(), Error> {
    if !next.first.is_empty() {
        outbox.enqueue(next.first, Duration::ZERO).await?;
    }
    if let Some(job) = next.then {
        outbox.enqueue(vec![job], Duration::ZERO).await?;
    }
    match next.retry_at {
        Some(due) => outbox.schedule(app, &resume::timer_id(job.import()), due, TimerJob::Import(job)).await,
        None => Ok(()),
    }
}

/// Applies the decision to a failed job, which started at `started_at`, in unix seconds.
async fn apply_failure(
    app: &Services,
    job: &ImportJob,
    error: &Error,
    started_at: i64,
    delivery: JobDelivery<'_>,
    outbox: &dyn Outbox,
) -> Result<ImportJobOutcome, Error> {
    let import = job.import();
    let ImportRef { import_id, app_id, .. } = import;
    let decision = failure_policy::decide(error, delivery.receive_count, app.clock.now());
    // a failed import is logged with the same text where it ends
    if !matches!(decision, FailureDecision::Fail(_)) {
        tracing::warn!(app_id, import_id, then = decision.name(), "an import job failed: {error}");
    }
    match decision {
        FailureDecision::Retry(after) => Ok(ImportJobOutcome::Retry(after, error.to_string())),
        FailureDecision::Requeue(after) => {
            outbox.enqueue(vec![job.clone()], after).await.map(|()| ImportJobOutcome::Done)
        }
        FailureDecision::Pause { cause_ends_at, why } => {
            let until = failure_policy::paused_until(cause_ends_at, app.clock.unix());
            pause(app, import, until, &why, outbox).await.map(|()| ImportJobOutcome::Done)
        }
        FailureDecision::Fail(why) => {
            // the error is older than a new consent, whose tenant relies on the running import
            if authorized_since(app, import, started_at).await? {
                let after = retry::wait(error, delivery.receive_count);
                return Ok(ImportJobOutcome::Retry(after, error.to_string()));
            }
            progress::fail(app, import, &why).await.map(|()| ImportJobOutcome::Done)
        }
    }
}

/// Pauses an import, if it is running, until then, in unix seconds.
async fn pause(
    app: &Services,
    import: &ImportRef,
    until: i64,
    why: &str,
    outbox: &dyn Outbox,
) -> Result<(), Error> {
    let ImportRef { import_id, app_id, .. } = import;
    let stored = app.store.imports().get(app_id, import_id).await?;
    if stored.is_none_or(|stored| stored.status != ImportStatus::Running) {
        return Ok(());
    }
    // queued first, so that a crash cannot leave an import paused with nothing to resume it
    let resume = ImportJob::ResumeV1 { import: import.clone() };
    outbox.schedule(app, &resume::timer_id(import), until, TimerJob::Import(&resume)).await?;
    let why = format!("{why}; the import goes on by itself");
    if app.store.imports().pause(app_id, import_id, until, &why).await? {
        app.metrics.count(Metric::HaltedImports, app.clock.now());
    }
    Ok(())
}

/// Whether the account was authorized again since then, in unix seconds.
async fn authorized_since(app: &Services, import: &ImportRef, since: i64) -> Result<bool, Error> {
    let account = app.store.accounts().get(&import.tenant_id, &import.app_id).await?;
    Ok(account.is_some_and(|a| a.status == AccountStatus::Bound && a.authorized_at() >= since))
}
