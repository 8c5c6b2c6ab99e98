//! Tokens in use: read, refreshed when they have expired, replaced when WeChat refuses them. The schedule and
//! every caller of WeChat go through here.
//!
//! One refresher at a time by lease; whoever waits reads what the winner stored. A caller whose token WeChat
//! refused names it, and it is refreshed only if it is still the current one. What WeChat returns is stored
//! before it is used.

use std::time::Duration;

use crate::{
    app::App,
    error::Error,
    model::token::{self, Due},
    secret::Secret,
    store::credentials::{AuthorizerCredentials, ComponentCredentials, LEASE_SECONDS, Token},
    wechat::{ApiError, errcode::ErrcodeClass},
};

/// How often a waiter looks whether the winner has stored the token.
const WAIT_STEP: Duration = Duration::from_millis(100);
/// How often it looks, at most: as long as a lease lasts.
const WAIT_STEPS: u32 = (LEASE_SECONDS * 10) as u32;
/// Pages of api_get_authorizer_list looked through for a lost refresh token (500 accounts each).
const RECOVERY_PAGES: u32 = 400;
/// WeChat's page size of api_get_authorizer_list.
const RECOVERY_PAGE: u32 = 500;

/// Why a refresh is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Why<'a> {
    /// The schedule says that it is due.
    Due,
    /// It has expired, or will any moment.
    Use,
    /// WeChat refused this one.
    Refused(&'a Secret),
}

impl Why<'_> {
    /// Whether `token` has to be replaced at `now`.
    fn wants(self, token: Option<&Token>, now: i64) -> bool {
        let Some(t) = token else { return true };
        match self {
            Self::Due => token::is_due(t.issued_at, t.expires_in, now),
            Self::Use => token::is_expired(t.issued_at, t.expires_in, now),
            Self::Refused(refused) => t.token == *refused,
        }
    }
}

/// The component token, refreshed if `why` asks for it.
///
/// # Errors
/// [`Error::NoTicket`] before the first ticket; [`Error::Platform`] for whatever WeChat says of ticket, secret or
/// address; [`Error::Store`].
pub async fn component(app: &App, why: Why<'_>) -> Result<Secret, Error> {
    if matches!(why, Why::Use) {
        let lately = app.store.component_lately().await?.token;
        if let Some(token) = lately.filter(|t| !why.wants(Some(t), app.clock.unix())) {
            return Ok(token.token);
        }
    }
    for step in 0..WAIT_STEPS {
        let current = app.store.component().await?;
        if let Some(token) = current.token.as_ref().filter(|t| !why.wants(Some(t), app.clock.unix())) {
            return Ok(token.token.clone());
        }
        if current.ticket.is_none() {
            return Err(Error::NoTicket);
        }
        match app.store.lease_component(current.version, owner(app)).await? {
            Some(lease) => {
                let refreshed = refresh_component(app, &lease.credentials, &lease.owner).await;
                if refreshed.is_err() {
                    app.store.release_component(&lease.owner).await?;
                }
                return refreshed;
            }
            None if step + 1 < WAIT_STEPS => tokio::time::sleep(WAIT_STEP).await,
            None => break,
        }
    }
    Err(Error::RefreshRunning)
}

async fn refresh_component(
    app: &App,
    credentials: &ComponentCredentials,
    owner: &str,
) -> Result<Secret, Error> {
    let component = &app.config.component;
    let ticket = credentials.ticket.as_ref().ok_or(Error::NoTicket)?;
    let answer = app.wechat.component_token(&component.app_id, &component.app_secret, ticket).await;
    if let Err(error) = &answer
        && matches!(error.errcode(), Some(61005 | 61006 | 40091))
    {
        tracing::warn!(
            errcode = error.errcode(),
            "the component ticket is stale; asking WeChat to push a new one"
        );
        let asked = app.wechat.start_push_ticket(&component.app_id, &component.app_secret).await;
        asked.map_err(Error::Platform)?;
    }
    let answer = answer.map_err(Error::Platform)?;
    let token = Token { token: answer.token, issued_at: app.clock.unix(), expires_in: answer.expires_in };
    // false: our lease ran out and another's token is the current one; that one is newer at WeChat too
    app.store.keep_component_token(owner, &token).await?.then_some(token.token).ok_or(Error::RefreshRunning)
}

/// Calls a component API with the component token; one more time with a new one where WeChat refuses it.
///
/// # Errors
/// As [`component`]; [`Error::WeChat`] where WeChat refuses the call itself.
pub async fn with_component<T, F>(app: &App, call: impl Fn(Secret) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let token = component(app, Why::Use).await?;
    match call(token.clone()).await {
        Err(error) if error.class() == ErrcodeClass::Token => {
            let token = component(app, Why::Refused(&token)).await?;
            call(token).await
        }
        other => other,
    }
    .map_err(|error| match error.class() {
        ErrcodeClass::Token => Error::Platform(error), // the new one too
        _ => error.into(),
    })
}

