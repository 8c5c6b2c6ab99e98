//! Runs one job: its inputs, its results, and the order in which follow-up jobs are queued.

use std::time::Duration;

use futures::future::BoxFuture;
use shared::{
    app::App,
    deadline::Deadline,
    error::Error,
    model::account::AccountStatus,
    queue::jobs::ImportJob,
    store::imports::{Import, ImportStatus},
};

use crate::{chunk, fan, fan_out, finish, page, reconcile, resume, take_up, trouble};

/// Where follow-up jobs go.
pub trait Outbox: Sync {
    /// Queues `jobs`, to be received after `delay`.
    fn put(&self, jobs: Vec<ImportJob>, delay: Duration) -> BoxFuture<'_, Result<(), Error>>;

    /// Schedules `job` at `due`, in unix seconds. The same `id` and time again is the same timer.
    fn at<'a>(
        &'a self,
        app: &'a App,
        id: &'a str,
        due: i64,
        job: &'a ImportJob,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

/// One delivery of a job's message.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
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
pub enum Outcome {
    /// Delete its message.
    Done,
    /// Deliver it again after this long; the text says why.
    Again(Duration, String),
}

/// Jobs that follow.
#[derive(Debug, Default)]
pub(crate) struct Next {
    /// Queued first, in any order.
    pub first: Vec<ImportJob>,
    /// Queued after all of `first`, so that whoever receives it may rely on those.
    pub then: Option<ImportJob>,
    /// The same job again, at this time, unix seconds.
    pub again_at: Option<i64>,
}

impl Next {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn jobs(first: Vec<ImportJob>) -> Self {
        Self { first, ..Self::default() }
    }
}

/// Why a job stopped half-way.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(Error),
    /// The list ends far short of its total: fetch it again after this long.
    Doubt(Duration),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Which import a job belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids<'a> {
    pub import: &'a str,
    pub app: &'a str,
    pub tenant: &'a str,
}

/// The reason that is logged for [`JobError::RetryPage`].
const DOUBT: &str = "what WeChat answered is doubtful";

/// Runs a job and queues its follow-up jobs.
pub async fn deliver(app: &App, job: &ImportJob, delivery: Delivery<'_>, outbox: &dyn Outbox) -> Outcome {
    if matches!(job, ImportJob::FanV1 { .. }) {
        let outcome = fan::deliver(app, &[(job.clone(), delivery)], outbox).await.pop();
        return outcome.unwrap_or(Outcome::Done);
    }
    let began = app.clock.unix();
    let outcome = match attempt(app, job, delivery).await {
        Ok(next) => queue(app, job, outbox, next).await.map(|()| Outcome::Done),
        Err(Stop::Doubt(after)) => Ok(Outcome::Again(after, DOUBT.to_owned())),
        Err(Stop::Failed(error)) => trouble::settle(app, job, &error, began, delivery, outbox).await,
    };
    outcome.unwrap_or_else(|error| {
        tracing::warn!(%error, "a job comes again: {error}");
        Outcome::Again(trouble::SHORT_WAIT, error.to_string())
    })
}

async fn queue(app: &App, job: &ImportJob, outbox: &dyn Outbox, next: Next) -> Result<(), Error> {
    if !next.first.is_empty() {
        outbox.put(next.first, Duration::ZERO).await?;
    }
    if let Some(job) = next.then {
        outbox.put(vec![job], Duration::ZERO).await?;
    }
    match next.again_at {
        Some(due) => outbox.at(app, &resume::timer(ids(job).import), due, job).await,
        None => Ok(()),
    }
}

async fn attempt(app: &App, job: &ImportJob, delivery: Delivery<'_>) -> Result<Next, Stop> {
    let ids = ids(job);
    match job {
        ImportJob::PageV1 { page, cursor, .. } => page::run(app, ids, *page, cursor, delivery).await,
        ImportJob::ChunkV1 { page, chunk, chunks, started_at, open_ids, .. } => {
            let place = chunk::Place { page: *page, chunk: *chunk, chunks: *chunks };
            Ok(chunk::run(app, ids, place, *started_at, open_ids, delivery).await?)
        }
        ImportJob::FanOutV1 { page, .. } => Ok(fan_out::run(app, ids, *page).await?),
        ImportJob::ReconcileV1 { shard, cursor, .. } => {
            Ok(reconcile::run(app, ids, *shard, cursor.clone(), delivery).await?)
        }
        ImportJob::ResumeV1 { .. } => Ok(resume::run(app, ids, delivery).await?),
        ImportJob::TakeUpV1 { .. } => Ok(take_up::run(app, ids, delivery).await?),
        ImportJob::FanV1 { .. } => Ok(Next::none()), // not of an import: see `deliver`
    }
}

/// The ids of a job's import; an [`ImportJob::FanV1`] belongs to none and has an empty import id.
pub(crate) fn ids(job: &ImportJob) -> Ids<'_> {
    match job {
        ImportJob::PageV1 { import_id, app_id, tenant_id, .. }
        | ImportJob::ChunkV1 { import_id, app_id, tenant_id, .. }
        | ImportJob::FanOutV1 { import_id, app_id, tenant_id, .. }
        | ImportJob::ReconcileV1 { import_id, app_id, tenant_id, .. }
        | ImportJob::ResumeV1 { import_id, app_id, tenant_id }
        | ImportJob::TakeUpV1 { import_id, app_id, tenant_id } => {
            Ids { import: import_id, app: app_id, tenant: tenant_id }
        }
        ImportJob::FanV1 { app_id, tenant_id, .. } => Ids { import: "", app: app_id, tenant: tenant_id },
    }
}

/// The import, if it is running: only `ResumeV1` continues a paused one. If another tenant has the account by
/// now the import ends, because that account's tokens would list another tenant's followers.
pub(crate) async fn running(app: &App, ids: Ids<'_>) -> Result<Option<Import>, Error> {
    let (import, account) = futures::future::try_join(
        app.store.import(ids.app, ids.import),
        app.store.account(ids.tenant, ids.app),
    )
    .await?;
    let running = |i: &Import| i.status == ImportStatus::Running && i.tenant_id == ids.tenant;
    let Some(import) = import.filter(running) else { return Ok(None) };
    match account {
        Some(account) if account.status == AccountStatus::Bound => Ok(Some(import)),
        Some(_) => Err(Error::NotAuthorized(ids.app.to_owned())),
        None => {
            let why = "the account was deleted; bind it again to import its followers";
            finish::fail(app, ids.app, ids.import, why).await?;
            Ok(None)
        }
    }
}
