//! Imports an account's followers: lists pages of openids, fetches details by the hundred, finds who left.
//!
//! In: [`ImportJob`]s. Writes: the import, its pages and receipts, fans, `unsubscribed` events without push.
//! Any job may come twice, late, in any order: repeated work counts once. A job that cannot continue asks for
//! a retry, pauses the import, or ends it with a text that tells its tenant what to do.

mod chunk;
mod details;
pub mod dispatch;
mod failure_policy;
mod fan_out;
pub mod new_fans;
mod page;
mod page_end;
mod progress;
mod quota;
mod reconcile;
mod requeue;
mod resume;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream};
use jiff::Timestamp;
use shared::{
    config::Need,
    deadline::Deadline,
    error::Error,
    function::Function,
    job_failures,
    queue::{
        JobQueue, Queues,
        batch::{self, FailedJob, ReceivedJob},
        jobs::ImportJob,
    },
    services::Services,
    timers,
};

use dispatch::{Budget, ImportJobOutcome, JobDelivery, Outbox};

/// Jobs of a batch that run at once: a batch holds 5, and each mostly waits for WeChat or the store.
const CONCURRENCY: usize = 5;
/// Time that is left after the last call to WeChat, to store what it returned: at most a hundred fans
/// for each job.
const TIME_TO_STORE: Duration = Duration::from_secs(5);

/// The settings that it may read.
pub const NEEDS: &[Need] = &[
    Need::ComponentAppId,
    Need::AppSecret,
    Need::WeChatApi,
    Need::TimelineDays,
    Need::PlatformTable,
    Need::CredentialsTable,
    Need::CustomersTable,
    Need::TimelineTable,
    Need::WorkTable,
    Need::ImportQueue,
    Need::FollowerQueue,
];

/// The function, over `app`.
#[must_use]
pub fn function(app: Arc<Services>) -> Function {
    Function::new().sqs(move |event, until| {
        let app = Arc::clone(&app);
        async move {
            let (follows, jobs): (Vec<_>, Vec<_>) = batch::read_batch::<ImportJob>(event)
                .into_iter()
                .partition(|item| matches!(item.job, Some(ImportJob::FanV1 { .. })));
            let (jobs, follows) = futures::join!(
                batch::run_each(jobs, CONCURRENCY, |job, about| handle(&app, job, about, until)),
                handle_new_fans(&app, follows, until),
            );
            let mut again = job_failures::batch_item_failures(&app, JobQueue::Import, jobs).await;
            again.extend(job_failures::batch_item_failures(&app, JobQueue::Follower, follows).await);
            again
        }
    })
}

async fn handle(
    app: &Services,
    job: ImportJob,
    meta: ReceivedJob<()>,
    until: Deadline,
) -> Result<(), String> {
    match dispatch::run_job(app, &job, delivery(app, &meta, until), &app.queues).await {
        ImportJobOutcome::Done => Ok(()),
        ImportJobOutcome::Retry(after, why) => {
            if let Err(error) = app.queues.postpone_import(&meta.receipt_handle, after).await {
                tracing::warn!(%error, "a job could not be postponed: {error}");
            }
            Err(why)
        }
    }
}

/// Jobs of new followers, with their messages.
type NewFanJobs = Vec<(ImportJob, ReceivedJob<()>)>;

/// Runs the jobs of new fans, those of one account together. Returns those that must be delivered again.
async fn handle_new_fans(
    app: &Services,
    items: Vec<ReceivedJob<ImportJob>>,
    until: Deadline,
) -> Vec<FailedJob> {
    let mut accounts: BTreeMap<(String, String), NewFanJobs> = BTreeMap::new();
    for item in items {
        let (job, about) = item.split();
        if let Some(job) = job {
            let ids = dispatch::ids_of_job(&job);
            accounts.entry((ids.tenant_id.into(), ids.app_id.into())).or_default().push((job, about));
        }
    }
    stream::iter(accounts.into_values())
        .map(|follows| async move {
            let each = follows.iter().map(|(job, about)| (job.clone(), delivery(app, about, until)));
            let jobs: Vec<_> = each.collect();
            let outcomes = new_fans::run_batch(app, &jobs, &app.queues).await;
            let mut again = Vec::new();
            for ((_, about), outcome) in follows.iter().zip(outcomes) {
                if let ImportJobOutcome::Retry(after, why) = outcome {
                    if let Err(error) = app.queues.postpone_follower(&about.receipt_handle, after).await {
                        tracing::warn!(%error, "a job could not be postponed: {error}");
                    }
                    again.push(FailedJob { item: about.clone(), why });
                }
            }
            again
        })
        .buffer_unordered(CONCURRENCY)
        .concat()
        .await
}

fn delivery<'a, T>(app: &Services, meta: &'a ReceivedJob<T>, until: Deadline) -> JobDelivery<'a> {
    JobDelivery {
        message_id: &meta.message_id,
        receive_count: meta.receive_count,
        budget: Budget::of(until.remaining(&*app.clock)),
        until: until.earlier_by(TIME_TO_STORE),
    }
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
        job: &'a ImportJob,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let due = Timestamp::from_second(due).map_err(|error| Error::Queue(error.to_string()))?;
            let waiting = match job {
                ImportJob::FanV1 { .. } => timers::TimerJob::Follower(job),
                _ => timers::TimerJob::Import(job),
            };
            timers::set(app, id, due, waiting).await
        })
    }
}
