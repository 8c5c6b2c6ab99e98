//! Brings an account's followers here: pages of openids, hundreds of details, then those who left.
//!
//! In: [`ImportJob`]s. Writes: the import, its pages and receipts, fans, `unsubscribed` events that nobody pushed.
//! Any job may come twice, late, in any order: what it did before counts once. A job that cannot go on says when
//! to come again, pauses the import, or ends it with the next step for its tenant.

mod chunk;
mod details;
mod fan;
mod fan_out;
mod finish;
pub mod job;
mod listing;
mod page;
mod reconcile;
mod resume;
mod take_up;
mod trouble;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use shared::{
    app::App,
    config::Need,
    error::Error,
    function::Function,
    queue::{
        Queues,
        batch::{self, Item},
        jobs::ImportJob,
    },
};

use job::{Budget, Delivery, Outbox, Outcome};

/// Jobs of one batch at work together: a batch holds 5, and each mostly waits for WeChat or the store.
const CONCURRENCY: usize = 5;

/// What it is told, and nothing else.
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
];

/// The function, over `app`.
#[must_use]
pub fn function(app: Arc<App>) -> Function {
    Function::new().sqs(move |event| {
        let app = Arc::clone(&app);
        async move {
            let jobs = batch::items::<ImportJob>(event);
            batch::each(jobs, CONCURRENCY, |job, about| handle(&app, job, about)).await
        }
    })
}

async fn handle(app: &App, job: ImportJob, about: Item<()>) -> bool {
    let delivery = Delivery {
        message_id: &about.message_id,
        receive_count: about.receive_count,
        budget: Budget::default(),
    };
    match job::deliver(app, &job, delivery, &app.queues).await {
        Outcome::Done => true,
        Outcome::Again(after) => {
            if let Err(error) = app.queues.postpone_import(&about.receipt_handle, after).await {
                tracing::warn!(%error, "a job could not be postponed: {error}");
            }
            false
        }
    }
}

impl Outbox for Queues {
    fn put(&self, jobs: Vec<ImportJob>, delay: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.import(&jobs, delay).await })
    }
}
