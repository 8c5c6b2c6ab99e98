//! The page that says what happened, and what to do next.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use shared::{
    app::App,
    error::Error,
    store::{
        bindings::{Binding, BindingStatus},
        imports::ImportStatus,
    },
    texts::{Lang, Text, bind as texts},
};

use super::{STYLE, Set, account_name, answer, authorized_name, host, link, sets, tenant_name};

#[derive(Template)]
#[template(path = "result.html")]
struct ResultPage {
    style: &'static str,
    tag: &'static str,
    host: String,
    title: String,
    good: bool,
    texts: Vec<String>,
    /// What was not granted, with what comes before and after.
    missing: Option<(&'static str, Vec<Set>, &'static str)>,
    /// Label and address.
    retry: Option<(&'static str, String)>,
    /// Label and address.
    back: Option<(String, String)>,
    /// Label and word.
    code: Option<(&'static str, String)>,
}

impl ResultPage {
    fn new(app: &App, lang: Lang, title: impl Into<String>, texts: Vec<String>) -> Self {
        Self {
            style: STYLE,
            tag: lang.tag(),
            host: host(&app.config.public_url),
            title: title.into(),
            good: false,
            texts,
            missing: None,
            retry: None,
            back: None,
            code: None,
        }
    }

    /// With the way back that the tenant gave.
    fn back(mut self, lang: Lang, binding: &Binding) -> Self {
        self.back = binding.return_url.as_ref().map(|url| (texts::back_to(lang, &host(url)), url.clone()));
        self
    }

    fn retry(mut self, lang: Lang, address: &str) -> Self {
        self.retry = Some((texts::TRY_AGAIN.read(lang), address.to_owned()));
        self
    }

    fn code(mut self, lang: Lang, code: &str) -> Self {
        self.code = Some((texts::FOR_SUPPORT.read(lang), code.to_owned()));
        self
    }

    fn respond(&self, status: StatusCode) -> Response {
        answer(status, self.render())
    }
}

/// The page of a binding that has an end.
///
/// # Errors
/// [`Error::Store`].
pub(super) async fn ended(app: &App, lang: Lang, binding: &Binding) -> Result<Response, Error> {
    match binding.status_at(app.clock.now()) {
        BindingStatus::Bound => bound(app, lang, binding).await,
        BindingStatus::Refused => refused(app, lang, binding).await,
        BindingStatus::Pending | BindingStatus::Expired => {
            let page =
                ResultPage::new(app, lang, texts::EXPIRED.read(lang), read(lang, &[texts::EXPIRED_TEXT]));
            Ok(page.back(lang, binding).code(lang, "expired").respond(StatusCode::GONE))
        }
    }
}

/// Names account and tenant: an administrator of several sees whether it was the right one.
async fn bound(app: &App, lang: Lang, binding: &Binding) -> Result<Response, Error> {
    let tenant = tenant_name(app, &binding.tenant_id).await?;
    let account = match &binding.app_id {
        Some(app_id) => app.store.account(&binding.tenant_id, app_id).await?,
        None => None,
    };
    let name = account.as_ref().map(|account| account.name.clone()).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| texts::THE_ACCOUNT.read(lang).to_owned());
    let import = match &account {
        Some(account) => {
            app.store.imports(&binding.tenant_id, &account.app_id, 1, None).await?.into_iter().next()
        }
        None => None,
    };
    let since = account.as_ref().map_or(0, |account| account.bound_at);
    let import = import.filter(|import| import.started_at >= since);
    let of_import = match import.map(|import| import.status) {
        Some(ImportStatus::Running | ImportStatus::Paused) => texts::IMPORT_RUNS,
        Some(ImportStatus::Completed) => texts::IMPORT_DONE,
        Some(ImportStatus::Failed) => texts::IMPORT_FAILED,
        None => texts::CAN_CLOSE,
    };
    let mut page = ResultPage::new(app, lang, texts::bound(lang, &name, &tenant), read(lang, &[of_import]));
    let missing = account.map(|account| sets(lang, |id| !account.granted.contains(&id))).unwrap_or_default();
    if !missing.is_empty() {
        page.missing = Some((texts::MISSING.read(lang), missing, texts::ADD_PERMISSIONS.read(lang)));
    }
    page.good = true;
    Ok(page.back(lang, binding).respond(StatusCode::OK))
}

async fn refused(app: &App, lang: Lang, binding: &Binding) -> Result<Response, Error> {
    let reason = binding.reason.as_deref().unwrap_or_default();
    let account = authorized_name(app, binding, lang).await?;
    let owned = match &binding.app_id {
        Some(app_id) => app.store.any_account(app_id).await?.is_some_and(|a| a.standing().bound),
        None => false,
    };
    let mut said = vec![why(app, lang, binding, reason, &account).await?];
    // whoever has the account would lose it: say how only to one who wants that
    if !owned || reason == "account_bound_elsewhere" {
        said.push(texts::cancel(lang, owned));
    }
    let page =
        ResultPage::new(app, lang, texts::NOT_BOUND.read(lang), said).back(lang, binding).code(lang, reason);
    let page =
        if binding.expires_at > app.clock.now() { page.retry(lang, &link(app, binding)) } else { page };
    Ok(page.respond(StatusCode::OK))
}

/// Why an account was refused, and what helps.
///
/// # Errors
/// [`Error::Store`].
pub(super) async fn why(
    app: &App,
    lang: Lang,
    binding: &Binding,
    reason: &str,
    account: &str,
) -> Result<String, Error> {
    Ok(match reason {
        "unverified_account" => texts::UNVERIFIED.read(lang).to_owned(),
        "not_an_official_account" => texts::NOT_OFFICIAL.read(lang).to_owned(),
        "account_bound_elsewhere" => {
            let tenant = tenant_name(app, &binding.tenant_id).await?;
            texts::elsewhere(lang, account, &tenant, &host(&app.config.public_url))
        }
        "other_account" => {
            let only = account_name(app, &binding.tenant_id, binding.only_app_id.as_deref(), lang).await?;
            texts::other_account(lang, account, &only)
        }
        _ => texts::NO_ACCESS.read(lang).to_owned(),
    })
}

/// The code did not work, or nothing is known of it yet.
pub(super) fn failed(
    app: &App,
    lang: Lang,
    binding: &Binding,
    (title, text): (Text, Text),
    code: &str,
) -> Response {
    let page = ResultPage::new(app, lang, title.read(lang), read(lang, &[text])).back(lang, binding);
    page.retry(lang, &link(app, binding)).code(lang, code).respond(StatusCode::BAD_REQUEST)
}

/// The tenant is suspended or deleted: its links lead nowhere.
pub(super) fn suspended(app: &App, lang: Lang, binding: &Binding) -> Response {
    let said = read(lang, &[texts::SUSPENDED_TEXT]);
    let page = ResultPage::new(app, lang, texts::NOT_BOUND.read(lang), said).back(lang, binding);
    page.code(lang, "tenant_suspended").respond(StatusCode::FORBIDDEN)
}

pub(super) fn unknown(app: &App, lang: Lang) -> Response {
    let page = ResultPage::new(app, lang, texts::UNKNOWN.read(lang), read(lang, &[texts::UNKNOWN_TEXT]));
    page.respond(StatusCode::NOT_FOUND)
}

pub(super) fn no_ticket(app: &App, lang: Lang) -> Response {
    let page = ResultPage::new(app, lang, texts::NO_TICKET.read(lang), read(lang, &[texts::NO_TICKET_TEXT]));
    page.code(lang, "component_verify_ticket missing").respond(StatusCode::SERVICE_UNAVAILABLE)
}

pub(super) fn unavailable(app: &App, lang: Lang, error: &Error, retry: Option<&str>) -> Response {
    tracing::error!(%error, "a binding page failed: {error}");
    let page =
        ResultPage::new(app, lang, texts::UNAVAILABLE.read(lang), read(lang, &[texts::UNAVAILABLE_TEXT]));
    let page = match retry {
        Some(address) => page.retry(lang, address),
        None => page,
    };
    page.respond(StatusCode::BAD_GATEWAY)
}

fn read(lang: Lang, texts: &[Text]) -> Vec<String> {
    texts.iter().map(|text| text.read(lang).to_owned()).collect()
}
