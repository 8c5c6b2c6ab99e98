//! The two pages of a binding: before WeChat's authorization page ([`bind`]) and after it ([`callback`]).
//! They are public and share the function's concurrency with WeChat's tickets, so that no page may wait for
//! long: a browser that has to wait reloads ([`waiting`]).

pub(crate) mod bind;
mod cookie;
mod result;
pub(crate) mod returned;
mod waiting;

use std::time::Duration;

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

/// The style sheet of all pages.
const STYLE: &str = include_str!("../../templates/page.css");
/// The longest binding id that is looked up, in bytes; ours have 30.
const MAX_ID: usize = 64;
/// How long the bind page waits for a pre_auth_code, and the callback page for WeChat, before they show an
/// error. With the routes' rates this bounds the invocations that pages can hold (see the test below).
const PAGE_AT_MOST: Duration = Duration::from_secs(5);
const RETURN_AT_MOST: Duration = Duration::from_secs(10);

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
    /// What it is for; the English text adds the Chinese name that WeChat's page shows.
    purpose: String,
}

/// The required permission sets that `is_shown` selects.
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

/// A response with a page.
fn answer(status: StatusCode, page: Result<String, askama::Error>) -> Response {
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
struct Link {
    binding: Binding,
    /// The name of its tenant, as its operator spelled it.
    tenant: String,
}

enum Found {
    /// A link of a tenant that may bind accounts.
    Link(Box<Link>),
    /// Its tenant is suspended or deleted.
    Over,
    Unknown,
}

/// Looks up a link by its id, if that looks like one.
async fn find(app: &App, id: &str) -> Result<Found, Error> {
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(Found::Unknown);
    }
    let Some(binding) = app.store.binding_by_link(id).await? else { return Ok(Found::Unknown) };
    let tenant = app.store.tenant(&binding.tenant_id).await?;
    Ok(match tenant.filter(|tenant| tenant.status == TenantStatus::Active) {
        Some(tenant) => Found::Link(Box::new(Link { binding, tenant: tenant.name })),
        None => Found::Over,
    })
}

/// Returns the page that `work` makes, or an error page. `work` is dropped after `longest`, which is as safe
/// as a crash: every step of a binding may be repeated.
async fn within(
    longest: Duration,
    app: &App,
    lang: Lang,
    binding: &Binding,
    work: impl Future<Output = Result<Response, Error>>,
) -> Response {
    let again = address(app, binding);
    match tokio::time::timeout(longest, work).await {
        Ok(Ok(page)) => page,
        Ok(Err(Error::NoTicket)) => result::no_ticket(app, lang),
        Ok(Err(error)) => result::unavailable(app, lang, &error, Some(&again)),
        Err(too_slow) => result::unavailable(app, lang, &too_slow, Some(&again)),
    }
}

/// The name of a tenant's account, or its app id.
async fn account_name(app: &App, tenant: &str, app_id: Option<&str>, lang: Lang) -> Result<String, Error> {
    let Some(app_id) = app_id else { return Ok(THE_ACCOUNT.read(lang).to_owned()) };
    let account = app.store.account(tenant, app_id).await?;
    Ok(account
        .map(|account| account.name)
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| app_id.to_owned()))
}

/// The name, as WeChat gave it, of the account that was last authorized with this link.
async fn authorized_name(app: &App, binding: &Binding, lang: Lang) -> Result<String, Error> {
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
fn address(app: &App, binding: &Binding) -> String {
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
        let pages =
            held("GET /bind/{binding_id}:", PAGE_AT_MOST) + held("GET /bind/callback:", RETURN_AT_MOST);
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
