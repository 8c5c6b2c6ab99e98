//! The platform's own token, from its secret and the newest ticket.
//!
//! After a refusal nobody asks again at once: the refusal is stored beside
//! the lease ([`super::refresh_backoff`]), and a new ticket clears it.

use super::{
    calls::{MAX_TOKEN_WAIT, POLL_INTERVAL, call_with_token, new_lease_owner},
    refresh_backoff::{backoff_after, still_refused},
    refresh_reason::RefreshReason,
};
use crate::{
    deadline::Deadline,
    error::Error,
    model::credentials::{AccessToken, ComponentCredentials},
    secret::Secret,
    services::Services,
    wechat::{ApiError, transport::MAX_CALL_DURATION},
};

/// Shortest interval between two requests for a ticket, seconds: one arrives within ten minutes.
pub const TICKET_REQUEST_INTERVAL_SECONDS: i64 = 10 * 60;

/// The component token, refreshed if `why` requires it.
///
/// # Errors
/// [`Error::NoTicket`] before the first ticket; [`Error::Platform`] where WeChat refuses ticket, secret or
/// address, or did so a moment ago; [`Error::RefreshRunning`] where there is no time left to get one;
/// [`Error::Store`].
pub async fn component_token(
    app: &Services,
    why: RefreshReason<'_>,
    until: Deadline,
) -> Result<Secret, Error> {
    if matches!(why, RefreshReason::Expired) {
        let lately = app.store.component().cached().await?.token;
        if let Some(token) = lately.filter(|t| !why.needs_refresh(Some(t), app.clock.unix())) {
            return Ok(token.token);
        }
    }
    while until.allows(&*app.clock, MAX_CALL_DURATION) {
        let current = app.store.component().get().await?;
        let now = app.clock.unix();
        if let Some(token) = current.token.as_ref().filter(|t| !why.needs_refresh(Some(t), now)) {
            return Ok(token.token.clone());
        }
        if current.ticket.is_none() {
            return Err(Error::NoTicket);
        }
        if let Some(refused) = still_refused(&current.lately, now) {
            return Err(Error::Platform(refused));
        }
        match app.store.component().lease(current.version, new_lease_owner(app)).await? {
            Some(lease) => {
                let refreshed = refresh_component_token(app, &lease.credentials, &lease.owner).await;
                if let Err(error) = &refreshed {
                    let refusal =
                        backoff_after(error, lease.credentials.lately.refused_wait, app.clock.now());
                    app.store.component().release(&lease.owner, refusal).await?;
                }
                return refreshed;
            }
            None => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
    Err(Error::RefreshRunning)
}

async fn refresh_component_token(
    app: &Services,
    credentials: &ComponentCredentials,
    owner: &str,
) -> Result<Secret, Error> {
    let component = &app.config.component;
    let ticket = credentials.ticket.as_ref().ok_or(Error::NoTicket)?;
    let answer = app.wechat.component_token(&component.app_id, &component.app_secret, ticket).await;
    if let Err(error) = &answer
        && matches!(error.errcode(), Some(61005 | 61006 | 40091))
    {
        request_ticket_push(app).await?;
    }
    let answer = answer.map_err(Error::Platform)?;
    let token =
        AccessToken { token: answer.token, issued_at: app.clock.unix(), expires_in: answer.expires_in };
    // false: our lease expired and another token was stored meanwhile; WeChat knows that one as the newer too
    app.store
        .component()
        .store_token(owner, &token)
        .await?
        .then_some(token.token)
        .ok_or(Error::RefreshRunning)
}

/// Asks WeChat to push a new ticket, unless this was done within the last ten minutes.
///
/// # Errors
/// [`Error::Store`]. A refusal by WeChat is only logged: whoever needs the ticket keeps waiting for it.
pub async fn request_ticket_push(app: &Services) -> Result<(), Error> {
    if !app.store.component().lease_ticket_push(TICKET_REQUEST_INTERVAL_SECONDS).await? {
        return Ok(());
    }
    let settings = &app.config.component;
    match app.wechat.start_push_ticket(&settings.app_id, &settings.app_secret).await {
        Ok(()) => tracing::warn!("no fresh component ticket; asked WeChat to push one"),
        Err(error) => {
            tracing::error!(%error, "no fresh component ticket, and WeChat would not push one: {error}");
        }
    }
    Ok(())
}

/// Calls a component API with the component token; once more with a new one if WeChat refuses the first.
///
/// # Errors
/// As [`component_token`]; [`Error::WeChat`] where WeChat refuses the call itself.
pub async fn with_component<T, F>(app: &Services, call: impl Fn(Secret) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, ApiError>>,
{
    with_component_until(app, Deadline::NEVER, call).await
}

/// The same, where no call begins that could end after `ends`.
///
/// # Errors
/// As [`with_component`]; [`Error::RefreshRunning`] also where there is no time left for the call.
pub async fn with_component_until<T, F>(
    app: &Services,
    ends: Deadline,
    call: impl Fn(Secret) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let until = Deadline::after(&*app.clock, MAX_TOKEN_WAIT).min(ends);
    let token = component_token(app, RefreshReason::Expired, until).await?;
    let renew =
        |refused: Secret| async move { component_token(app, RefreshReason::Refused(&refused), until).await };
    call_with_token(app, token, renew, ends, call, Error::Platform).await
}
