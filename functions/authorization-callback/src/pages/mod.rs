//! The two pages of a binding: before WeChat's authorization page ([`bind`]), and after it ([`returned`]).

pub(crate) mod bind;
mod cookie;
mod result;
pub(crate) mod returned;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use shared::{
    app::App,
    error::Error,
    html,
    model::account::required,
    store::{bindings::Binding, tenants::TenantStatus},
    texts::{
        Lang,
        bind::{PURPOSES, THE_ACCOUNT},
    },
};

/// How the pages look.
const STYLE: &str = include_str!("../../templates/page.css");
/// Bytes of a binding's id at most; ours have 30.
const MAX_ID: usize = 64;

/// Who reads a page.
pub(crate) struct Reader {
    lang: Lang,
    /// In WeChat's own browser, on the phone that would scan a code.
    in_wechat: bool,
    headers: HeaderMap,
}

impl Reader {
    fn of(headers: HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let lang = Lang::of(text(header::ACCEPT_LANGUAGE));
        let in_wechat = text(header::USER_AGENT).contains("MicroMessenger");
        Self { lang, in_wechat, headers }
    }
}

/// A permission set on a page.
struct Set {
    /// In the page's language.
    name: &'static str,
    /// What it is for; in English with the name that WeChat's page has.
    purpose: String,
}

/// The required permission sets of which `shown` is true.
fn sets(lang: Lang, shown: impl Fn(u32) -> bool) -> Vec<Set> {
    let shown = required().filter(|(id, ..)| shown(*id));
    let purpose =
        |id: u32| PURPOSES.iter().find(|(set, _)| *set == id).map_or("", |(_, text)| text.read(lang));
    shown
        .map(|(id, english, chinese)| Set {
            name: lang.pick(chinese, english),
            purpose: lang.pick(purpose(*id).to_owned(), format!("{chinese}: {}", purpose(*id))),
        })
        .collect()
}

/// An answer with a page.
fn answer(status: StatusCode, page: Result<String, askama::Error>) -> Response {
    match page {
        Ok(page) => html::page(status, STYLE, page),
        Err(error) => {
            tracing::error!(%error, "a page could not be written: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The binding of a link, if it can be one.
async fn binding_of(app: &App, id: &str) -> Result<Option<Binding>, Error> {
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(None);
    }
    app.store.binding_by_link(id).await
}

/// Whether the tenant of a link may have accounts bound: not while it is suspended, nor once it is deleted.
async fn may_bind(app: &App, binding: &Binding) -> Result<bool, Error> {
    let tenant = app.store.tenant(&binding.tenant_id).await?;
    Ok(tenant.is_some_and(|tenant| tenant.status == TenantStatus::Active))
}

/// The name of a tenant, as its operator spelled it.
async fn tenant_name(app: &App, tenant: &str) -> Result<String, Error> {
    Ok(app.store.tenant(tenant).await?.map(|tenant| tenant.name).unwrap_or_default())
}

/// The name of a tenant's account, else its id.
async fn account_name(app: &App, tenant: &str, app_id: Option<&str>, lang: Lang) -> Result<String, Error> {
    let Some(app_id) = app_id else { return Ok(THE_ACCOUNT.read(lang).to_owned()) };
    let account = app.store.account(tenant, app_id).await?;
    Ok(account
        .map(|account| account.name)
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| app_id.to_owned()))
}

/// The name of the account that was authorized last on a link, as WeChat told it.
async fn authorized_name(app: &App, binding: &Binding, lang: Lang) -> Result<String, Error> {
    match &binding.account_name {
        Some(name) if !name.is_empty() => Ok(name.clone()),
        _ => account_name(app, &binding.tenant_id, binding.app_id.as_deref(), lang).await,
    }
}

/// The host of a URL with its port: where a link leads, in few letters.
fn host(url: &str) -> String {
    let authority = url.parse::<Uri>().ok().and_then(|uri| uri.authority().cloned());
    authority.map(|a| a.as_str().rsplit('@').next().unwrap_or_default().to_owned()).unwrap_or_default()
}

/// The address of a binding's first page.
fn link(app: &App, binding: &Binding) -> String {
    format!("{}/bind/{}", app.config.public_url, binding.id)
}
