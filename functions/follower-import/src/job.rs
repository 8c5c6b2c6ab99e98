//! What every job is given, what it answers, and the order in which that is made true.

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

    /// Has `job` come at `due`, unix seconds. The same `id` and time again is the same.
    fn at<'a>(
        &'a self,
        app: &'a App,
        id: &'a str,
        due: i64,
        job: &'a ImportJob,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

/// One receipt of a job.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The same each time that this message comes.
    pub message_id: &'a str,
    /// How often it has come, this time included.
    pub receive_count: u32,
    /// What it may do before it hands on.
    pub budget: Budget,
    /// No call to WeChat begins that could end later.
    pub until: Deadline,
}

/// How much one job does that could go on for long; another one goes on from there.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Entries of an index that it looks at, whoever they belong to.
    pub entries: usize,
    /// How long it works.
    pub time: Duration,
}

impl Budget {
    /// A third of the time that is `left`, since the four other jobs of a batch share the processor, and what is begun is
    /// ended: 25,000 entries are about a second's reading, and 5 MB.
    #[must_use]
    pub fn of(left: Duration) -> Self {
        Self { entries: 25_000, time: left / 3 }
    }
}

/// What becomes of a job.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It need not come again.
    Done,
    /// It must, after this long, and why.
    Again(Duration, String),
}

/// Jobs that follow.
#[derive(Debug, Default)]
pub(crate) struct Next {
    /// Queued first, in any order.
    pub first: Vec<ImportJob>,
    /// Queued when all of `first` are: whoever sees this one may rely on those.
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
    /// What WeChat said is doubtful: ask again after this long.
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

/// Said of a job that asks WeChat once more.
const DOUBT: &str = "what WeChat answered is doubtful";

/// Does a job, and queues what follows from it.
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

/// The import of a job; a [`ImportJob::FanV1`] has none, and an empty id.
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

/// The import, if it goes on: a paused one is taken up by `ResumeV1`, one that ended needs nothing more. An
/// account that is another tenant's by now ends it, because its tokens would list another's followers.
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
