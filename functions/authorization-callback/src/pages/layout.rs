//! What all pages look like, and who reads them.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use shared::{
    html,
    model::permission::required_permissions,
    texts::{Lang, bind::PURPOSES},
};

/// The style sheet of all pages.
pub(super) const STYLE: &str = include_str!("../../templates/page.css");
/// Who reads a page.
pub(super) struct Reader {
    pub(super) lang: Lang,
    /// In WeChat's own browser, on the phone that would scan a code.
    pub(super) in_wechat: bool,
    pub(super) headers: HeaderMap,
}

impl Reader {
    pub(super) fn of(headers: HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let lang = Lang::from_accept_language(text(header::ACCEPT_LANGUAGE));
        let in_wechat = text(header::USER_AGENT).contains("MicroMessenger");
        Self { lang, in_wechat, headers }
    }
}

/// A permission set on a page.
pub(super) struct PermissionSetText {
    /// In the page's language.
    pub(super) name: &'static str,
    /// What it is for; the English text adds the Chinese name that WeChat's page shows.
    pub(super) purpose: String,
}

/// The required permission sets that `is_shown` selects.
pub(super) fn permission_set_texts(lang: Lang, is_shown: impl Fn(u32) -> bool) -> Vec<PermissionSetText> {
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
pub(super) fn page_response(status: StatusCode, page: Result<String, askama::Error>) -> Response {
    match page {
        Ok(page) => html::page(status, STYLE, page),
        Err(error) => {
            tracing::error!(%error, "a page could not be written: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The host of a URL with its port, to show briefly where a link leads.
pub(super) fn host(url: &str) -> String {
    let authority = url.parse::<Uri>().ok().and_then(|uri| uri.authority().cloned());
    authority.map(|a| a.as_str().rsplit('@').next().unwrap_or_default().to_owned()).unwrap_or_default()
}
