//! Accounts' tokens, each from its refresh token, and calls with them.

use super::{
    calls::{MAX_TOKEN_WAIT, POLL_INTERVAL, call_with_token, new_lease_owner},
    component::component_token,
    refresh_backoff,
    refresh_reason::RefreshReason,
};
use crate::{
    deadline::Deadline,
    error::Error,
    model::{
        credentials::{AccessToken, AuthorizerCredentials},
        token::{self, Due},
    },
    secret::Secret,
    services::Services,
    store::{
        refresh_wheel::wheel_slot,
        token_leases::{Lease, TOKEN_LEASE_SECONDS},
    },
    wechat::{ApiError, component::AuthorizerTokens, transport::MAX_CALL_DURATION},
};

/// Page size for api_get_authorizer_list.
const RECOVERY_PAGE_SIZE: u32 = 500;

/// On whose behalf an account's token is requested.
#[derive(Debug, Clone, Copy)]
pub enum OnBehalfOf<'a> {
    /// A tenant: the account must belong to it.
    Tenant(&'a str),
    /// The platform itself, whichever tenant has the account: the schedule, and WeChat's release check.
    Platform,
}

/// An account's token, refreshed if `why` requires it.
///
/// # Errors
/// [`Error::NotAuthorized`] where the account has no token any more, or belongs to another
/// tenant; [`Error::Account`] where WeChat does not give one; [`Error::RefreshRunning`]
/// where there is no time left to get one; those of [`component_token`].
pub async fn authorizer_token(
    app: &Services,
    whose: OnBehalfOf<'_>,
    app_id: &str,
    why: RefreshReason<'_>,
    until: Deadline,
) -> Result<Secret, Error> {
    loop {
        let current = current_credentials(app, whose, app_id).await?;
        if let Some(token) = current.token.as_ref().filter(|t| !why.needs_refresh(Some(t), app.clock.unix()))
        {
            return Ok(token.token.clone());
        }
        // the next caller does not ask again at once: each waiting job would cost a call of the quota
        if let Some(refused) = refresh_backoff::still_refused(&current.lately, app.clock.unix()) {
            return Err(Error::Account(refused));
        }
        // fetched before the lease, which lasts for one call only
        let component = component_token(app, RefreshReason::Expired, until).await?;
        if !until.allows(&*app.clock, MAX_CALL_DURATION) {
            return Err(Error::RefreshRunning);
        }
        let lease_ends =
            Deadline::after(&*app.clock, std::time::Duration::from_secs(TOKEN_LEASE_SECONDS.unsigned_abs()));
        match app.store.authorizers().lease(app_id, current.version, new_lease_owner(app)).await? {
            Some(lease) => {
                let mut refresh = AuthorizerRefresh {
                    app,
                    app_id,
                    component_token: component,
                    until: lease_ends.min(until),
                };
                let refreshed = refresh.run(&lease).await;
                if let Err(error) = &refreshed {
                    // tokens without a tenant are not on the wheel, and stay off it
                    let gone = matches!(error, Error::NotAuthorized(_)) && lease.credentials.due.is_some();
                    let before = lease.credentials.lately.refused_wait;
                    let refusal = refresh_backoff::backoff_after(error, before, app.clock.now());
                    let refusal = refusal.filter(|_| matches!(error, Error::Account(_)));
                    app.store.authorizers().release(app_id, &lease.owner, gone, refusal).await?;
                }
                return refreshed;
            }
            None => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

/// An account's token, if it can be used as it is; [`None`] where
/// [`authorizer_token`] would have to refresh it first, which takes time.
///
/// # Errors
/// [`Error::NotAuthorized`], as [`authorizer_token`]; [`Error::Store`].
pub async fn authorizer_token_if_valid(
    app: &Services,
    whose: OnBehalfOf<'_>,
    app_id: &str,
) -> Result<Option<Secret>, Error> {
    let current = current_credentials(app, whose, app_id).await?;
    let now = app.clock.unix();
    Ok(current
        .token
        .filter(|token| !RefreshReason::Expired.needs_refresh(Some(token), now))
        .map(|token| token.token))
}

/// The stored credentials of an account that is authorized.
async fn current_credentials(
    app: &Services,
    whose: OnBehalfOf<'_>,
    app_id: &str,
) -> Result<AuthorizerCredentials, Error> {
    let current = app.store.authorizers().get(app_id).await?;
    let theirs = |credentials: &AuthorizerCredentials| match whose {
        OnBehalfOf::Tenant(tenant) => credentials.tenant_id == tenant,
        OnBehalfOf::Platform => true,
    };
    current
        .filter(|found| theirs(found) && found.gone_at.is_none() && !found.refresh_token.is_empty())
        .ok_or_else(|| Error::NotAuthorized(app_id.to_owned()))
}

/// A refresh of an account's token, under its lease.
struct AuthorizerRefresh<'a> {
    app: &'a Services,
    app_id: &'a str,
    component_token: Secret,
    /// The earlier of the lease's end and the caller's deadline.
    until: Deadline,
}

impl AuthorizerRefresh<'_> {
    async fn run(&mut self, lease: &Lease<AuthorizerCredentials>) -> Result<Secret, Error> {
        let (app, app_id, credentials) = (self.app, self.app_id, &lease.credentials);
        let mut refresh_token = credentials.refresh_token.clone();
        let answer = match self.request_tokens(&refresh_token).await {
            Err(Error::WeChat(error)) if error.errcode() == Some(61023) => {
                let found = self
                    .find_current_refresh_token(&refresh_token)
                    .await
                    .map_err(|error| as_account_error(error, app_id))?;
                let found = found.ok_or_else(|| Error::NotAuthorized(app_id.to_owned()))?;
                if !app.store.authorizers().recover_refresh_token(app_id, &refresh_token, &found).await? {
                    return Err(Error::RefreshRunning); // the account was authorized again meanwhile
                }
                refresh_token = found;
                self.request_tokens(&refresh_token).await
            }
            other => other,
        };
        let answer = answer.map_err(|error| as_account_error(error, app_id))?;
        let token = AccessToken {
            token: answer.access_token,
            issued_at: app.clock.unix(),
            expires_in: answer.expires_in,
        };
        let refresh_token = answer.refresh_token.unwrap_or(refresh_token);
        let slot = wheel_slot(credentials);
        let stays = slot.is_some_and(|slot| token::keeps_slot(slot, token.issued_at, token.expires_in));
        let due = (credentials.due.is_some() && !stays).then(|| next_refresh(app, &token));
        // false: our lease expired, or the account was authorized again: the stored token is newer than ours
        let kept =
            app.store.authorizers().store_token(app_id, &lease.owner, &token, &refresh_token, due).await?;
        kept.then_some(token.token).ok_or(Error::RefreshRunning)
    }

    async fn request_tokens(&mut self, refresh_token: &Secret) -> Result<AuthorizerTokens, Error> {
        let (app, app_id, platform) = (self.app, self.app_id, &self.app.config.component.app_id);
        self.call_component_api(|token| async move {
            app.wechat.authorizer_token(&token, platform, app_id, refresh_token).await
        })
        .await
    }

    /// Asks WeChat for the account's refresh token; [`None`] where it knows only the lost one. The account's
    /// details contain it; where they do not, the list of all accounts is searched while time allows.
    async fn find_current_refresh_token(&mut self, lost: &Secret) -> Result<Option<Secret>, Error> {
        let (app, app_id, platform) = (self.app, self.app_id, &self.app.config.component.app_id);
        tracing::warn!(app_id, "the refresh token of {app_id} is refused; asking WeChat for another");
        let info = self
            .call_component_api(|token| async move {
                app.wechat.get_authorizer_info(&token, platform, app_id).await
            })
            .await?;
        if let Some(found) = info.refresh_token.filter(|found| !found.is_empty()) {
            return Ok(Some(found).filter(|other| other != lost));
        }
        for page in 0.. {
            let list = self
                .call_component_api(|token| async move {
                    app.wechat
                        .get_authorizer_list(&token, platform, page * RECOVERY_PAGE_SIZE, RECOVERY_PAGE_SIZE)
                        .await
                })
                .await?;
            if let Some(found) = list.list.iter().find(|a| a.app_id == app_id) {
                return Ok(found.refresh_token.clone().filter(|other| other != lost));
            }
            if list.list.len() < RECOVERY_PAGE_SIZE as usize {
                break;
            }
        }
        Ok(None)
    }

    /// Calls a component API, and once more with a new component token if
    /// WeChat refuses the first; no call begins that could end too late.
    async fn call_component_api<T, F>(&mut self, call: impl Fn(Secret) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let (app, until) = (self.app, self.until);
        let (first, token) = (self.component_token.clone(), &mut self.component_token);
        let renew = |refused: Secret| async move {
            *token = component_token(app, RefreshReason::Refused(&refused), until).await?;
            Ok(token.clone())
        };
        call_with_token(app, first, renew, until, call, Error::Platform).await
    }
}

/// Translates a refused refresh for the caller who wanted the token. These codes
/// mean that only a new authorization helps: it was withdrawn (61003), the refresh
/// token is not valid (61023, 40030), the owner changed the password (42007).
fn as_account_error(error: Error, app_id: &str) -> Error {
    match error {
        Error::WeChat(refused) if matches!(refused.errcode(), Some(61003 | 61023 | 40030 | 42007)) => {
            tracing::warn!(app_id, %refused, "{app_id} has to be authorized again: {refused}");
            Error::NotAuthorized(app_id.to_owned())
        }
        Error::WeChat(error) => Error::Account(error),
        other => other,
    }
}

/// When a token that was just issued is refreshed next.
#[must_use]
pub fn next_refresh(app: &Services, token: &AccessToken) -> Due {
    token::plan_refresh(token.issued_at, token.expires_in, app.random.below(u64::MAX))
}

/// Asks WeChat for an account's refresh token; [`None`] where it knows
/// only the lost one. No call begins that could end after `ends`.
///
/// # Errors
/// As [`component_token`]; [`Error::WeChat`] where WeChat refuses.
pub async fn recover_refresh_token(
    app: &Services,
    app_id: &str,
    lost: &Secret,
    ends: Deadline,
) -> Result<Option<Secret>, Error> {
    let until = Deadline::after(&*app.clock, MAX_TOKEN_WAIT).min(ends);
    let component = component_token(app, RefreshReason::Expired, until).await?;
    AuthorizerRefresh { app, app_id, component_token: component, until }
        .find_current_refresh_token(lost)
        .await
}

/// Calls an account's API with its token; once more with a new one if
/// WeChat refuses the first. No call begins that could end after `until`.
///
/// # Errors
/// As [`authorizer_token`]; [`Error::RefreshRunning`] also without time for the call; [`Error::WeChat`].
pub async fn with_authorizer<T, F>(
    app: &Services,
    tenant: &str,
    app_id: &str,
    until: Deadline,
    call: impl Fn(Secret) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let whose = OnBehalfOf::Tenant(tenant);
    let patience = || Deadline::after(&*app.clock, MAX_TOKEN_WAIT).min(until);
    let token = authorizer_token(app, whose, app_id, RefreshReason::Expired, patience()).await?;
    let renew = |refused: Secret| async move {
        authorizer_token(app, whose, app_id, RefreshReason::Refused(&refused), patience()).await
    };
    call_with_token(app, token, renew, until, call, Error::Account).await
}
