//! Imports an account's followers: lists pages of openids, fetches details by the hundred, finds who left.
//!
//! In: [`ImportJob`]s. Writes: the import, its pages and receipts, fans, `unsubscribed` events without push.
//! Any job may come twice, late, in any order: repeated work counts once. A job that cannot continue asks for
//! a retry, pauses the import, or ends it with a text that tells its tenant what to do.
//!
//! An import's states, as `phase.rs` reads them from its record, with the job or file that moves it on:
//!
//! ```text
//! Importing   --(a page: PageV1; a hundred followers: ChunkV1)--> Importing
//! Importing   --(after a pause, what has no receipt: FanOutV1)--> Importing
//! Importing   --(the last page's last receipt)------------------> Reconciling, with all shards open
//! Importing   --(the same, but the list broke off)--------------> Cut
//! Cut         --(at once: progress.rs)--------------------------> Ended: failed, nobody is taken for gone
//! Reconciling --(a shard: ReconcileV1)--------------------------> Reconciling
//! Reconciling --(the last shard)--------------------------------> Reconciled
//! Reconciled  --(at once: progress.rs)--------------------------> Ended: completed
//!
//! Importing, Reconciling --(quota, outage: failure_policy.rs)---> Paused
//! Paused                 --(ResumeV1, its tenant, TakeUpV1)-----> where it was: resume.rs queues what is left
//! all but Ended          --(a refusal for good, an account that was deleted or bound again)--> Ended: failed
//! ```
//!
//! `TakeUpV1` also queues again what is left of an import that has not moved for long.
//!
//! A new fan's [`FollowerJob`] belongs to no import: `new_fans.rs`.

mod chunk;
mod details;
pub mod dispatch;
mod failure_policy;
mod fan_out;
pub mod new_fans;
mod page;
mod page_end;
mod phase;
mod progress;
mod reconcile;
mod remembered_refusals;
mod requeue;
mod resume;
pub mod types;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use shared::{
    config::Need,
    deadline::Deadline,
    function::Function,
    job_failures,
    queue::{
        JobQueue,
        batch::{self, FailedJob, ReceivedJob},
        jobs::{FollowerImportJob, FollowerJob, ImportJob},
    },
    services::Services,
};

use types::{Budget, ImportJobOutcome, JobDelivery};

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
            let (mut jobs, mut new_fans) = (Vec::new(), Vec::new());
            for item in batch::read_batch(event) {
                match item.split() {
                    (Some(FollowerImportJob::Follower(job)), message) => new_fans.push((job, message)),
                    (Some(FollowerImportJob::Import(job)), message) => jobs.push(message.with(Some(job))),
                    (None, message) => jobs.push(message.with(None)),
                }
            }
            let (jobs, new_fans) = futures::join!(
                batch::run_each(jobs, CONCURRENCY, |job, meta| handle(&app, job, meta, until)),
                handle_new_fans(&app, new_fans, until),
            );
            let mut again = job_failures::batch_item_failures(&app, JobQueue::Import, jobs).await;
            again.extend(job_failures::batch_item_failures(&app, JobQueue::Follower, new_fans).await);
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

/// Jobs of new fans, with their messages.
type NewFanJobs = Vec<(FollowerJob, ReceivedJob<()>)>;

/// Runs the jobs of new fans, those of one account together. Returns those that must be delivered again.
async fn handle_new_fans(app: &Services, new_fans: NewFanJobs, until: Deadline) -> Vec<FailedJob> {
    let mut accounts: BTreeMap<(String, String), NewFanJobs> = BTreeMap::new();
    for (job, message) in new_fans {
        let FollowerJob::FanV1 { app_id, tenant_id, .. } = &job;
        accounts.entry((tenant_id.clone(), app_id.clone())).or_default().push((job, message));
    }
    stream::iter(accounts.into_values())
        .map(|new_fans| async move {
            let jobs: Vec<_> =
                new_fans.iter().map(|(job, meta)| (job.clone(), delivery(app, meta, until))).collect();
            let outcomes = new_fans::run_batch(app, &jobs, &app.queues).await;
            let mut again = Vec::new();
            for ((_, meta), outcome) in new_fans.iter().zip(outcomes) {
                if let ImportJobOutcome::Retry(after, why) = outcome {
                    if let Err(error) = app.queues.postpone_follower(&meta.receipt_handle, after).await {
                        tracing::warn!(%error, "a job could not be postponed: {error}");
                    }
                    again.push(FailedJob { item: meta.clone(), why });
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
