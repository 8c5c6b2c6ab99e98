//! A batch of due accounts.

use futures::{StreamExt, stream};
use shared::{
    app::App,
    error::Error,
    metrics::Metric,
    queue::{batch, jobs::RefreshJob},
    tokens::{self, Why},
};

/// Refreshes at the same time within one invocation.
const CONCURRENCY: usize = 10;

/// Refreshes what the batch names; answers the messages to bring again.
pub async fn run(app: &App, event: shared::function::SqsEvent) -> Vec<String> {
    batch::each(
        batch::items::<RefreshJob>(event),
        CONCURRENCY,
        |RefreshJob::AuthorizersV1 { app_ids }, _| async move {
            let all = stream::iter(app_ids).map(|app_id| refresh(app, app_id)).buffer_unordered(CONCURRENCY);
            all.all(|done| async move { done }).await
        },
    )
    .await
}

/// Whether the account needs no other try.
async fn refresh(app: &App, app_id: String) -> bool {
    match tokens::authorizer(app, &app_id, Why::Due).await {
        Ok(_) => true,
        Err(Error::NotAuthorized(_)) => give_up(app, &app_id).await,
        Err(Error::WeChat(error)) if matches!(error.errcode(), Some(61003)) => give_up(app, &app_id).await,
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
