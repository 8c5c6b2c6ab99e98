//! From an authorization code to a bound account. Every step may be repeated. WeChat gives tokens only once
//! for a code, so they are stored before anything else is asked.

use shared::{
    app::App,
    deadline::Deadline,
    error::Error,
    imports,
    model::{consent::Claim, token::Due},
    secret::Secret,
    store::{
        accounts::{AccountRecord, Bound},
        bindings::BindingEnd,
        consents::{self, OpenedPage},
        credentials::{AuthorizerCredentials, Token},
        owner::Owner,
        tenants::TenantStatus,
    },
    tokens,
    wechat::errcode::{ErrcodeClass, is_about_authorization_code, is_withdrawn},
};

use super::{
    asked::{Answer, Asked, ask},
    heard, told,
};

/// Tries to bind while other consents for the same account replace its tokens in between.
const RACES: usize = 4;

/// How a consent ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The account is bound.
    Bound,
    /// It may not be bound.
    Refused {
        /// The reason's code in the API.
        reason: &'static str,
    },
    /// The account was unbound after the page was opened, or in the same second: the page must be reopened.
    TooEarly,
    /// The page's tenant is suspended or deleted.
    Suspended,
    /// No page of the hub, or another page than the browser's, began the consent.
    NotOurs,
    /// WeChat refuses the code: it is used, expired or invented.
    BadCode,
}

/// Where a consent comes from.
#[derive(Clone, Copy)]
pub(crate) enum Messenger<'a> {
    /// WeChat's signed event; holds the account's app id. A used code is no error: the browser was faster,
    /// or an earlier try of this job crashed after it had redeemed the code.
    Event(&'a str),
    /// A browser that opened the page; holds the id under which its one query of the code was counted.
    Browser(Owner),
}

/// A consent as it reaches the hub, from one of its two sources.
pub(crate) struct Consent<'a> {
    /// WeChat's authorization code.
    pub code: &'a Secret,
    /// The page that began it; [`None`] where it began on WeChat's own pages.
    pub page: Option<&'a OpenedPage>,
    /// Where it comes from.
    pub messenger: Messenger<'a>,
    /// The time of WeChat's event, or when the browser returned; unix seconds.
    pub at: i64,
}

impl Consent<'_> {
    /// The fingerprint of its code.
    pub(crate) fn fingerprint(&self) -> String {
        consents::fingerprint(self.code.expose())
    }
}

/// Redeems the code, binds or renews the account as far as the consent allows, and ends the page's binding.
///
/// # Errors
/// WeChat or the store did not answer, or the time until `until` was too short. The tokens may be stored
/// already, and a repetition then finds the code used.
pub(crate) async fn complete(app: &App, consent: &Consent<'_>, until: Deadline) -> Result<Outcome, Error> {
    let exchanged = exchange(app, consent, until).await;
    if let (Messenger::Browser(owner), Some(page)) = (consent.messenger, consent.page)
        && !is_against_code(&exchanged)
    {
        app.store.code_counts_not(&page.binding_id, owner).await?;
    }
    let Some(grant) = exchanged? else { return Ok(Outcome::BadCode) };
    let app_id = grant.app_id.clone();
    if let (Messenger::Browser(_), Some(page)) = (consent.messenger, consent.page) {
        app.store.binding_under_way(&app_id).await?;
        if !heard::began_on(app, page, &app_id, consent.code).await? {
            tracing::warn!(app_id, "{app_id} was authorized on another page than the browser's");
            return Ok(Outcome::NotOurs); // its event, which is stored, goes on with the tokens
        }
    }
    for _ in 0..RACES {
        if let Some(outcome) = settle(app, consent, &grant, until).await? {
            app.store.binding_settled(&app_id).await?;
            return Ok(outcome);
        }
    }
    Err(Error::Store("an account's tokens are being stored by several at once".into()))
}

/// What WeChat returned for the code.
pub(crate) struct Grant {
    /// The account.
    pub app_id: String,
    /// An access token that came without a refresh token, and is therefore not stored yet.
    pub token: Option<Token>,
    /// The permission sets; empty where the other source redeemed the code.
    pub granted: Vec<u32>,
}

