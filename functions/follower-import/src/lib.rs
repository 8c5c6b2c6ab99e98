//! Imports an account's followers: lists pages of openids, fetches details by the hundred, finds who left.
//!
//! In: [`ImportJob`]s. Writes: the import, its pages and receipts, fans, `unsubscribed` events without push.
//! Any job may come twice, late, in any order: repeated work counts once. A job that cannot continue asks for
//! a retry, pauses the import, or ends it with a text that tells its tenant what to do.

mod chunk;
mod details;
pub mod fan;
mod fan_out;
mod finish;
pub mod job;
mod listing;
mod page;
mod quota;
mod reconcile;
mod resume;
mod take_up;
mod trouble;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream};
use jiff::Timestamp;
use shared::{
    app::App,
    config::Need,
    deadline::Deadline,
    error::Error,
    function::Function,
    given_up,
    queue::{
        Queues, Target,
        batch::{self, Item, Undone},
        jobs::ImportJob,
    },
    timers,
};

use job::{Budget, Delivery, Outbox, Outcome};

/// Jobs of a batch that run at once: a batch holds 5, and each mostly waits for WeChat or the store.
const CONCURRENCY: usize = 5;
/// Time that is left after the last call to WeChat, to store what it returned: at most a hundred fans
/// for each job.
const STORING: Duration = Duration::from_secs(5);

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
pub fn function(app: Arc<App>) -> Function {
    Function::new().sqs(move |event, until| {
        let app = Arc::clone(&app);
        async move {
            let (follows, jobs): (Vec<_>, Vec<_>) = batch::items::<ImportJob>(event)
                .into_iter()
                .partition(|item| matches!(item.job, Some(ImportJob::FanV1 { .. })));
            let (jobs, follows) = futures::join!(
                batch::each(jobs, CONCURRENCY, |job, about| handle(&app, job, about, until)),
                new_followers(&app, follows, until),
            );
            let mut again = given_up::undone(&app, Target::Import, jobs).await;
            again.extend(given_up::undone(&app, Target::Follower, follows).await);
            again
        }
    })
}

async fn handle(app: &App, job: ImportJob, about: Item<()>, until: Deadline) -> Result<(), String> {
    match job::deliver(app, &job, delivery(app, &about, until), &app.queues).await {
        Outcome::Done => Ok(()),
        Outcome::Again(after, why) => {
            if let Err(error) = app.queues.postpone_import(&about.receipt_handle, after).await {
                tracing::warn!(%error, "a job could not be postponed: {error}");
            }
            Err(why)
        }
    }
}

/// Jobs of new followers, with their messages.
type Follows = Vec<(ImportJob, Item<()>)>;

/// Runs the jobs of new fans, those of one account together. Returns those that must be delivered again.
async fn new_followers(app: &App, items: Vec<Item<ImportJob>>, until: Deadline) -> Vec<Undone> {
    let mut accounts: BTreeMap<(String, String), Follows> = BTreeMap::new();
    for item in items {
        let (job, about) = item.split();
        if let Some(job) = job {
            let ids = job::ids(&job);
            accounts.entry((ids.tenant.into(), ids.app.into())).or_default().push((job, about));
        }
    }
    stream::iter(accounts.into_values())
        .map(|follows| async move {
            let each = follows.iter().map(|(job, about)| (job.clone(), delivery(app, about, until)));
            let jobs: Vec<_> = each.collect();
            let outcomes = fan::deliver(app, &jobs, &app.queues).await;
            let mut again = Vec::new();
            for ((_, about), outcome) in follows.iter().zip(outcomes) {
                if let Outcome::Again(after, why) = outcome {
                    if let Err(error) = app.queues.postpone_follower(&about.receipt_handle, after).await {
                        tracing::warn!(%error, "a job could not be postponed: {error}");
                    }
                    again.push(Undone { item: about.clone(), why });
                }
            }
            again
        })
        .buffer_unordered(CONCURRENCY)
        .concat()
        .await
}

fn delivery<'a, T>(app: &App, about: &'a Item<T>, until: Deadline) -> Delivery<'a> {
    Delivery {
        message_id: &about.message_id,
        receive_count: about.receive_count,
        budget: Budget::of(until.left(&*app.clock)),
        until: until.less(STORING),
    }
}

impl Outbox for Queues {
    fn put(&self, jobs: Vec<ImportJob>, delay: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.import(&jobs, delay).await })
    }

    fn at<'a>(
        &'a self,
        app: &'a App,
        id: &'a str,
        due: i64,
        job: &'a ImportJob,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let due = Timestamp::from_second(due).map_err(|error| Error::Queue(error.to_string()))?;
            let waiting = match job {
                ImportJob::FanV1 { .. } => timers::Job::Follower(job),
                _ => timers::Job::Import(job),
            };
            timers::set(app, id, due, waiting).await
        })
    }
}
