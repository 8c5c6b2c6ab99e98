//! From an authorization code to a bound account. Every step may be repeated; what WeChat gives once (the
//! tokens) is stored before anything else is asked.

use shared::{
    app::App,
    error::Error,
    imports,
    model::{
        account::{AccountStatus, AccountType, binding_refusal, is_verified},
        consent::Claim,
        token::Due,
    },
    secret::Secret,
    store::{
        accounts::{AccountRecord, Bound},
        bindings::BindingEnd,
        consents::{self, OpenedPage},
        credentials::Token,
        owner::Owner,
    },
    tokens,
    wechat::{
        component::AuthorizerInfo,
        errcode::{is_about_authorization_code, is_withdrawn},
    },
};

use super::{heard, told};

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The account is bound.
    Bound,
    /// It may not be bound.
    Refused {
        /// The contract's word.
        reason: &'static str,
    },
    /// The account was unbound after the page was opened, or at this very moment: the page has to be opened again.
    TooEarly,
    /// The page's tenant is suspended or deleted.
    Suspended,
    /// The consent began on no page of ours, or on another one than the browser says.
    NotOurs,
    /// WeChat does not take the code: used, expired or made up.
    BadCode,
}

/// Who brings a consent.
#[derive(Clone, Copy)]
pub(crate) enum Messenger<'a> {
    /// WeChat's signed event, which names the account: if its code is used up, the other messenger was faster, or we died
    /// in between and go on.
    Event(&'a str),
    /// A browser that opened the page, and that was allowed one question to WeChat.
    Browser(Owner),
}

/// A consent, as one of its two messengers brings it.
pub(crate) struct Consent<'a> {
    /// WeChat's authorization code.
    pub code: &'a Secret,
    /// The page on which it began; none where that was at WeChat.
    pub page: Option<&'a OpenedPage>,
    /// Who brings it.
    pub messenger: Messenger<'a>,
    /// When WeChat's event says it was given, or when the browser came, unix seconds.
    pub at: i64,
}

/// Exchanges the code and does to the account what the consent may do; ends the page's binding.
///
/// # Errors
/// WeChat or the store did not answer. The tokens may be stored already: a repetition finds the code used.
pub(crate) async fn complete(app: &App, consent: &Consent<'_>) -> Result<Outcome, Error> {
    let Some(grant) = exchange(app, consent).await? else { return Ok(Outcome::BadCode) };
    let app_id = grant.app_id.clone();
    if let (Messenger::Browser(owner), Some(page)) = (consent.messenger, consent.page) {
        app.store.binding_under_way(&app_id).await?;
        app.store.code_was_good(&page.binding_id, owner).await?;
        if !heard::began_on(app, page, &app_id, consent.code).await? {
            tracing::warn!(app_id, "{app_id} was authorized on another page than the browser's");
            return Ok(Outcome::NotOurs); // its event, which is stored, goes on with the tokens
        }
    }
    let outcome = settle(app, consent, grant).await?;
    app.store.binding_settled(&app_id).await?;
    Ok(outcome)
}

/// What the code gave.
struct Grant {
    app_id: String,
    /// Without a refresh token that was stored, this is all there is.
    token: Option<Token>,
    granted: Vec<u32>,
}