/// Whether WeChat refused the code, or may have. Being unreachable, busy, or refusing the platform's own
/// credentials says nothing about the code.
fn is_against_code(exchanged: &Result<Option<Grant>, Error>) -> bool {
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
async fn exchange(app: &App, consent: &Consent<'_>, until: Deadline) -> Result<Option<Grant>, Error> {
    let component = &app.config.component.app_id;
    let exchanged = tokens::with_component_until(app, until, |token| async move {
        app.wechat.query_auth(&token, component, consent.code).await
    })
    .await;
    let authorization = match exchanged {
        Ok(authorization) => authorization,
        Err(Error::WeChat(error)) if error.errcode().is_some_and(is_withdrawn) => return Ok(None),
        Err(Error::WeChat(error)) if error.errcode().is_some_and(is_about_authorization_code) => {
            // expected: event and browser race for a single-use code, and the loser gets here
            tracing::debug!(errcode = error.errcode(), "an authorization code was refused: {error}");
            return Ok(match consent.messenger {
                Messenger::Event(app_id) => {
                    Some(Grant { app_id: app_id.to_owned(), token: None, granted: Vec::new() })
                }
                Messenger::Browser(_) => None,
            });
        }
        Err(error) => return Err(error),
    };
    let (app_id, mut token) = (authorization.app_id, None);
    if let Some(given) = authorization.tokens {
        let issued_at = app.clock.unix();
        let new = Token { token: given.access_token, issued_at, expires_in: given.expires_in };
        match given.refresh_token {
            Some(refresh_token) => {
                app.store.authorize(&app_id, &consent.fingerprint(), Some(&new), &refresh_token).await?;
            }
            None => token = Some(new),
        }
    }
    Ok(Some(Grant { app_id, token, granted: authorization.granted }))
}

/// Looks up the account, then binds, renews or refuses it. Returns [`None`] where another consent replaced
/// its tokens meanwhile; the caller then starts over.
async fn settle(
    app: &App,
    consent: &Consent<'_>,
    grant: &Grant,
    until: Deadline,
) -> Result<Option<Outcome>, Error> {
    let app_id = grant.app_id.as_str();
    let asked = match ask(app, consent, grant, until).await? {
        Answer::Is(asked) => asked,
        Answer::Withdrawn => return Ok(Some(Outcome::BadCode)),
        Answer::Again => return Ok(None),
    };
    let entry = told::begin(app, consent, app_id).await?;
    let Some(claim) = claim(app, consent, &asked).await? else { return Ok(None) };
    let outcome = match claim {
        Claim::Binds => Outcome::Bound,
        claim => {
            let Some(renewed) = renew_owner(app, consent, &asked).await? else { return Ok(None) };
            let ours = asked.tokens.as_ref().filter(|tokens| tokens.code == consent.fingerprint());
            if let (false, Some(ours)) = (renewed, ours) {
                app.store.forget_authorizer(app_id, ours).await?; // another consent's are not ours to judge
            }
            match (asked.reason, claim) {
                (Some(reason), _) => Outcome::Refused { reason },
                (None, Claim::Elsewhere) => Outcome::Refused { reason: "account_bound_elsewhere" },
                (None, Claim::TooEarly) => Outcome::TooEarly,
                (None, Claim::Suspended) => Outcome::Suspended,
                (None, _) if renewed && consent.page.is_none() => Outcome::Bound,
                (None, _) => Outcome::NotOurs,
            }
        }
    };
    end(app, consent, &asked.record, &outcome).await?;
    told::end(app, entry, &outcome).await?;
    Ok(Some(outcome))
}

/// Binds the account to the page's tenant or renews that. Returns [`ConsentEffect::Binds`] if it did, and
/// [`None`] where the account's tokens are gone.
async fn claim(app: &App, consent: &Consent<'_>, asked: &Asked) -> Result<Option<Claim>, Error> {
    let (None, Some(page), Some(tokens)) = (asked.reason, consent.page, &asked.tokens) else {
        return Ok(Some(Claim::Nobody));
    };
    let bound_by = Some(consent.fingerprint());
    let record = AccountRecord { tenant_id: page.tenant_id.clone(), bound_by, ..asked.record.clone() };
    let before = app.store.any_account(&record.app_id).await?.filter(|a| a.standing().bound);
    let lost = match before.filter(|a| a.tenant_id == page.tenant_id) {
        Some(before) => told::change(app, consent, &before, &record).await?,
        None => None,
    };
    match app.store.bind_account(record, Some(page.page()), due(app, tokens)).await? {
        Bound::Yes { .. } => {
            imports::after_consent(app, &page.tenant_id, &asked.record.app_id).await?;
            told::end(app, lost, &Outcome::Bound).await?;
            tracing::info!(app_id = asked.record.app_id, "{} is bound", asked.record.app_id);
            Ok(Some(Claim::Binds))
        }
        Bound::TokensGone => Ok(None),
        Bound::No(Claim::Elsewhere) => correct(app, consent, asked, page, tokens).await,
        Bound::No(claim) => Ok(Some(claim)),
    }
}

/// Another tenant has the account. If a browser bound it there with this very code, WeChat's event overrules
/// the browser: the account moves to the tenant of the page that the event names.
async fn correct(
    app: &App,
    consent: &Consent<'_>,
    asked: &Asked,
    page: &OpenedPage,
    tokens: &AuthorizerCredentials,
) -> Result<Option<Claim>, Error> {
    let (app_id, code) = (asked.record.app_id.as_str(), consent.fingerprint());
    let owner = app.store.any_account(app_id).await?.filter(|a| a.standing().bound);
    let owner = owner.filter(|owner| owner.bound_by.as_ref() == Some(&code));
    let (Messenger::Event(_), Some(owner)) = (consent.messenger, owner) else {
        return Ok(Some(Claim::Elsewhere));
    };
    let tenant = app.store.tenant(&page.tenant_id).await?;
    if tenant.is_none_or(|tenant| tenant.status != TenantStatus::Active) {
        return Ok(Some(Claim::Suspended));
    }
    let entry = told::corrected(app, consent, &owner).await?;
    let tenant_id = page.tenant_id.clone();
    let record = AccountRecord { tenant_id, bound_by: Some(code), ..asked.record.clone() };
    if !app.store.hand_over_account(&owner, record, due(app, tokens)).await? {
        return Ok(None);
    }
    imports::after_consent(app, &page.tenant_id, app_id).await?;
    told::end(app, entry, &Outcome::Bound).await?;
    tracing::info!(app_id, "{app_id} is bound");
    Ok(Some(Claim::Binds))
}

/// Renews tokens and permissions for the tenant that has the account, since a new consent invalidates the old
/// tokens. Returns whether a tenant has it, and [`None`] where the account's tokens are gone.
async fn renew_owner(app: &App, consent: &Consent<'_>, asked: &Asked) -> Result<Option<bool>, Error> {
    let app_id = &asked.record.app_id;
    let owner = app.store.any_account(app_id).await?.filter(|a| a.standing().bound);
    let (Some(owner), Some(tokens)) = (owner, &asked.tokens) else { return Ok(Some(false)) };
    let record = AccountRecord { tenant_id: owner.tenant_id.clone(), ..asked.record.clone() };
    let changed = told::change(app, consent, &owner, &record).await?;
    match app.store.bind_account(record, None, due(app, tokens)).await? {
        Bound::Yes { .. } => {
            imports::after_consent(app, &owner.tenant_id, app_id).await?;
            told::end(app, changed, &Outcome::Bound).await?;
            Ok(Some(true))
        }
        Bound::TokensGone => Ok(None),
        Bound::No(_) => Ok(Some(false)),
    }
}

/// When the account's token is due for a refresh: at once where no usable one is stored.
fn due(app: &App, tokens: &AuthorizerCredentials) -> Due {
    tokens.token.as_ref().map_or(Due::At { unix: app.clock.unix() }, |token| tokens::due(app, token))
}

/// Ends the page's binding if the outcome is final.
async fn end(
    app: &App,
    consent: &Consent<'_>,
    account: &AccountRecord,
    outcome: &Outcome,
) -> Result<(), Error> {
    let (app_id, name) = (account.app_id.as_str(), account.name.as_str());
    let reason = match outcome {
        Outcome::Bound => None,
        Outcome::Refused { reason } => {
            tracing::warn!(app_id, reason, "{app_id} was refused: {reason}");
            Some(*reason)
        }
        Outcome::TooEarly | Outcome::Suspended | Outcome::NotOurs | Outcome::BadCode => return Ok(()),
    };
    let Some(page) = consent.page else { return Ok(()) };
    let code = consent.fingerprint();
    app.store.end_binding(&page.binding_id, BindingEnd { app_id, name, reason, code: &code }).await.map(drop)
}
