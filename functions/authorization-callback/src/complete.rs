//! From an authorization code to a bound account. Every step may be repeated; what WeChat gives once (the
//! tokens) is stored before anything else is asked.

use shared::{
    app::App,
    error::Error,
    imports,
    model::account::{AccountStatus, AccountType, binding_refusal, is_verified},
    secret::Secret,
    store::{
        accounts::{AccountRecord, Bound},
        bindings::BindingStatus,
        credentials::Token,
    },
    tokens,
    wechat::{
        component::{Authorization, AuthorizerInfo},
        errcode::ErrcodeClass,
    },
};

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The account is bound.
    Bound {
        /// Which.
        app_id: String,
    },
    /// It may not be bound.
    Refused {
        /// Which.
        app_id: String,
        /// The contract's word.
        reason: &'static str,
    },
    /// WeChat does not take the code: used, expired or made up.
    BadCode,
}

/// Exchanges `code` and binds the account to `tenant`; ends `binding`, if there is one. `known` is the account
/// that a signed event named: where its code is used up but its tokens are here, we died in between and go on.
///
/// # Errors
/// WeChat or the store did not answer. The tokens may be stored already: a repetition finds the code used.
pub(crate) async fn complete(
    app: &App,
    tenant: &str,
    binding: Option<&str>,
    code: &Secret,
    known: Option<&str>,
) -> Result<Outcome, Error> {
    let component = &app.config.component.app_id;
    let exchanged =
        tokens::with_component(
            app,
            |token| async move { app.wechat.query_auth(&token, component, code).await },
        )
        .await;
    let (app_id, granted) = match exchanged {
        Ok(grant) => {
            keep_tokens(app, tenant, &grant).await?;
            (grant.app_id, grant.granted)
        }
        Err(Error::WeChat(error))
            if matches!(error.class(), ErrcodeClass::Caller | ErrcodeClass::Permanent) =>
        {
            match known {
                // the other messenger was faster, as one always is
                Some(app_id) if app.store.authorizer(app_id).await?.is_some() => {
                    (app_id.to_owned(), Vec::new())
                }
                _ => {
                    tracing::info!(errcode = error.errcode(), "an authorization code was refused: {error}");
                    return Ok(Outcome::BadCode);
                }
            }
        }
        Err(error) => return Err(error),
    };
    let info = tokens::with_component(app, |token| {
        let app_id = &app_id;
        async move { app.wechat.get_authorizer_info(&token, component, app_id).await }
    })
    .await?;
    let has_tokens = app.store.authorizer(&app_id).await?;
    let reason = binding_refusal(info.is_mini_program, info.service_type, info.verify_type)
        .or_else(|| has_tokens.is_none().then_some("authorization_failed"));
    if let Some(reason) = reason {
        return refuse(app, binding, app_id, reason).await;
    }
    let record = record(app, tenant, &app_id, granted, info);
    match app.store.bind_account(record).await? {
        Bound::Elsewhere => return refuse(app, binding, app_id, "account_bound_elsewhere").await,
        Bound::Yes { .. } => {}
    }
    imports::after_consent(app, tenant, &app_id).await?;
    if let Some(binding) = binding {
        app.store.end_binding(binding, BindingStatus::Bound, Some(&app_id), None).await?;
    }
    tracing::info!(app_id, "{app_id} is bound");
    Ok(Outcome::Bound { app_id })
}

async fn keep_tokens(app: &App, tenant: &str, grant: &Authorization) -> Result<(), Error> {
    let Some(tokens) = &grant.tokens else { return Ok(()) };
    let Some(refresh_token) = &tokens.refresh_token else { return Ok(()) };
    let token = Token {
        token: tokens.access_token.clone(),
        issued_at: app.clock.unix(),
        expires_in: tokens.expires_in,
    };
    let due = tokens::due(app, &token);
    app.store.authorize(tenant, &grant.app_id, Some(&token), refresh_token, due).await
}

async fn refuse(
    app: &App,
    binding: Option<&str>,
    app_id: String,
    reason: &'static str,
) -> Result<Outcome, Error> {
    // nobody uses these tokens, so nobody refreshes them, unless another tenant has the account
    let owner =
        app.store.any_account(&app_id).await?.filter(|a| !a.deleted && a.status == AccountStatus::Bound);
    if owner.is_none() {
        app.store.stop_refreshing(&app_id).await?;
    }
    if let Some(binding) = binding {
        app.store.end_binding(binding, BindingStatus::Refused, Some(&app_id), Some(reason)).await?;
    }
    tracing::warn!(app_id, reason, "{app_id} was refused: {reason}");
    Ok(Outcome::Refused { app_id, reason })
}

fn record(app: &App, tenant: &str, app_id: &str, granted: Vec<u32>, info: AuthorizerInfo) -> AccountRecord {
    AccountRecord {
        app_id: app_id.to_owned(),
        tenant_id: tenant.to_owned(),
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
        granted: if granted.is_empty() { info.granted } else { granted },
        bound_at: app.clock.unix(),
        unbound_at: None,
        deleted: false,
        revision: 0,
    }
}
