//! What the other files share: a job's delivery and result, and where the jobs go that follow.

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use shared::{
    deadline::Deadline,
    error::Error,
    queue::{
        Queues,
        jobs::{ImportJob, ImportRef},
    },
    services::Services,
    timers::{self, TimerJob},
};

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

/// An account of a tenant, as its import or a new fan's job names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccountRef<'a> {
    pub app_id: &'a str,
    pub tenant_id: &'a str,
}

impl<'a> From<&'a ImportRef> for AccountRef<'a> {
    fn from(import: &'a ImportRef) -> Self {
        Self { app_id: &import.app_id, tenant_id: &import.tenant_id }
    }
}

/// Where follow-up jobs go: the queues, or those of a test.
pub trait Outbox: Sync {
    /// Queues `jobs`, to be received after `delay`.
    fn enqueue(&self, jobs: Vec<ImportJob>, delay: Duration) -> BoxFuture<'_, Result<(), Error>>;

    /// Schedules `job` at `due`, in unix seconds. The same `id` and time again is the same timer.
    fn schedule<'a>(
        &'a self,
        app: &'a Services,
        id: &'a str,
        due: i64,
        job: TimerJob<'a>,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

impl Outbox for Queues {
    fn enqueue(&self, jobs: Vec<ImportJob>, delay: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.import(&jobs, delay).await })
    }

    fn schedule<'a>(
        &'a self,
        app: &'a Services,
        id: &'a str,
        due: i64,
        job: TimerJob<'a>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let due = Timestamp::from_second(due).map_err(|error| Error::Queue(error.to_string()))?;
            timers::set(app, id, due, job).await
        })
    }
}