/// An account's token, refreshed if `why` asks for it.
///
/// # Errors
/// [`Error::NotAuthorized`] where the account has none any more; [`Error::Account`] where WeChat does not give one;
/// those of [`component`].
pub async fn authorizer(app: &App, app_id: &str, why: Why<'_>) -> Result<Secret, Error> {
    for step in 0..WAIT_STEPS {
        let gone = || Error::NotAuthorized(app_id.to_owned());
        let current = app.store.authorizer(app_id).await?.ok_or_else(gone)?;
        if let Some(token) = current.token.as_ref().filter(|t| !why.wants(Some(t), app.clock.unix())) {
            return Ok(token.token.clone());
        }
        if current.refresh_token.is_empty() {
            return Err(gone());
        }
        match app.store.lease_authorizer(app_id, current.version, owner(app)).await? {
            Some(lease) => {
                let refreshed = refresh_authorizer(app, app_id, &lease.credentials, &lease.owner).await;
                if refreshed.is_err() {
                    app.store.release_authorizer(app_id, &lease.owner).await?;
                }
                return refreshed;
            }
            None if step + 1 < WAIT_STEPS => tokio::time::sleep(WAIT_STEP).await,
            None => break,
        }
    }
    Err(Error::RefreshRunning)
}

async fn refresh_authorizer(
    app: &App,
    app_id: &str,
    credentials: &AuthorizerCredentials,
    owner: &str,
) -> Result<Secret, Error> {
    let component_app_id = &app.config.component.app_id;
    let ask = |refresh_token: Secret| {
        with_component(app, move |token| {
            let refresh_token = refresh_token.clone();
            async move { app.wechat.authorizer_token(&token, component_app_id, app_id, &refresh_token).await }
        })
    };
    let answer = match ask(credentials.refresh_token.clone()).await {
        Err(Error::WeChat(error)) if error.errcode() == Some(61023) => {
            let found = recover_refresh_token(app, app_id, &credentials.refresh_token).await;
            match found.map_err(|error| of_account(error, app_id))? {
                Some(found) => ask(found).await,
                None => return Err(Error::NotAuthorized(app_id.to_owned())),
            }
        }
        other => other,
    }
    .map_err(|error| of_account(error, app_id))?;
    let token =
        Token { token: answer.access_token, issued_at: app.clock.unix(), expires_in: answer.expires_in };
    let refresh_token = answer.refresh_token.unwrap_or_else(|| credentials.refresh_token.clone());
    let slot = credentials.wheel_slot();
    let stays = slot.is_some_and(|slot| token::keeps_slot(slot, token.issued_at, token.expires_in));
    let due = (!stays).then(|| due(app, &token));
    // false: our lease ran out, or the account was authorized anew: what is stored is newer than ours
    let kept = app.store.keep_authorizer_token(app_id, owner, &token, &refresh_token, due).await?;
    kept.then_some(token.token).ok_or(Error::RefreshRunning)
}

/// What the refusal of a refresh says to whoever wanted the token. The codes mean that only another authorization
/// helps: it was withdrawn (61003), the refresh token is not valid (61023, 40030), the owner changed the password
/// (42007).
fn of_account(error: Error, app_id: &str) -> Error {
    match error {
        Error::WeChat(refused) if matches!(refused.errcode(), Some(61003 | 61023 | 40030 | 42007)) => {
            tracing::warn!(app_id, %refused, "{app_id} has to be authorized again: {refused}");
            Error::NotAuthorized(app_id.to_owned())
        }
        Error::WeChat(error) => Error::Account(error),
        other => other,
    }
}

/// When a token that was just given is due.
#[must_use]
pub fn due(app: &App, token: &Token) -> Due {
    token::plan(token.issued_at, token.expires_in, app.random.below(u64::MAX))
}

/// Looks a lost refresh token up in api_get_authorizer_list; [`None`] where WeChat has no other.
async fn recover_refresh_token(app: &App, app_id: &str, lost: &Secret) -> Result<Option<Secret>, Error> {
    tracing::warn!(
        app_id,
        "the refresh token of {app_id} is refused; looking for another in the authorizer list"
    );
    let component_app_id = &app.config.component.app_id;
    for page in 0..RECOVERY_PAGES {
        let list = with_component(app, |token| async move {
            app.wechat
                .get_authorizer_list(&token, component_app_id, page * RECOVERY_PAGE, RECOVERY_PAGE)
                .await
        })
        .await?;
        if let Some(found) = list.list.iter().find(|a| a.app_id == app_id) {
            return Ok(found.refresh_token.clone().filter(|other| other != lost));
        }
        if list.list.len() < RECOVERY_PAGE as usize {
            break;
        }
    }
    Ok(None)
}

/// Calls an account's API with its token; one more time with a new one where WeChat refuses it.
///
/// # Errors
/// As [`authorizer`]; [`Error::WeChat`] where WeChat refuses the call itself.
pub async fn with_authorizer<T, F>(app: &App, app_id: &str, call: impl Fn(Secret) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let token = authorizer(app, app_id, Why::Use).await?;
    match call(token.clone()).await {
        Err(error) if error.class() == ErrcodeClass::Token => {
            let token = authorizer(app, app_id, Why::Refused(&token)).await?;
            call(token).await
        }
        other => other,
    }
    .map_err(|error| match error.class() {
        ErrcodeClass::Token => Error::Account(error), // the new one too
        _ => error.into(),
    })
}

fn owner(app: &App) -> String {
    app.fresh_id("lse")
}
