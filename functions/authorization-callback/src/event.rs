//! One push to the platform: a ticket, or news of an authorization.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use shared::{
    app::App,
    envelope::{CallbackQuery, Refusal, is_stale},
    error::Error,
    metrics::Metric,
    model::{
        component_event::{Authorization, ComponentEvent, ComponentEventKind},
        release_check,
    },
    queue::jobs::AuthorizationJob,
};

pub(crate) async fn receive(
    State(app): State<Arc<App>>,
    Query(query): Query<CallbackQuery>,
    body: Bytes,
) -> Response {
    let text = |status, body: String| {
        (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
    };
    let event = match open(&app, &query, &body) {
        Ok(event) => event,
        Err(refusal) => {
            tracing::warn!(reason = %refusal, "a component push was refused: {refusal}");
            app.metrics.count(Metric::RefusedPushes, app.clock.now());
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            return text(status, refusal.to_string());
        }
    };
    match store(&app, event).await {
        Ok(()) => text(StatusCode::OK, "success".into()),
        Err(error) => {
            tracing::error!(%error, "a component push could not be stored: {error}");
            text(StatusCode::SERVICE_UNAVAILABLE, "not stored; push again".into())
        }
    }
}

fn open(app: &App, query: &CallbackQuery, body: &[u8]) -> Result<ComponentEvent, Refusal> {
    if app.config.reject_stale_callbacks
        && is_stale(query.timestamp.as_deref().unwrap_or(""), app.clock.unix())
    {
        return Err(Refusal::Stale);
    }
    let opened = app.envelope.open(query, body)?;
    let event = ComponentEvent::parse(&opened.plaintext)?;
    // tickets of several platforms on one address must not overwrite each other
    if event.app_id == app.config.component.app_id { Ok(event) } else { Err(Refusal::Undecryptable) }
}

async fn store(app: &App, event: ComponentEvent) -> Result<(), Error> {
    let at = event.create_time;
    match event.kind {
        ComponentEventKind::VerifyTicket(ticket) => app.store.keep_ticket(&ticket, at).await,
        ComponentEventKind::Authorized(grant) | ComponentEventKind::UpdateAuthorized(grant) => {
            authorized(app, grant).await
        }
        ComponentEventKind::Unauthorized(app_id) => unauthorized(app, app_id, at).await,
        ComponentEventKind::Other(name) => {
            tracing::info!(info_type = name, "{name} is of no concern to the hub");
            Ok(())
        }
    }
}

/// Exchanging the code takes calls to WeChat: a job does it, and `success` says that the job is stored.
async fn authorized(app: &App, grant: Authorization) -> Result<(), Error> {
    if release_check::is_test_account(&grant.authorizer_app_id) {
        return Ok(()); // the check reads its code from a message (protocol 2.8)
    }
    if let Some(code) = &grant.pre_auth_code {
        app.store.note_authorization(code.expose()).await?;
    }
    let job = AuthorizationJob::AuthorizedV1 {
        app_id: grant.authorizer_app_id,
        code: grant.code.expose().into(),
        pre_auth_code: grant.pre_auth_code.map(|code| code.expose().to_owned()).unwrap_or_default(),
    };
    app.queues.authorization(&job).await
}

/// Unbinds at once, unless the account was authorized after the event was made: then WeChat is asked which of
/// the two holds.
async fn unauthorized(app: &App, app_id: String, at: i64) -> Result<(), Error> {
    if app.store.unbind_account(&app_id, at).await? {
        return app.store.stop_refreshing(&app_id).await;
    }
    if app.store.any_account(&app_id).await?.is_some_and(|a| a.bound_at > at) {
        app.queues.authorization(&AuthorizationJob::UnauthorizedV1 { app_id, at }).await?;
    }
    Ok(())
}
