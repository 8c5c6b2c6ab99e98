//! The pages that say how it ended, and what to do next.

use std::fmt::Display;

use askama::Template;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header::REFRESH};
use shared::{
    error::Error,
    model::{
        binding::{Binding, BindingStatus},
        binding_refusal::BindingRefusal,
        capability::capabilities,
        import::ImportStatus,
    },
    services::Services,
    texts::{Lang, Text, bind as texts},
};

use super::{
    layout::{PermissionSetText, STYLE, host, page_response, permission_set_texts},
    link::{LinkWithTenant, account_name, authorized_name, bind_page_url},
};
use crate::support_code::SupportCode;

#[derive(Template)]
#[template(path = "result.html")]
struct ResultPage {
    style: &'static str,
    tag: &'static str,
    host: String,
    title: String,
    mark: Mark,
    texts: Vec<String>,
    /// What was not granted, with what comes before and after.
    missing: Option<(&'static str, Vec<PermissionSetText>, &'static str)>,
    /// Label and address.
    retry: Option<(&'static str, String)>,
    /// Label and address.
    back: Option<(String, String)>,
    /// Label and word.
    code: Option<(&'static str, String)>,
}

/// What a reader sees first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Good,
    Bad,
    Waits,
}

impl Mark {
    /// Its class in the style, and its sign.
    fn looks(self) -> (&'static str, &'static str) {
        match self {
            Self::Good => ("good", "✓"),
            Self::Bad => ("bad", "!"),
            Self::Waits => ("waits", "…"),
        }
    }
}

impl ResultPage {
    fn new(app: &Services, lang: Lang, title: impl Into<String>, texts: Vec<String>) -> Self {
        Self {
            style: STYLE,
            tag: lang.tag(),
            host: host(&app.config.public_url),
            title: title.into(),
            mark: Mark::Bad,
            texts,
            missing: None,
            retry: None,
            back: None,
            code: None,
        }
    }

    /// Adds the link back to the tenant's site, if the tenant gave one.
    fn with_return_link(mut self, lang: Lang, binding: &Binding) -> Self {
        self.back = binding.return_url.as_ref().map(|url| (texts::back_to(lang, &host(url)), url.clone()));
        self
    }

    fn with_retry(mut self, lang: Lang, address: &str) -> Self {
        self.retry = Some((texts::TRY_AGAIN.in_language(lang), address.to_owned()));
        self
    }

    fn with_support_code(mut self, lang: Lang, code: SupportCode) -> Self {
        self.code = Some((texts::FOR_SUPPORT.in_language(lang), code.to_string()));
        self
    }

    fn respond(&self, status: StatusCode) -> Response {
        page_response(status, self.render())
    }
}

/// The page of a binding that has ended.
///
/// # Errors
/// [`Error::Store`].
pub(super) async fn ended(app: &Services, lang: Lang, link: &LinkWithTenant) -> Result<Response, Error> {
    let binding = &link.binding;
    match binding.status_at(app.clock.now()) {
        BindingStatus::Bound => bound(app, lang, link).await,
        BindingStatus::Refused => refused(app, lang, link).await,
        BindingStatus::Pending | BindingStatus::Expired => {
            let said = text_and_tenant(lang, link, texts::EXPIRED_TEXT);
            let page = ResultPage::new(app, lang, texts::EXPIRED.in_language(lang), said);
            Ok(page
                .with_return_link(lang, binding)
                .with_support_code(lang, SupportCode::LinkExpired)
                .respond(StatusCode::GONE))
        }
    }
}

/// Names account and tenant, so that an administrator of several accounts sees whether it was the right one.
async fn bound(
    app: &Services,
    lang: Lang,
    LinkWithTenant { binding, tenant }: &LinkWithTenant,
) -> Result<Response, Error> {
    let account = match &binding.app_id {
        Some(app_id) => app.store.accounts().get(&binding.tenant_id, app_id).await?,
        None => None,
    };
    let name = account.as_ref().map(|account| account.name.clone()).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| texts::THE_ACCOUNT.in_language(lang).to_owned());
    let import = match &account {
        Some(account) => {
            app.store.imports().list(&binding.tenant_id, &account.app_id, 1, None).await?.into_iter().next()
        }
        None => None,
    };
    let bound_at = account.as_ref().map_or(0, |account| account.bound_at);
    let import = import.filter(|import| import.started_at >= bound_at);
    let may_import = account.as_ref().is_none_or(|account| {
        let can = capabilities(account.account_type, account.verified, &account.granted);
        can.get("followers") == Some(&true)
    });
    let import_text = match (import.map(|import| import.status), may_import) {
        (Some(ImportStatus::Completed), _) => texts::IMPORT_DONE,
        (_, false) => texts::IMPORT_NOT_GRANTED,
        (Some(ImportStatus::Running | ImportStatus::Paused), true) => texts::IMPORT_RUNS,
        (Some(ImportStatus::Failed), true) => texts::IMPORT_FAILED,
        (None, true) => texts::CAN_CLOSE,
    };
    let mut page = ResultPage::new(
        app,
        lang,
        texts::bound_title(lang, &name, tenant),
        in_language(lang, &[import_text]),
    );
    let missing = account
        .map(|account| permission_set_texts(lang, |id| !account.granted.contains(&id)))
        .unwrap_or_default();
    if !missing.is_empty() {
        page.missing =
            Some((texts::MISSING.in_language(lang), missing, texts::ADD_PERMISSIONS.in_language(lang)));
    }
    page.mark = Mark::Good;
    Ok(page.with_return_link(lang, binding).respond(StatusCode::OK))
}

