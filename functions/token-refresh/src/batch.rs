//! A batch of due accounts.

use std::time::Duration;

use futures::{StreamExt, stream};
use shared::{
    app::App,
    deadline::Deadline,
    error::Error,
    metrics::Metric,
    queue::{batch, jobs::RefreshJob},
    tokens::{self, For, Why},
};

use crate::sweep;

/// Refreshes at the same time within one invocation.
const CONCURRENCY: usize = 10;
/// When an account whose refresh failed comes again by itself.
const AGAIN: Duration = Duration::from_secs(60);

/// Refreshes what the batch names; answers the messages to bring again. No call begins that could end after `until`.
pub async fn run(app: &App, event: shared::function::SqsEvent, until: Deadline) -> Vec<String> {
    batch::each(batch::items::<RefreshJob>(event), CONCURRENCY, |job, _| async move {
        match job {
            RefreshJob::AuthorizersV1 { app_ids } => all(app, app_ids, until).await,
            RefreshJob::TimersV1 { shards } => {
                sweep::job(app, &shards, until).await;
                true
            }
        }
    })
    .await
}

/// Refreshes each, whatever becomes of the others: one that is dropped half-way may have new tokens of WeChat's in hand
/// that nobody stores. Those that failed get jobs of their own, so that one that fails for long has nobody refreshed
/// again with it; where all failed the job itself comes again. Answers whether it need not.
async fn all(app: &App, app_ids: Vec<String>, until: Deadline) -> bool {
    let count = app_ids.len();
    let failed: Vec<String> = stream::iter(app_ids)
        .map(|app_id| refresh(app, app_id, until))
        .buffer_unordered(CONCURRENCY)
        .filter_map(|failed| async move { failed })
        .collect()
        .await;
    if failed.is_empty() || failed.len() == count {
        return failed.is_empty();
    }
    let alone: Vec<_> =
        failed.into_iter().map(|app_id| RefreshJob::AuthorizersV1 { app_ids: vec![app_id] }).collect();
    let queued = app.queues.refresh(&alone, AGAIN).await;
    queued.inspect_err(|error| tracing::warn!(%error, "a batch comes again as a whole: {error}")).is_ok()
}

/// Answers the account where it needs another try.
async fn refresh(app: &App, app_id: String, until: Deadline) -> Option<String> {
    let asked_at = app.clock.unix();
    let done = match tokens::authorizer(app, For::Platform, &app_id, Why::Due, until).await {
        Ok(_) => true,
        Err(Error::NotAuthorized(_)) => give_up(app, &app_id, asked_at).await,
        Err(error) => {
            tracing::warn!(app_id, %error, "the token of {app_id} could not be refreshed: {error}");
            app.metrics.count(Metric::RefreshFailures, app.clock.now());
            false
        }
    };
    (!done).then_some(app_id)
}

/// The authorization was gone at `asked_at`, unix seconds, and no event told us: the account is unbound, unless it was
/// authorized again since.
async fn give_up(app: &App, app_id: &str, asked_at: i64) -> bool {
    tracing::error!(app_id, "{app_id} is no longer authorized; its administrator must authorize it again");
    let unbound = app.store.unbind_account(app_id, asked_at, asked_at).await;
    unbound.inspect_err(|error| tracing::error!(%error, "{error}")).is_ok()
}
