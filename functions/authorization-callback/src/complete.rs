//! From an authorization code to a bound account. Every step may be repeated. WeChat gives tokens only once
//! for a code, so they are stored before anything else is asked.

use shared::{
    deadline::Deadline,
    error::{Error, StoreError},
    model::{
        account::AccountRecord,
        authorization::AuthorizationPage,
        binding::BindingOutcome,
        binding_refusal::BindingRefusal,
        consent::ConsentEffect,
        credentials::{AccessToken, AuthorizerCredentials},
        tenant::TenantStatus,
        token::Due,
    },
    services::Services,
    start_import,
    store::accounts::BindResult,
    tokens,
    wechat::errcode::{ErrcodeClass, is_about_authorization_code, is_unauthorized},
};

use super::{
    account_lookup::{AccountLookup, AuthorizedAccount, look_up_account},
    audit_trail,
    consent::{ConsentOutcome, ConsentSource, ExchangedCode, IncomingConsent},
    consent_origin,
};

/// Tries to bind while other consents for the same account replace its tokens in between.
const MAX_WRITE_ATTEMPTS: usize = 4;

/// Redeems the code, binds or renews the account as far as the consent allows, and ends the page's binding.
///
/// # Errors
/// WeChat or the store did not answer, or the time until `until` was too short. The tokens may be stored
/// already, and a repetition then finds the code used.
pub(crate) async fn complete_authorization(
    app: &Services,
    consent: &IncomingConsent<'_>,
    until: Deadline,
) -> Result<ConsentOutcome, Error> {
    let exchanged = exchange_code(app, consent, until).await;
    if let ConsentSource::Browser { page, query } = consent.source
        && !counts_against_code(&exchanged)
    {
        app.store.bindings().uncount_code_query(&page.binding_id, query).await?;
    }
    let Some(grant) = exchanged? else { return Ok(ConsentOutcome::InvalidCode) };
    let app_id = grant.app_id.clone();
    if let ConsentSource::Browser { page, .. } = consent.source {
        app.store.consents().mark_binding_in_progress(&app_id).await?;
        if !consent_origin::began_on(app, page, &app_id, consent.code).await? {
            tracing::warn!(app_id, "{app_id} was authorized on another page than the browser's");
            return Ok(ConsentOutcome::AnotherPage); // its event, which is stored, goes on with the tokens
        }
    }
    for _ in 0..MAX_WRITE_ATTEMPTS {
        if let Some(outcome) = bind_or_renew(app, consent, &grant, until).await? {
            app.store.consents().clear_binding_in_progress(&app_id).await?;
            return Ok(outcome);
        }
    }
    Err(StoreError::Contended("an account's tokens are being stored by several at once").into())
}

/// Whether WeChat refused the code, or may have. Being unreachable, busy, or refusing the platform's own
/// credentials says nothing about the code.
fn counts_against_code(exchanged: &Result<Option<ExchangedCode>, Error>) -> bool {
    match exchanged {
        Ok(grant) => grant.is_none(),
        Err(Error::WeChat(refused)) => {
            let class = refused.class();
            refused.errcode().is_some() && !matches!(class, ErrcodeClass::Retry | ErrcodeClass::Quota(_))
        }
        Err(_) => false,
    }
}

/// Redeems the code and stores the tokens. Returns [`None`] where WeChat refuses the code.
async fn exchange_code(
    app: &Services,
    consent: &IncomingConsent<'_>,
    until: Deadline,
) -> Result<Option<ExchangedCode>, Error> {
    let component = &app.config.component.app_id;
    let exchanged = tokens::with_component_until(app, until, |token| async move {
        app.wechat.query_auth(&token, component, consent.code).await
    })
    .await;
    let authorization = match exchanged {
        Ok(authorization) => authorization,
        Err(Error::WeChat(error)) if error.errcode().is_some_and(is_unauthorized) => return Ok(None),
        Err(Error::WeChat(error)) if error.errcode().is_some_and(is_about_authorization_code) => {
            // expected: event and browser race for a single-use code, and the loser gets here
            tracing::debug!(errcode = error.errcode(), "an authorization code was refused: {error}");
            return Ok(match consent.source {
                ConsentSource::Event { app_id, .. } => Some(ExchangedCode {
                    app_id: app_id.to_owned(),
                    unstored_token: None,
                    granted: Vec::new(),
                }),
                ConsentSource::Browser { .. } => None,
            });
        }
        Err(error) => return Err(error),
    };
    let (app_id, mut token) = (authorization.app_id, None);
    if let Some(given) = authorization.tokens {
        let issued_at = app.clock.unix();
        let new = AccessToken { token: given.access_token, issued_at, expires_in: given.expires_in };
        match given.refresh_token {
            Some(refresh_token) => {
                app.store
                    .authorizers()
                    .store_authorization(&app_id, &consent.fingerprint(), Some(&new), &refresh_token)
                    .await?;
            }
            None => token = Some(new),
        }
    }
    Ok(Some(ExchangedCode { app_id, unstored_token: token, granted: authorization.granted }))
}

