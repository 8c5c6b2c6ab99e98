//! Looks up an account that was authorized: its description at WeChat, and its usable tokens.

use shared::{
    deadline::Deadline,
    error::Error,
    model::{
        account::{AccountRecord, AccountStatus, AccountType, is_verified},
        authorization::AuthorizationPage,
        binding_refusal::BindingRefusal,
        credentials::AuthorizerCredentials,
    },
    secret::Secret,
    services::Services,
    tokens,
    wechat::{component::AuthorizerInfo, errcode::is_unauthorized},
};

use super::consent::{ExchangedCode, IncomingConsent};

/// The account that was authorized.
pub(crate) struct AuthorizedAccount {
    /// The record to store; its tenant is still empty.
    pub record: AccountRecord,
    /// What is stored for it and can be used; none where WeChat gives nothing.
    pub tokens: Option<AuthorizerCredentials>,
    /// Why it may not be bound.
    pub refusal: Option<BindingRefusal>,
}

/// The result of looking up an account.
pub(crate) enum AccountLookup {
    Known(Box<AuthorizedAccount>),
    /// It is no longer authorized.
    Withdrawn,
    /// Tokens were stored while WeChat was asked, so that answer and store may disagree: look it up again.
    TokensChanged,
}

/// Asks WeChat and the store.
///
/// # Errors
/// WeChat or the store did not answer, or there was no time left to ask.
pub(crate) async fn look_up_account(
    app: &Services,
    consent: &IncomingConsent<'_>,
    grant: &ExchangedCode,
    until: Deadline,
) -> Result<AccountLookup, Error> {
    let (component, app_id) = (&app.config.component.app_id, grant.app_id.as_str());
    // read before asking WeChat: a token stored later may be newer than WeChat's answer
    let stored = app.store.authorizers().get(app_id).await?;
    let asked_at = app.clock.unix();
    let info = tokens::with_component_until(app, until, |token| async move {
        app.wechat.get_authorizer_info(&token, component, app_id).await
    });
    let info = match info.await {
        Err(Error::WeChat(error)) if error.errcode().is_some_and(is_unauthorized) => {
            return Ok(AccountLookup::Withdrawn);
        }
        other => other?,
    };
    let UsableTokens::Current(tokens) = usable_tokens(app, consent, grant, stored, &info, until).await?
    else {
        return Ok(AccountLookup::TokensChanged);
    };
    let tokens = tokens.map(|tokens| *tokens);
    let refusal_by_link = match consent.page() {
        Some(page) => link_refusal(app, page, app_id).await?,
        None => None,
    };
    let refusal = refusal_by_link
        .or_else(|| BindingRefusal::of_account(info.is_mini_program, info.service_type, info.verify_type))
        .or_else(|| tokens.is_none().then_some(BindingRefusal::AuthorizationFailed));
    let record = account_record(app_id, asked_at, app.clock.unix(), grant.granted.clone(), info);
    Ok(AccountLookup::Known(Box::new(AuthorizedAccount { record, tokens, refusal })))
}

/// An account's tokens.
enum UsableTokens {
    /// What is stored and can be used; none where WeChat gives nothing.
    Current(Option<Box<AuthorizerCredentials>>),
    /// Another consent or refresh replaced them meanwhile.
    Changed,
}

/// Returns the account's usable tokens. `stored` may belong to an older authorization, whose tokens
/// are dead; the account's details, or the list of all accounts, tell the current refresh token. Where they
/// tell none, the token of this consent is kept, and that of an account that is bound.
async fn usable_tokens(
    app: &Services,
    consent: &IncomingConsent<'_>,
    grant: &ExchangedCode,
    stored: Option<AuthorizerCredentials>,
    info: &AuthorizerInfo,
    until: Deadline,
) -> Result<UsableTokens, Error> {
    let app_id = grant.app_id.as_str();
    let code = consent.fingerprint();
    let alive = stored.as_ref().filter(|s| s.gone_at.is_none() && !s.refresh_token.is_empty());
    let refresh_token = match &info.refresh_token {
        Some(told) => Some(told.clone()),
        None if alive.is_some_and(|stored| stored.code == code) => None,
        None => tokens::recover_refresh_token(app, app_id, &Secret::default(), until).await?,
    };
    let usable = match refresh_token {
        Some(told)
            if grant.unstored_token.is_some() || alive.is_none_or(|stored| stored.refresh_token != told) =>
        {
            let token = grant.unstored_token.as_ref();
            let now = app
                .store
                .authorizers()
                .store_authorization_if_unchanged(app_id, stored.as_ref(), &code, token, &told)
                .await?;
            let Some(now) = now else { return Ok(UsableTokens::Changed) };
            Some(now)
        }
        Some(_) => stored,
        None => alive.filter(|stored| stored.code == code || stored.due.is_some()).cloned(),
    };
    Ok(UsableTokens::Current(usable.map(Box::new)))
}

/// Why this link may not bind the account: it is restricted to another account, or its tenant deleted it.
async fn link_refusal(
    app: &Services,
    page: &AuthorizationPage,
    app_id: &str,
) -> Result<Option<BindingRefusal>, Error> {
    let Some(binding) = app.store.bindings().by_link(&page.binding_id).await? else {
        return Ok(Some(BindingRefusal::AuthorizationFailed));
    };
    Ok(binding.only_app_id.is_some_and(|only| only != app_id).then_some(BindingRefusal::OtherAccount))
}

/// The record of the account as WeChat describes it, still without a tenant.
fn account_record(
    app_id: &str,
    asked_at: i64,
    now: i64,
    granted: Vec<u32>,
    info: AuthorizerInfo,
) -> AccountRecord {
    AccountRecord {
        app_id: app_id.to_owned(),
        tenant_id: String::new(),
        original_id: info.user_name,
        name: info.nick_name,
        alias: info.alias,
        avatar_url: info.head_img,
        qr_code_url: info.qrcode_url,
        principal_name: info.principal_name,
        account_type: info
            .service_type
            .and_then(AccountType::from_service_type)
            .unwrap_or(AccountType::Subscription),
        verified: info.verify_type.is_some_and(is_verified),
        status: AccountStatus::Bound,
        granted: if info.granted.is_empty() { granted } else { info.granted },
        bound_at: now,
        bound_by: None,
        stored_authorized_at: asked_at,
        unbound_at: None,
        deleted: false,
        revision: 0,
    }
}
