//! One push to the platform: a component_verify_ticket, or an authorization event.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use shared::{
    envelope::{CallbackError, CallbackQuery, is_stale},
    error::Error,
    metrics::Metric,
    model::{
        authorization,
        component_event::{AuthorizationNotice, ComponentEvent, ComponentEventKind},
        release_check,
    },
    queue::jobs::AuthorizationJob,
    services::Services,
};

use super::jobs::page_by_pre_auth_code;

/// How far WeChat's clock and the hub's may differ.
const MAX_CLOCK_SKEW_SECONDS: i64 = 60;
/// A binding that has asked WeChat about its account ends within this: it is longer than the function runs.
const MAX_BINDING_TIME: Duration = Duration::from_mins(1);

pub(crate) async fn receive(
    State(app): State<Arc<Services>>,
    Query(query): Query<CallbackQuery>,
    body: Bytes,
) -> Response {
    let text = |status, body: String| {
        (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
    };
    let (event, content) = match decrypt(&app, &query, &body) {
        Ok(opened) => opened,
        Err(refusal) => {
            tracing::warn!(reason = %refusal, "a component push was refused: {refusal}");
            app.metrics.count(Metric::RefusedPushes, app.clock.now());
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            return text(status, refusal.to_string());
        }
    };
    match apply_once(&app, event, &content).await {
        Ok(()) => text(StatusCode::OK, "success".into()),
        Err(error) => {
            tracing::error!(%error, "a component push could not be stored: {error}");
            text(StatusCode::SERVICE_UNAVAILABLE, "not stored; push again".into())
        }
    }
}

/// Returns the event, and the fingerprint of its content.
fn decrypt(
    app: &Services,
    query: &CallbackQuery,
    body: &[u8],
) -> Result<(ComponentEvent, String), CallbackError> {
    if app.config.reject_stale_callbacks
        && is_stale(query.timestamp.as_deref().unwrap_or(""), app.clock.unix())
    {
        return Err(CallbackError::Stale);
    }
    let opened = app.envelope.open(query, body)?;
    let event = ComponentEvent::parse(&opened.plaintext)?;
    // tickets of several platforms on one address must not overwrite each other
    if event.app_id != app.config.component.app_id {
        return Err(CallbackError::Undecryptable);
    }
    let content = authorization::code_fingerprint(&String::from_utf8_lossy(&opened.plaintext));
    Ok((event, content))
}

/// Applies an event unless the same one came within a day: WeChat repeats what it holds for unanswered, and
/// an attacker may replay one. A ticket may always be stored again, because the newest wins.
async fn apply_once(app: &Services, event: ComponentEvent, content: &str) -> Result<(), Error> {
    if matches!(event.kind, ComponentEventKind::VerifyTicket(_) | ComponentEventKind::Other(_)) {
        return apply(app, event).await;
    }
    if let Some(seen_at) = app.store.component_events().seen_at(content).await? {
        let must_repeat = match &event.kind {
            // two events of one second look the same; after a newer consent WeChat must be asked again
            ComponentEventKind::Unauthorized(app_id) => {
                let account = app.store.accounts().of_any_tenant(app_id).await?;
                account.is_some_and(|account| account.authorized_at() >= seen_at)
            }
            _ => false,
        };
        if !must_repeat {
            tracing::info!("an authorization event came once more");
            return Ok(());
        }
    }
    apply(app, event).await?;
    // marked after its effects: a crash in between repeats them, which is safe, instead of losing them
    app.store.component_events().mark_seen(content).await
}

async fn apply(app: &Services, event: ComponentEvent) -> Result<(), Error> {
    let at = effective_time(event.create_time, app.clock.unix());
    match event.kind {
        ComponentEventKind::VerifyTicket(ticket) => {
            app.store.component().store_ticket(&ticket, at).await?;
            app.store.platform_status().store(&app.store.component().get().await?, None).await
        }
        ComponentEventKind::Authorized(grant) | ComponentEventKind::UpdateAuthorized(grant) => {
            queue_authorized(app, grant, at).await
        }
        ComponentEventKind::Unauthorized(app_id) => queue_unauthorized(app, app_id, at).await,
        ComponentEventKind::Other(name) => {
            tracing::info!(info_type = name, "{name} is of no concern to the hub");
            Ok(())
        }
    }
}

/// An event's time. A time in the future counts as now, or no later event could ever be newer.
fn effective_time(create_time: i64, now: i64) -> i64 {
    if create_time > now + MAX_CLOCK_SKEW_SECONDS { now } else { create_time }
}

/// Queues the exchange of the code, which needs calls to WeChat. `success` means only that the job is queued.
async fn queue_authorized(app: &Services, grant: AuthorizationNotice, at: i64) -> Result<(), Error> {
    let app_id = grant.authorizer_app_id;
    if release_check::is_test_account(&app_id) {
        return Ok(()); // the check reads its code from a message (protocol 2.8)
    }
    let pre_auth_code = grant.pre_auth_code.unwrap_or_default();
    let page = page_by_pre_auth_code(app, pre_auth_code.expose(), at).await?;
    if let Some(page) = &page {
        app.store.bindings().record_authorization_event(page).await?;
    }
    app.store.consents().record_event(&app_id, grant.code.expose(), page.as_ref(), at).await?;
    let job = AuthorizationJob::AuthorizedV2 { app_id, code: grant.code, pre_auth_code, at };
    app.queues.authorization(&job, Duration::ZERO).await
}

/// Queues a job that asks WeChat whether the authorization stands, because events come late and out of order.
/// If the account is not bound, a binding may be under way that asked WeChat before this event: then the job
/// is delayed until that binding has ended.
async fn queue_unauthorized(app: &Services, app_id: String, at: i64) -> Result<(), Error> {
    let bound =
        app.store.accounts().of_any_tenant(&app_id).await?.is_some_and(|account| account.for_consent().bound);
    let delay = if bound { Duration::ZERO } else { MAX_BINDING_TIME };
    app.queues.authorization(&AuthorizationJob::UnauthorizedV1 { app_id, at }, delay).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_the_future_is_of_now() {
        for (what, create_time, is) in [
            ("of the past", 900, 900),
            ("of now", 1_000, 1_000),
            ("by a clock that is ahead", 1_060, 1_060),
            ("of next year", 1_000 + 31_536_000, 1_000),
            ("without a time", 0, 0),
        ] {
            assert_eq!(effective_time(create_time, 1_000), is, "{what}");
        }
    }
}
