//! A batch of due accounts.

use futures::{StreamExt, stream};
use shared::{
    app::App,
    error::Error,
    metrics::Metric,
    queue::{batch, jobs::RefreshJob},
    tokens::{self, Why},
};

use crate::sweep;

/// Refreshes at the same time within one invocation.
const CONCURRENCY: usize = 10;

/// Refreshes what the batch names; answers the messages to bring again.
pub async fn run(app: &App, event: shared::function::SqsEvent) -> Vec<String> {
    batch::each(batch::items::<RefreshJob>(event), CONCURRENCY, |job, _| async move {
        match job {
            RefreshJob::AuthorizersV1 { app_ids } => all(app, app_ids).await,
            RefreshJob::TimersV1 { shards } => {
                sweep::job(app, &shards).await;
                true
            }
        }
    })
    .await
}

/// Refreshes each, whatever becomes of the others: one that is dropped half-way may have new tokens of WeChat's in hand
/// that nobody stores. Answers whether all need no other try.
async fn all(app: &App, app_ids: Vec<String>) -> bool {
    let all = stream::iter(app_ids).map(|app_id| refresh(app, app_id)).buffer_unordered(CONCURRENCY);
    all.fold(true, |done, this| async move { done && this }).await
}

/// Whether the account needs no other try.
async fn refresh(app: &App, app_id: String) -> bool {
    match tokens::authorizer(app, &app_id, Why::Due).await {
        Ok(_) => true,
        Err(Error::NotAuthorized(_)) => give_up(app, &app_id).await,
        Err(error) => {
            tracing::warn!(app_id, %error, "the token of {app_id} could not be refreshed: {error}");
            app.metrics.count(Metric::RefreshFailures, app.clock.now());
            false
        }
    }
}

/// The authorization is gone and no event told us: the account is unbound.
async fn give_up(app: &App, app_id: &str) -> bool {
    tracing::error!(app_id, "{app_id} is no longer authorized; its administrator must authorize it again");
    let unbound = async {
        app.store.unbind_account(app_id, app.clock.unix()).await?;
        app.store.stop_refreshing(app_id).await
    };
    unbound.await.inspect_err(|error| tracing::error!(%error, "{error}")).is_ok()
}