/// Looks up the account, then binds, renews or refuses it. Returns [`None`] where another consent replaced
/// its tokens meanwhile; the caller then starts over.
async fn bind_or_renew(
    app: &Services,
    consent: &IncomingConsent<'_>,
    grant: &ExchangedCode,
    until: Deadline,
) -> Result<Option<ConsentOutcome>, Error> {
    let app_id = grant.app_id.as_str();
    let account = match look_up_account(app, consent, grant, until).await? {
        AccountLookup::Known(asked) => asked,
        AccountLookup::Withdrawn => return Ok(Some(ConsentOutcome::InvalidCode)),
        AccountLookup::TokensChanged => return Ok(None),
    };
    let entry = audit_trail::begin_authorization(app, consent, app_id).await?;
    let Some(claim) = bind_to_page_tenant(app, consent, &account).await? else { return Ok(None) };
    let outcome = match claim {
        ConsentEffect::Binds => ConsentOutcome::Bound,
        claim => {
            let Some(renewed) = renew_owner(app, consent, &account).await? else { return Ok(None) };
            let ours = account.tokens.as_ref().filter(|tokens| tokens.code == consent.fingerprint());
            if let (false, Some(ours)) = (renewed, ours) {
                app.store.authorizers().delete_unbound(app_id, ours).await?; // another consent's are not ours to judge
            }
            match (account.refusal, claim) {
                (Some(refusal), _) => ConsentOutcome::Refused(refusal),
                (None, ConsentEffect::BoundToOtherTenant) => {
                    ConsentOutcome::Refused(BindingRefusal::AccountBoundElsewhere)
                }
                (None, ConsentEffect::PageTooOld) => ConsentOutcome::PageTooOld,
                (None, ConsentEffect::TenantSuspended) => ConsentOutcome::TenantSuspended,
                (None, _) if renewed && consent.page().is_none() => ConsentOutcome::Bound,
                (None, _) => ConsentOutcome::AnotherPage,
            }
        }
    };
    end_page_binding(app, consent, &account.record, &outcome).await?;
    audit_trail::record_outcome(app, entry, &outcome).await?;
    Ok(Some(outcome))
}

/// Binds the account to the page's tenant or renews that. Returns [`ConsentEffect::Binds`] if it did, and
/// [`None`] where the account's tokens are gone.
async fn bind_to_page_tenant(
    app: &Services,
    consent: &IncomingConsent<'_>,
    account: &AuthorizedAccount,
) -> Result<Option<ConsentEffect>, Error> {
    let (None, Some(page), Some(tokens)) = (account.refusal, consent.page(), &account.tokens) else {
        return Ok(Some(ConsentEffect::NoPage));
    };
    let bound_by = Some(consent.fingerprint());
    let record = AccountRecord { tenant_id: page.tenant_id.clone(), bound_by, ..account.record.clone() };
    let before = app.store.accounts().of_any_tenant(&record.app_id).await?.filter(|a| a.for_consent().bound);
    let lost = match before.filter(|a| a.tenant_id == page.tenant_id) {
        Some(before) => audit_trail::begin_permission_change(app, consent, &before, &record).await?,
        None => None,
    };
    match app.store.accounts().bind(record, Some(page.for_consent()), refresh_due(app, tokens)).await? {
        BindResult::Bound { .. } => {
            start_import::start_after_consent(app, &page.tenant_id, &account.record.app_id).await?;
            audit_trail::record_outcome(app, lost, &ConsentOutcome::Bound).await?;
            tracing::info!(app_id = account.record.app_id, "{} is bound", account.record.app_id);
            Ok(Some(ConsentEffect::Binds))
        }
        BindResult::TokensGone => Ok(None),
        BindResult::Refused(ConsentEffect::BoundToOtherTenant) => {
            hand_over_to_page_tenant(app, consent, account, page, tokens).await
        }
        BindResult::Refused(claim) => Ok(Some(claim)),
    }
}