/// Redeems the code and stores what it gives; none where WeChat does not take it.
async fn exchange(app: &App, consent: &Consent<'_>) -> Result<Option<Grant>, Error> {
    let component = &app.config.component.app_id;
    let exchanged = tokens::with_component(app, |token| async move {
        app.wechat.query_auth(&token, component, consent.code).await
    })
    .await;
    let authorization = match exchanged {
        Ok(authorization) => authorization,
        Err(Error::WeChat(error)) if error.errcode().is_some_and(is_withdrawn) => return Ok(None),
        Err(Error::WeChat(error)) if error.errcode().is_some_and(is_about_authorization_code) => {
            // one of two messengers always meets this
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
    let (mut token, mut refresh_token) = (None, None);
    if let Some(given) = authorization.tokens {
        let issued_at = app.clock.unix();
        token = Some(Token { token: given.access_token, issued_at, expires_in: given.expires_in });
        refresh_token = given.refresh_token;
    }
    if let (Some(token), Some(refresh_token)) = (&token, &refresh_token) {
        app.store.authorize(&authorization.app_id, Some(token), refresh_token).await?;
    }
    Ok(Some(Grant { app_id: authorization.app_id, token, granted: authorization.granted }))
}

/// What WeChat says of the account that authorized.
struct Asked {
    /// Still nobody's.
    record: AccountRecord,
    /// When its tokens are due, and their version; none where WeChat gives none.
    tokens: Option<(u64, Due)>,
    /// Why nobody may bind it.
    reason: Option<&'static str>,
}

/// Asks what the account is, and binds, renews or refuses it.
async fn settle(app: &App, consent: &Consent<'_>, grant: Grant) -> Result<Outcome, Error> {
    let app_id = grant.app_id.clone();
    let Some(asked) = ask(app, consent, grant).await? else { return Ok(Outcome::BadCode) };
    let entry = told::begin(app, consent, &app_id).await?;
    let outcome = match claim(app, consent, &asked).await? {
        Claim::Binds => Outcome::Bound,
        claim => {
            let renewed = renew_owner(app, consent, &asked).await?;
            if let (false, Some((version, _))) = (renewed, asked.tokens) {
                app.store.forget_authorizer(&app_id, version).await?;
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
    Ok(outcome)
}

/// None where the authorization does not stand any more.
async fn ask(app: &App, consent: &Consent<'_>, grant: Grant) -> Result<Option<Asked>, Error> {
    let (component, app_id) = (&app.config.component.app_id, grant.app_id.as_str());
    let asked_at = app.clock.unix();
    let asked = tokens::with_component(app, |token| async move {
        app.wechat.get_authorizer_info(&token, component, app_id).await
    });
    let info = match asked.await {
        Err(Error::WeChat(error)) if error.errcode().is_some_and(is_withdrawn) => return Ok(None),
        other => other?,
    };
    let tokens = tokens_of(app, &grant, &info).await?;
    let reason = match consent.page {
        Some(page) if is_for_another(app, page, app_id).await? => Some("other_account"),
        _ => binding_refusal(info.is_mini_program, info.service_type, info.verify_type),
    };
    let reason = reason.or_else(|| tokens.is_none().then_some("authorization_failed"));
    let record = record(app_id, asked_at, app.clock.unix(), grant.granted, info);
    Ok(Some(Asked { record, tokens, reason }))
}

/// Binds the account to the page's tenant, or renews what is bound to it. Answers [`Claim::Binds`] where it did.
async fn claim(app: &App, consent: &Consent<'_>, asked: &Asked) -> Result<Claim, Error> {
    let (None, Some(page), Some((_, due))) = (asked.reason, consent.page, asked.tokens) else {
        return Ok(Claim::Nobody);
    };
    let record = AccountRecord { tenant_id: page.tenant_id.clone(), ..asked.record.clone() };
    let before = app.store.any_account(&record.app_id).await?.filter(|a| a.standing().bound);
    let lost = match before.filter(|a| a.tenant_id == page.tenant_id) {
        Some(before) => told::change(app, consent, &before, &record).await?,
        None => None,
    };
    match app.store.bind_account(record, Some(page.page()), due).await? {
        Bound::Yes { .. } => {
            imports::after_consent(app, &page.tenant_id, &asked.record.app_id).await?;
            told::end(app, lost, &Outcome::Bound).await?;
            tracing::info!(app_id = asked.record.app_id, "{} is bound", asked.record.app_id);
            Ok(Claim::Binds)
        }
        Bound::TokensGone => Ok(Claim::TooEarly),
        Bound::No(claim) => Ok(claim),
    }
}

/// Gives whoever has the account bound WeChat's newest word on it: its former tokens are worth nothing now, and its
/// permissions are others, whoever's page it was. Answers whether anybody has.
async fn renew_owner(app: &App, consent: &Consent<'_>, asked: &Asked) -> Result<bool, Error> {
    let app_id = &asked.record.app_id;
    let owner = app.store.any_account(app_id).await?.filter(|a| a.standing().bound);
    let (Some(owner), Some((_, due))) = (owner, asked.tokens) else { return Ok(false) };
    let record = AccountRecord { tenant_id: owner.tenant_id.clone(), ..asked.record.clone() };
    let changed = told::change(app, consent, &owner, &record).await?;
    match app.store.bind_account(record, None, due).await? {
        Bound::Yes { .. } => {
            imports::after_consent(app, &owner.tenant_id, app_id).await?;
            told::end(app, changed, &Outcome::Bound).await?;
            Ok(true)
        }
        Bound::No(_) | Bound::TokensGone => Ok(false),
    }
}

/// The version of the tokens that are stored, and when they are due. Where WeChat gave no refresh token with the code, or
/// it was lost with a worker that died, its account's details or the list of all accounts have it; none where they have
/// none either.
async fn tokens_of(app: &App, grant: &Grant, info: &AuthorizerInfo) -> Result<Option<(u64, Due)>, Error> {
    let now = Due::At { unix: app.clock.unix() };
    let due = |token: Option<&Token>| token.map_or(now, |token| tokens::due(app, token));
    let stored = app.store.authorizer(&grant.app_id).await?.filter(|tokens| !tokens.refresh_token.is_empty());
    if let Some(stored) = stored {
        return Ok(Some((stored.version, due(stored.token.as_ref()))));
    }
    let found = match &info.refresh_token {
        Some(found) => Some(found.clone()),
        None => tokens::recover_refresh_token(app, &grant.app_id, &Secret::default()).await?,
    };
    let Some(found) = found else { return Ok(None) };
    let due = due(grant.token.as_ref());
    let version = app.store.authorize(&grant.app_id, grant.token.as_ref(), &found).await?;
    Ok(Some((version, due)))
}

/// Whether the page's link is for another account.
async fn is_for_another(app: &App, page: &OpenedPage, app_id: &str) -> Result<bool, Error> {
    let binding = app.store.binding_by_link(&page.binding_id).await?;
    Ok(binding.and_then(|b| b.only_app_id).is_some_and(|only| only != app_id))
}

/// Ends the page's binding, where there is an end.
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
    let code = consents::fingerprint(consent.code.expose());
    app.store.end_binding(&page.binding_id, BindingEnd { app_id, name, reason, code: &code }).await.map(drop)
}

/// The account as WeChat describes it, still nobody's.
fn record(app_id: &str, asked_at: i64, now: i64, granted: Vec<u32>, info: AuthorizerInfo) -> AccountRecord {
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
        authorized: asked_at,
        unbound_at: None,
        deleted: false,
        revision: 0,
    }
}
