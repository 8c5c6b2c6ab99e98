//! Runs one job: its inputs, its results, and the order in which follow-up jobs are queued.

use std::time::Duration;

use futures::future::BoxFuture;
use shared::{
    deadline::Deadline,
    error::Error,
    model::account::AccountStatus,
    queue::jobs::ImportJob,
    services::Services,
    store::imports::{Import, ImportStatus},
};

use crate::{chunk, failure_policy, fan_out, new_fans, page, progress, reconcile, requeue, resume};

/// Where follow-up jobs go.
pub trait Outbox: Sync {
    /// Queues `jobs`, to be received after `delay`.
    fn enqueue(&self, jobs: Vec<ImportJob>, delay: Duration) -> BoxFuture<'_, Result<(), Error>>;

    /// Schedules `job` at `due`, in unix seconds. The same `id` and time again is the same timer.
    fn schedule<'a>(
        &'a self,
        app: &'a Services,
        id: &'a str,
        due: i64,
        job: &'a ImportJob,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

/// One delivery of a job's message.
#[derive(Debug, Clone, Copy)]
pub struct JobDelivery<'a> {
    /// The message's id, the same at each delivery.
    pub message_id: &'a str,
    /// How often it was received, this time included.
    pub receive_count: u32,
    /// How much it may do before it queues a job for the rest.
    pub budget: Budget,
    /// Calls to WeChat must end by then.
    pub until: Deadline,
}

/// The most that one job does of work without a bound; the next job continues from there.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Index entries that it reads, of any account.
    pub entries: usize,
    /// How long it works.
    pub time: Duration,
}

impl Budget {
    /// A third of the time `left`, because the four other jobs of the batch share the processor and a started
    /// step is always finished. 25,000 entries are 5 MB and about a second of reading.
    #[must_use]
    pub fn of(left: Duration) -> Self {
        Self { entries: 25_000, time: left / 3 }
    }
}

/// The result of a job.
#[derive(Debug, PartialEq, Eq)]
pub enum ImportJobOutcome {
    /// Delete its message.
    Done,
    /// Deliver it again after this long; the text says why.
    Retry(Duration, String),
}

/// Jobs that follow.
#[derive(Debug, Default)]
pub(crate) struct FollowUps {
    /// Queued first, in any order.
    pub first: Vec<ImportJob>,
    /// Queued after all of `first`, so that whoever receives it may rely on those.
    pub then: Option<ImportJob>,
    /// The same job again, at this time, unix seconds.
    pub retry_at: Option<i64>,
}

impl FollowUps {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn jobs(first: Vec<ImportJob>) -> Self {
        Self { first, ..Self::default() }
    }
}

/// Why a job stopped half-way.
#[derive(Debug)]
pub(crate) enum JobError {
    Failed(Error),
    /// The list ends far short of its total: fetch it again after this long.
    RetryPage(Duration),
}

impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Which import a job belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ImportIds<'a> {
    pub import_id: &'a str,
    pub app_id: &'a str,
    pub tenant_id: &'a str,
}

/// The reason that is logged for [`JobError::RetryPage`].
const SHORT_LIST: &str = "what WeChat answered is doubtful";

/// Runs a job and queues its follow-up jobs.
pub async fn run_job(
    app: &Services,
    job: &ImportJob,
    delivery: JobDelivery<'_>,
    outbox: &dyn Outbox,
) -> ImportJobOutcome {
    if matches!(job, ImportJob::FanV1 { .. }) {
        let outcome = new_fans::run_batch(app, &[(job.clone(), delivery)], outbox).await.pop();
        return outcome.unwrap_or(ImportJobOutcome::Done);
    }
    let started_at = app.clock.unix();
    let outcome = match attempt(app, job, delivery).await {
        Ok(next) => queue_follow_ups(app, job, outbox, next).await.map(|()| ImportJobOutcome::Done),
        Err(JobError::RetryPage(after)) => Ok(ImportJobOutcome::Retry(after, SHORT_LIST.to_owned())),
        Err(JobError::Failed(error)) => {
            failure_policy::apply_failure(app, job, &error, started_at, delivery, outbox).await
        }
    };
    outcome.unwrap_or_else(|error| {
        tracing::warn!(%error, "a job comes again: {error}");
        ImportJobOutcome::Retry(failure_policy::MIN_RETRY_WAIT, error.to_string())
    })
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
        Some(due) => outbox.schedule(app, &resume::timer_id(ids_of_job(job).import_id), due, job).await,
        None => Ok(()),
    }
}

async fn attempt(app: &Services, job: &ImportJob, delivery: JobDelivery<'_>) -> Result<FollowUps, JobError> {
    let ids = ids_of_job(job);
    match job {
        ImportJob::PageV1 { page, cursor, .. } => page::run(app, ids, *page, cursor, delivery).await,
        ImportJob::ChunkV1 { page, chunk, chunks, started_at, open_ids, .. } => {
            let place = chunk::ChunkPosition { page: *page, chunk: *chunk, chunks: *chunks };
            Ok(chunk::run(app, ids, place, *started_at, open_ids, delivery).await?)
        }
        ImportJob::FanOutV1 { page, .. } => Ok(fan_out::run(app, ids, *page).await?),
        ImportJob::ReconcileV1 { shard, cursor, .. } => {
            Ok(reconcile::run(app, ids, *shard, cursor.clone(), delivery).await?)
        }
        ImportJob::ResumeV1 { .. } => Ok(resume::run(app, ids, delivery).await?),
        ImportJob::TakeUpV1 { .. } => Ok(requeue::run(app, ids, delivery).await?),
        ImportJob::FanV1 { .. } => Ok(FollowUps::none()), // not of an import: see `deliver`
    }
}

/// The ids of a job's import; an [`ImportJob::FanV1`] belongs to none and has an empty import id.
pub(crate) fn ids_of_job(job: &ImportJob) -> ImportIds<'_> {
    match job {
        ImportJob::PageV1 { import_id, app_id, tenant_id, .. }
        | ImportJob::ChunkV1 { import_id, app_id, tenant_id, .. }
        | ImportJob::FanOutV1 { import_id, app_id, tenant_id, .. }
        | ImportJob::ReconcileV1 { import_id, app_id, tenant_id, .. }
        | ImportJob::ResumeV1 { import_id, app_id, tenant_id }
        | ImportJob::TakeUpV1 { import_id, app_id, tenant_id } => ImportIds { import_id, app_id, tenant_id },
        ImportJob::FanV1 { app_id, tenant_id, .. } => ImportIds { import_id: "", app_id, tenant_id },
    }
}

/// The import, if it is running: only `ResumeV1` continues a paused one. If another tenant has the account by
/// now the import ends, because that account's tokens would list another tenant's followers.
pub(crate) async fn running_import(app: &Services, ids: ImportIds<'_>) -> Result<Option<Import>, Error> {
    let (import, account) = futures::future::try_join(
        app.store.import(ids.app_id, ids.import_id),
        app.store.account(ids.tenant_id, ids.app_id),
    )
    .await?;
    let running = |i: &Import| i.status == ImportStatus::Running && i.tenant_id == ids.tenant_id;
    let Some(import) = import.filter(running) else { return Ok(None) };
    match account {
        Some(account) if account.status == AccountStatus::Bound => Ok(Some(import)),
        Some(_) => Err(Error::NotAuthorized(ids.app_id.to_owned())),
        None => {
            let why = "the account was deleted; bind it again to import its followers";
            progress::fail(app, ids.app_id, ids.import_id, why).await?;
            Ok(None)
        }
    }
}