async fn refused(app: &Services, lang: Lang, link: &LinkWithTenant) -> Result<Response, Error> {
    let LinkWithTenant { binding, tenant } = link;
    let reason = binding.reason.unwrap_or(BindingRefusal::AuthorizationFailed);
    let account = authorized_name(app, binding, lang).await?;
    let is_bound = match &binding.app_id {
        Some(app_id) => {
            app.store.accounts().of_any_tenant(app_id).await?.is_some_and(|a| a.for_consent().bound)
        }
        None => false,
    };
    let mut said = vec![refusal_text(app, lang, link, reason, &account).await?];
    // whoever has the account would lose it: explain it only to one who asked for that
    if !is_bound || reason == BindingRefusal::AccountBoundElsewhere {
        said.push(texts::how_to_cancel(lang, is_bound));
    }
    let page = ResultPage::new(app, lang, texts::not_bound_title(lang, &account, tenant), said);
    let page = page.with_return_link(lang, binding).with_support_code(lang, SupportCode::Refused(reason));
    let page = if binding.expires_at > app.clock.now() {
        page.with_retry(lang, &bind_page_url(app, binding))
    } else {
        page
    };
    Ok(page.respond(StatusCode::OK))
}

/// Why an account was refused, and what helps.
///
/// # Errors
/// [`Error::Store`].
pub(super) async fn refusal_text(
    app: &Services,
    lang: Lang,
    LinkWithTenant { binding, tenant }: &LinkWithTenant,
    reason: BindingRefusal,
    account: &str,
) -> Result<String, Error> {
    Ok(match reason {
        BindingRefusal::UnverifiedAccount => texts::UNVERIFIED.in_language(lang).to_owned(),
        BindingRefusal::NotAnOfficialAccount => texts::NOT_OFFICIAL.in_language(lang).to_owned(),
        BindingRefusal::AccountBoundElsewhere => {
            texts::bound_by_other_tenant(lang, account, tenant, &host(&app.config.public_url))
        }
        BindingRefusal::OtherAccount => {
            let only = account_name(app, &binding.tenant_id, binding.only_app_id.as_deref(), lang).await?;
            texts::wrong_account_chosen(lang, account, &only)
        }
        BindingRefusal::AuthorizationFailed => texts::NO_ACCESS.in_language(lang).to_owned(),
    })
}

/// The page for a code that failed, or of which nothing is known in the end.
pub(super) fn failed(
    app: &Services,
    lang: Lang,
    link: &LinkWithTenant,
    (title, text): (Text, Text),
    code: SupportCode,
) -> Response {
    let page = ResultPage::new(app, lang, title.in_language(lang), text_and_tenant(lang, link, text))
        .with_return_link(lang, &link.binding);
    page.with_retry(lang, &bind_page_url(app, &link.binding))
        .with_support_code(lang, code)
        .respond(StatusCode::BAD_REQUEST)
}

/// The page while the result is open: 202 once WeChat confirmed the consent, 400 while nothing proves the
/// code. `reload` is the pause in seconds and the address; without it the page does not reload.
pub(super) fn waiting(
    app: &Services,
    lang: Lang,
    link: &LinkWithTenant,
    status: StatusCode,
    (title, text): (Text, Text),
    reload: Option<(u32, String)>,
) -> Response {
    let page = ResultPage::new(app, lang, title.in_language(lang), text_and_tenant(lang, link, text));
    let page = ResultPage { mark: Mark::Waits, ..page.with_return_link(lang, &link.binding) };
    let mut response = page.respond(status);
    if let Some((seconds, address)) = reload
        && let Ok(refresh) = HeaderValue::from_str(&format!("{seconds}; url={address}"))
    {
        response.headers_mut().insert(REFRESH, refresh);
    }
    response
}

/// The page of a link whose tenant is suspended or deleted.
pub(super) fn tenant_suspended(app: &Services, lang: Lang) -> Response {
    let page =
        ResultPage::new(app, lang, texts::OVER.in_language(lang), in_language(lang, &[texts::OVER_TEXT]));
    page.with_support_code(lang, SupportCode::TenantSuspended).respond(StatusCode::GONE)
}

pub(super) fn unknown_link(app: &Services, lang: Lang) -> Response {
    let page = ResultPage::new(
        app,
        lang,
        texts::UNKNOWN.in_language(lang),
        in_language(lang, &[texts::UNKNOWN_TEXT]),
    );
    page.respond(StatusCode::NOT_FOUND)
}

pub(super) fn no_ticket(app: &Services, lang: Lang) -> Response {
    let page = ResultPage::new(
        app,
        lang,
        texts::NO_TICKET.in_language(lang),
        in_language(lang, &[texts::NO_TICKET_TEXT]),
    );
    page.with_support_code(lang, SupportCode::NoTicket).respond(StatusCode::SERVICE_UNAVAILABLE)
}

pub(super) fn unavailable(app: &Services, lang: Lang, error: &dyn Display, retry: Option<&str>) -> Response {
    tracing::error!(%error, "a binding page failed: {error}");
    let page = ResultPage::new(
        app,
        lang,
        texts::UNAVAILABLE.in_language(lang),
        in_language(lang, &[texts::UNAVAILABLE_TEXT]),
    );
    let page = match retry {
        Some(address) => page.with_retry(lang, address),
        None => page,
    };
    page.respond(StatusCode::BAD_GATEWAY)
}

/// The text, followed by the name of the link's tenant.
fn text_and_tenant(lang: Lang, link: &LinkWithTenant, text: Text) -> Vec<String> {
    vec![text.in_language(lang).to_owned(), texts::sent_by(lang, &link.tenant)]
}

fn in_language(lang: Lang, texts: &[Text]) -> Vec<String> {
    texts.iter().map(|text| text.in_language(lang).to_owned()).collect()
}
