//! Refreshes the tokens of a batch of due accounts.

use std::time::Duration;

use futures::{StreamExt, stream};
use shared::{
    deadline::Deadline,
    error::Error,
    job_failures,
    metrics::Metric,
    model::token::WHEEL_SLOTS,
    queue::{JobQueue, batch, jobs::RefreshJob},
    services::Services,
    store::refresh_wheel::wheel_slot,
    tokens::{self, OnBehalfOf, RefreshReason},
};

use crate::sweep;

/// Concurrent refreshes within one invocation.
const CONCURRENCY: usize = 10;
/// The wait before a failed refresh is retried, within these bounds: as long as it has failed. An outage
/// may end at any moment, and tokens are refreshed at least five minutes before they expire.
const RETRY_SECONDS: (i64, i64) = (60, 300);
/// How long a refresh is retried; after that the wheel has come round to the account again.
const MAX_FAILING_SECONDS: i64 = WHEEL_SLOTS as i64 * 60;

/// Handles a batch. Returns the messages to deliver again. Starts no call that could end after `until`.
pub async fn run(app: &Services, event: shared::function::SqsEvent, until: Deadline) -> Vec<String> {
    let undone = batch::run_each(batch::read_batch::<RefreshJob>(event), CONCURRENCY, |job, _| async move {
        match job {
            RefreshJob::AuthorizersV1 { app_ids } => refresh_all(app, app_ids, app.clock.unix(), until).await,
            RefreshJob::AuthorizersAgainV1 { app_ids, since } => {
                refresh_all(app, app_ids, since, until).await
            }
            RefreshJob::TimersV1 { shards } => {
                sweep::sweep_shards(app, &shards, until).await;
                Ok(())
            }
        }
    });
    job_failures::batch_item_failures(app, JobQueue::Refresh, undone.await).await
}

/// Refreshes all accounts, even after failures: a dropped refresh may hold new tokens that would be lost.
/// Failed accounts get jobs of their own, so that one does not repeat the refreshes of others with it. If all
/// failed, the cause is outside, and they stay one job. Retries are limited by age, because a limit on tries
/// would be reached within minutes. Returns an error where this job itself must be delivered again.
async fn refresh_all(
    app: &Services,
    app_ids: Vec<String>,
    since: i64,
    until: Deadline,
) -> Result<(), String> {
    let count = app_ids.len();
    let failed: Vec<String> = stream::iter(app_ids)
        .map(|app_id| refresh(app, app_id, until))
        .buffer_unordered(CONCURRENCY)
        .filter_map(|failed| async move { failed })
        .collect()
        .await;
    let age = app.clock.unix().saturating_sub(since);
    if failed.is_empty() || age >= MAX_FAILING_SECONDS {
        return Ok(());
    }
    let together = if failed.len() == count { count } else { 1 };
    let again: Vec<_> = failed
        .chunks(together)
        .map(|app_ids| RefreshJob::AuthorizersAgainV1 { app_ids: app_ids.to_vec(), since })
        .collect();
    let wait = Duration::from_secs(age.clamp(RETRY_SECONDS.0, RETRY_SECONDS.1).unsigned_abs());
    let queued = app.queues.refresh(&again, wait).await;
    queued.map_err(|error| {
        tracing::warn!(%error, "a batch comes again as a whole: {error}");
        error.to_string()
    })
}

/// Returns the account if it needs another try.
async fn refresh(app: &Services, app_id: String, until: Deadline) -> Option<String> {
    let asked_at = app.clock.unix();
    let done =
        match tokens::authorizer_token(app, OnBehalfOf::Platform, &app_id, RefreshReason::Due, until).await {
            Ok(_) => Ok(()),
            Err(Error::NotAuthorized(_)) => unbind_unauthorized(app, &app_id, asked_at).await,
            Err(error) => {
                tracing::warn!(app_id, %error, "the token of {app_id} could not be refreshed: {error}");
                app.metrics.count(Metric::RefreshFailures, app.clock.now());
                Err(error)
            }
        };
    (done.is_err() && waits_for_wheel(app, &app_id).await).then_some(app_id)
}

/// Whether only the wheel's next round would find the account. Every tick finds the others.
async fn waits_for_wheel(app: &Services, app_id: &str) -> bool {
    let found = app.store.authorizers().get(app_id).await;
    found.map_or(true, |found| found.is_some_and(|credentials| wheel_slot(&credentials).is_some()))
}

/// The account was not authorized at `asked_at`, in unix seconds, but no event came: unbind it, unless it was
/// authorized again after that.
async fn unbind_unauthorized(app: &Services, app_id: &str, asked_at: i64) -> Result<(), Error> {
    tracing::error!(app_id, "{app_id} is no longer authorized; its administrator must authorize it again");
    let unbound = app.store.accounts().unbind(app_id, asked_at, asked_at).await;
    unbound.map(drop).inspect_err(|error| tracing::error!(%error, "{error}"))
}
