//! The two pages of a binding: before WeChat's authorization page ([`bind`]) and after it ([`callback`]).
//! They are public and share the function's concurrency with WeChat's tickets, so that no page may wait for
//! long: a browser that has to wait reloads ([`waiting`]).

pub(crate) mod bind;
pub(crate) mod callback;
mod cookie;
mod result;
mod waiting;

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use shared::{
    error::Error,
    html,
    model::account::required_permissions,
    services::Services,
    store::{bindings::Binding, tenants::TenantStatus},
    texts::{
        Lang,
        bind::{PURPOSES, THE_ACCOUNT},
    },
};

/// The style sheet of all pages.
const STYLE: &str = include_str!("../../templates/page.css");
/// The longest binding id that is looked up, in bytes; ours have 30.
const MAX_BINDING_ID_BYTES: usize = 64;
/// How long the bind page waits for a pre_auth_code, and the callback page for WeChat, before they show an
/// error. With the routes' rates this bounds the invocations that pages can hold (see the test below).
const BIND_PAGE_TIMEOUT: Duration = Duration::from_secs(5);
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(10);

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
        let lang = Lang::from_accept_language(text(header::ACCEPT_LANGUAGE));
        let in_wechat = text(header::USER_AGENT).contains("MicroMessenger");
        Self { lang, in_wechat, headers }
    }
}

/// A permission set on a page.
struct PermissionSetText {
    /// In the page's language.
    name: &'static str,
    /// What it is for; the English text adds the Chinese name that WeChat's page shows.
    purpose: String,
}

/// The required permission sets that `is_shown` selects.
fn permission_set_texts(lang: Lang, is_shown: impl Fn(u32) -> bool) -> Vec<PermissionSetText> {
    let shown = required_permissions().filter(|(id, ..)| is_shown(*id));
    let purpose =
        |id: u32| PURPOSES.iter().find(|(set, _)| *set == id).map_or("", |(_, text)| text.in_language(lang));
    shown
        .map(|(id, english, chinese)| PermissionSetText {
            name: lang.pick(chinese, english),
            purpose: lang.pick(purpose(*id).to_owned(), format!("{chinese}: {}", purpose(*id))),
        })
        .collect()
}

/// A response with a page.
fn page_response(status: StatusCode, page: Result<String, askama::Error>) -> Response {
    match page {
        Ok(page) => html::page(status, STYLE, page),
        Err(error) => {
            tracing::error!(%error, "a page could not be written: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// What a link leads to.
#[derive(Clone)]
struct LinkWithTenant {
    binding: Binding,
    /// The name of its tenant, as its operator spelled it.
    tenant: String,
}

enum LinkLookup {
    /// A link of a tenant that may bind accounts.
    Usable(Box<LinkWithTenant>),
    /// Its tenant is suspended or deleted.
    TenantSuspended,
    Unknown,
}

/// Looks up a link by its id, if that looks like one.
async fn look_up_link(app: &Services, id: &str) -> Result<LinkLookup, Error> {
    if id.is_empty()
        || id.len() > MAX_BINDING_ID_BYTES
        || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    {
        return Ok(LinkLookup::Unknown);
    }
    let Some(binding) = app.store.binding_by_link(id).await? else { return Ok(LinkLookup::Unknown) };
    let tenant = app.store.tenant(&binding.tenant_id).await?;
    Ok(match tenant.filter(|tenant| tenant.status == TenantStatus::Active) {
        Some(tenant) => LinkLookup::Usable(Box::new(LinkWithTenant { binding, tenant: tenant.name })),
        None => LinkLookup::TenantSuspended,
    })
}

/// Returns the page that `work` makes, or an error page. `work` is dropped after `longest`, which is as safe
/// as a crash: every step of a binding may be repeated.
async fn with_timeout(
    longest: Duration,
    app: &Services,
    lang: Lang,
    binding: &Binding,
    work: impl Future<Output = Result<Response, Error>>,
) -> Response {
    let retry_url = bind_page_url(app, binding);
    match tokio::time::timeout(longest, work).await {
        Ok(Ok(page)) => page,
        Ok(Err(Error::NoTicket)) => result::no_ticket(app, lang),
        Ok(Err(error)) => result::unavailable(app, lang, &error, Some(&retry_url)),
        Err(too_slow) => result::unavailable(app, lang, &too_slow, Some(&retry_url)),
    }
}

/// The name of a tenant's account, or its app id.
async fn account_name(
    app: &Services,
    tenant: &str,
    app_id: Option<&str>,
    lang: Lang,
) -> Result<String, Error> {
    let Some(app_id) = app_id else { return Ok(THE_ACCOUNT.in_language(lang).to_owned()) };
    let account = app.store.account(tenant, app_id).await?;
    Ok(account
        .map(|account| account.name)
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| app_id.to_owned()))
}

/// The name, as WeChat gave it, of the account that was last authorized with this link.
async fn authorized_name(app: &Services, binding: &Binding, lang: Lang) -> Result<String, Error> {
    match &binding.account_name {
        Some(name) if !name.is_empty() => Ok(name.clone()),
        _ => account_name(app, &binding.tenant_id, binding.app_id.as_deref(), lang).await,
    }
}

/// The host of a URL with its port, to show briefly where a link leads.
fn host(url: &str) -> String {
    let authority = url.parse::<Uri>().ok().and_then(|uri| uri.authority().cloned());
    authority.map(|a| a.as_str().rsplit('@').next().unwrap_or_default().to_owned()).unwrap_or_default()
}

/// The address of a binding's first page.
fn bind_page_url(app: &Services, binding: &Binding) -> String {
    format!("{}/bind/{}", app.config.public_url, binding.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number after `name` in a line of the template that begins like this.
    fn number(line: &str, name: &str) -> u64 {
        let template = include_str!("../../../../template.yaml");
        let mut after = template.lines().filter(|at| at.trim_start().starts_with(line));
        let digits = after.next().unwrap().split(name).nth(1).unwrap();
        digits.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty()).unwrap().parse().unwrap()
    }

    #[test]
    fn pages_however_many_are_asked_for_leave_invocations_for_tickets() {
        let held = |route: &str, longest: Duration| {
            number(route, "ThrottlingBurstLimit:") + number(route, "ThrottlingRateLimit:") * longest.as_secs()
        };
        let pages = held("GET /bind/{binding_id}:", BIND_PAGE_TIMEOUT)
            + held("GET /bind/callback:", CALLBACK_TIMEOUT);
        let template = include_str!("../../../../template.yaml");
        let function = template.split("\n  AuthorizationCallback:\n").nth(1).unwrap();
        let of_function = |name: &str| -> u64 {
            let line = function.split(name).nth(1).unwrap().lines().next().unwrap();
            line.rsplit(',').next().unwrap().trim().trim_end_matches([']', '}', ' ']).parse().unwrap()
        };
        let (reserved, jobs) =
            (of_function("ReservedConcurrentExecutions:"), of_function("MaximumConcurrency:"));
        assert!(pages + jobs + 15 <= reserved, "{pages} by pages and {jobs} by jobs, of {reserved}");
    }
}