/// Another tenant has the account. If a browser bound it there with this very code, WeChat's event overrules
/// the browser: the account moves to the tenant of the page that the event names.
async fn hand_over_to_page_tenant(
    app: &Services,
    consent: &IncomingConsent<'_>,
    account: &AuthorizedAccount,
    page: &AuthorizationPage,
    tokens: &AuthorizerCredentials,
) -> Result<Option<ConsentEffect>, Error> {
    let (app_id, code) = (account.record.app_id.as_str(), consent.fingerprint());
    let owner = app.store.accounts().of_any_tenant(app_id).await?.filter(|a| a.for_consent().bound);
    let owner = owner.filter(|owner| owner.bound_by.as_ref() == Some(&code));
    let (ConsentSource::Event { .. }, Some(owner)) = (consent.source, owner) else {
        return Ok(Some(ConsentEffect::BoundToOtherTenant));
    };
    let tenant = app.store.tenants().get(&page.tenant_id).await?;
    if tenant.is_none_or(|tenant| tenant.status != TenantStatus::Active) {
        return Ok(Some(ConsentEffect::TenantSuspended));
    }
    let entry = audit_trail::begin_hand_over(app, consent, &owner).await?;
    let tenant_id = page.tenant_id.clone();
    let record = AccountRecord { tenant_id, bound_by: Some(code), ..account.record.clone() };
    if !app.store.accounts().transfer(&owner, record, refresh_due(app, tokens)).await? {
        return Ok(None);
    }
    start_import::start_after_consent(app, &page.tenant_id, app_id).await?;
    audit_trail::record_outcome(app, entry, &ConsentOutcome::Bound).await?;
    tracing::info!(app_id, "{app_id} is bound");
    Ok(Some(ConsentEffect::Binds))
}

/// Renews tokens and permissions for the tenant that has the account, since a new consent invalidates the old
/// tokens. Returns whether a tenant has it, and [`None`] where the account's tokens are gone.
async fn renew_owner(
    app: &Services,
    consent: &IncomingConsent<'_>,
    account: &AuthorizedAccount,
) -> Result<Option<bool>, Error> {
    let app_id = &account.record.app_id;
    let owner = app.store.accounts().of_any_tenant(app_id).await?.filter(|a| a.for_consent().bound);
    let (Some(owner), Some(tokens)) = (owner, &account.tokens) else { return Ok(Some(false)) };
    let record = AccountRecord { tenant_id: owner.tenant_id.clone(), ..account.record.clone() };
    let changed = audit_trail::begin_permission_change(app, consent, &owner, &record).await?;
    match app.store.accounts().bind(record, None, refresh_due(app, tokens)).await? {
        BindResult::Bound { .. } => {
            start_import::start_after_consent(app, &owner.tenant_id, app_id).await?;
            audit_trail::record_outcome(app, changed, &ConsentOutcome::Bound).await?;
            Ok(Some(true))
        }
        BindResult::TokensGone => Ok(None),
        BindResult::Refused(_) => Ok(Some(false)),
    }
}

/// When the account's token is due for a refresh: at once where no usable one is stored.
fn refresh_due(app: &Services, tokens: &AuthorizerCredentials) -> Due {
    tokens
        .token
        .as_ref()
        .map_or(Due::Sorted { unix_seconds: app.clock.unix() }, |token| tokens::next_refresh(app, token))
}

/// Ends the page's binding if the outcome is final.
async fn end_page_binding(
    app: &Services,
    consent: &IncomingConsent<'_>,
    account: &AccountRecord,
    outcome: &ConsentOutcome,
) -> Result<(), Error> {
    let (app_id, name) = (account.app_id.as_str(), account.name.as_str());
    let reason = match outcome {
        ConsentOutcome::Bound => None,
        ConsentOutcome::Refused(refusal) => {
            let reason = refusal.name();
            tracing::warn!(app_id, reason, "{app_id} was refused: {reason}");
            Some(*refusal)
        }
        ConsentOutcome::PageTooOld
        | ConsentOutcome::TenantSuspended
        | ConsentOutcome::AnotherPage
        | ConsentOutcome::InvalidCode => return Ok(()),
    };
    let Some(page) = consent.page() else { return Ok(()) };
    let code = consent.fingerprint();
    app.store
        .bindings()
        .end(&page.binding_id, BindingOutcome { app_id, name, reason, code: &code })
        .await
        .map(drop)
}
