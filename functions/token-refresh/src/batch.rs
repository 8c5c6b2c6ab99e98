//! A batch of due accounts.

use std::time::Duration;

use futures::{StreamExt, stream};
use shared::{
    app::App,
    deadline::Deadline,
    error::Error,
    given_up,
    metrics::Metric,
    queue::{Target, batch, jobs::RefreshJob},
    tokens::{self, For, Why},
};

use crate::sweep;

/// Refreshes at the same time within one invocation.
const CONCURRENCY: usize = 10;
/// When an account whose refresh failed comes again by itself.
const AGAIN: Duration = Duration::from_secs(60);

/// Refreshes what the batch names; answers the messages to bring again. No call begins that could end after `until`.
pub async fn run(app: &App, event: shared::function::SqsEvent, until: Deadline) -> Vec<String> {
    let undone = batch::each(batch::items::<RefreshJob>(event), CONCURRENCY, |job, _| async move {
        match job {
            RefreshJob::AuthorizersV1 { app_ids } => all(app, app_ids, until).await,
            RefreshJob::TimersV1 { shards } => {
                sweep::job(app, &shards, until).await;
                Ok(())
            }
        }
    });
    given_up::undone(app, Target::Refresh, undone.await).await
}

/// Refreshes each, whatever becomes of the others: one that is dropped half-way may have new tokens of WeChat's in hand
/// that nobody stores. Those that failed get jobs of their own, so that one that fails for long has nobody refreshed
/// again with it; where all failed the job itself comes again. Answers why, where it has to.
async fn all(app: &App, app_ids: Vec<String>, until: Deadline) -> Result<(), String> {
    let count = app_ids.len();
    let failed: Vec<(String, String)> = stream::iter(app_ids)
        .map(|app_id| refresh(app, app_id, until))
        .buffer_unordered(CONCURRENCY)
        .filter_map(|failed| async move { failed })
        .collect()
        .await;
    match failed.first() {
        None => return Ok(()),
        Some((_, why)) if failed.len() == count => return Err(why.clone()),
        Some(_) => {}
    }
    let alone: Vec<_> =
        failed.into_iter().map(|(app_id, _)| RefreshJob::AuthorizersV1 { app_ids: vec![app_id] }).collect();
    let queued = app.queues.refresh(&alone, AGAIN).await;
    queued.map_err(|error| {
        tracing::warn!(%error, "a batch comes again as a whole: {error}");
        error.to_string()
    })
}

/// Answers the account where it needs another try, and why.
async fn refresh(app: &App, app_id: String, until: Deadline) -> Option<(String, String)> {
    let asked_at = app.clock.unix();
    let done = match tokens::authorizer(app, For::Platform, &app_id, Why::Due, until).await {
        Ok(_) => Ok(()),
        Err(Error::NotAuthorized(_)) => give_up(app, &app_id, asked_at).await,
        Err(error) => {
            tracing::warn!(app_id, %error, "the token of {app_id} could not be refreshed: {error}");
            app.metrics.count(Metric::RefreshFailures, app.clock.now());
            Err(error)
        }
    };
    done.err().map(|error| (app_id, error.to_string()))
}

/// The authorization was gone at `asked_at`, unix seconds, and no event told us: the account is unbound, unless it was
/// authorized again since.
async fn give_up(app: &App, app_id: &str, asked_at: i64) -> Result<(), Error> {
    tracing::error!(app_id, "{app_id} is no longer authorized; its administrator must authorize it again");
    let unbound = app.store.unbind_account(app_id, asked_at, asked_at).await;
    unbound.map(drop).inspect_err(|error| tracing::error!(%error, "{error}"))
}
