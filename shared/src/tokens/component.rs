//! The platform's own token, from its secret and the newest ticket.
//!
//! What WeChat refuses is not asked for again at once by whoever comes next: the refusal is remembered beside the
//! lease, for half a minute at first and up to ten, and a new ticket ends it.

use super::{PATIENCE, WAIT_STEP, Why, owner, time_for_a_call};
use crate::{
    app::App,
    deadline::Deadline,
    error::Error,
    secret::Secret,
    store::credentials::{ComponentCredentials, Refusal, Token},
    wechat::{ApiError, errcode::ErrcodeClass, transport::CALL_LIMIT},
};

/// The first pause after a refusal, seconds, and the longest.
const REFUSED: (i64, i64) = (30, 600);
/// The same where WeChat was busy or not reached, which passes sooner.
const UNREACHED: (i64, i64) = (2, 60);
/// WeChat is asked to push a ticket at most so often, seconds: it comes within ten minutes.
pub const ASK_EVERY_SECONDS: i64 = 10 * 60;

/// The component token, refreshed if `why` asks for it.
///
/// # Errors
/// [`Error::NoTicket`] before the first ticket; [`Error::Platform`] for whatever WeChat says of ticket, secret or
/// address, or said a moment ago; [`Error::RefreshRunning`] where there is no time left to get one;
/// [`Error::Store`].
pub async fn component(app: &App, why: Why<'_>, until: Deadline) -> Result<Secret, Error> {
    if matches!(why, Why::Use) {
        let lately = app.store.component_lately().await?.token;
        if let Some(token) = lately.filter(|t| !why.wants(Some(t), app.clock.unix())) {
            return Ok(token.token);
        }
    }
    while until.allows(&*app.clock, CALL_LIMIT) {
        let current = app.store.component().await?;
        let now = app.clock.unix();
        if let Some(token) = current.token.as_ref().filter(|t| !why.wants(Some(t), now)) {
            return Ok(token.token.clone());
        }
        if current.ticket.is_none() {
            return Err(Error::NoTicket);
        }
        if let Some(refused) = current.refused(now) {
            return Err(Error::Platform(refused));
        }
        match app.store.lease_component(current.version, owner(app)).await? {
            Some(lease) => {
                let refreshed = refresh(app, &lease.credentials, &lease.owner).await;
                if let Err(error) = &refreshed {
                    let refusal = pause(error, lease.credentials.refused_wait, app.clock.unix());
                    app.store.release_component(&lease.owner, refusal).await?;
                }
                return refreshed;
            }
            None => tokio::time::sleep(WAIT_STEP).await,
        }
    }
    Err(Error::RefreshRunning)
}

async fn refresh(app: &App, credentials: &ComponentCredentials, owner: &str) -> Result<Secret, Error> {
    let component = &app.config.component;
    let ticket = credentials.ticket.as_ref().ok_or(Error::NoTicket)?;
    let answer = app.wechat.component_token(&component.app_id, &component.app_secret, ticket).await;
    if let Err(error) = &answer
        && matches!(error.errcode(), Some(61005 | 61006 | 40091))
    {
        ask_for_ticket(app).await?;
    }
    let answer = answer.map_err(Error::Platform)?;
    let token = Token { token: answer.token, issued_at: app.clock.unix(), expires_in: answer.expires_in };
    // false: our lease ran out and another's token is the current one; that one is newer at WeChat too
    app.store.keep_component_token(owner, &token).await?.then_some(token.token).ok_or(Error::RefreshRunning)
}

/// Asks WeChat to push a new ticket, unless somebody asked within the last ten minutes.
///
/// # Errors
/// [`Error::Store`]. That WeChat would not is logged: whoever needs the ticket goes on waiting for it.
pub async fn ask_for_ticket(app: &App) -> Result<(), Error> {
    if !app.store.claim_ticket_push(ASK_EVERY_SECONDS).await? {
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

/// Until when nobody asks again after `error`; `before` is the pause before it, seconds, 0 for none.
fn pause(error: &Error, before: i64, now: i64) -> Option<Refusal> {
    let Error::Platform(refused) = error else { return None };
    let (first, longest) = match refused.class() {
        ErrcodeClass::Retry | ErrcodeClass::Unknown => UNREACHED,
        _ => REFUSED,
    };
    let wait = before.saturating_mul(2).clamp(first, longest);
    Some(Refusal { until: now + wait, wait, errcode: refused.errcode() })
}

/// Calls a component API with the component token; one more time with a new one where WeChat refuses it.
///
/// # Errors
/// As [`component`]; [`Error::WeChat`] where WeChat refuses the call itself.
pub async fn with_component<T, F>(app: &App, call: impl Fn(Secret) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, ApiError>>,
{
    with_component_until(app, Deadline::NEVER, call).await
}

/// The same, where no call begins that could end after `ends`.
///
/// # Errors
/// As [`with_component`], [`Error::RefreshRunning`] too where there is no time left for the call.
pub async fn with_component_until<T, F>(
    app: &App,
    ends: Deadline,
    call: impl Fn(Secret) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let until = Deadline::after(&*app.clock, PATIENCE).min(ends);
    let token = component(app, Why::Use, until).await?;
    time_for_a_call(app, ends)?;
    match call(token.clone()).await {
        Err(error) if error.class() == ErrcodeClass::Token => {
            let token = component(app, Why::Refused(&token), until).await?;
            time_for_a_call(app, ends)?;
            call(token).await
        }
        other => other,
    }
    .map_err(of_component)
}

/// An error of a component API: a token that is refused when it is new says something of the platform.
pub(super) fn of_component(error: ApiError) -> Error {
    match error.class() {
        ErrcodeClass::Token => Error::Platform(error),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat::transport::TransportError;

    #[test]
    fn what_is_refused_is_asked_for_less_and_less_often() {
        let refused =
            |errcode| Error::Platform(ApiError::Refused { errcode, errmsg: "no".into(), rid: None });
        let unsent = || Error::Platform(ApiError::Transport(TransportError::NotSent("no connection".into())));
        for (what, error, before, wait) in [
            ("a stale ticket", refused(61006), 0, Some(30)),
            ("the same once more", refused(61006), 30, Some(60)),
            ("a wrong secret for long", refused(40125), 480, Some(600)),
            ("not reached", unsent(), 0, Some(2)),
            ("not reached for long", unsent(), 60, Some(60)),
            ("busy after a refusal", refused(-1), 600, Some(60)),
            ("another refreshes", Error::RefreshRunning, 30, None),
            ("no database", Error::Store("down".into()), 0, None),
        ] {
            let pause = pause(&error, before, 1_000);
            assert_eq!(pause.map(|p| (p.until, p.wait)), wait.map(|w| (1_000 + w, w)), "{what}");
        }
    }
}
