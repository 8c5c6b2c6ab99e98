//! The page to which WeChat sends the browser back. WeChat's event decides which tenant gets the account, or
//! the page that this browser opened; the address alone never does, because anybody can write one.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Query, State},
    response::Response,
};
use http::HeaderMap;
use serde::Deserialize;
use shared::{
    deadline::Deadline,
    error::Error,
    model::{
        authorization::{self, AuthorizationPage},
        binding::{Binding, BindingStatus},
        binding_refusal::BindingRefusal,
    },
    secret::Secret,
    services::Services,
    store::WriterId,
    texts::{Text, bind as texts},
};

use super::{
    cookie,
    layout::Reader,
    link::{LinkLookup, LinkWithTenant, look_up_link},
    result,
    time_limit::{CALLBACK_TIMEOUT, with_timeout},
    waiting::{self, ReloadState},
};
use crate::{
    complete::complete_authorization,
    consent::{ConsentOutcome, ConsentSource, IncomingConsent},
    support_code::SupportCode,
};

/// The longest authorization code, in bytes; WeChat's have about a hundred.
const MAX_CODE_BYTES: usize = 512;
/// How often a return that redeemed its code polls for the end of the event's job.
const MAX_JOB_POLLS: u32 = 24;
/// The same for a first return that may not redeem it: the event is usually faster than the browser.
const MAX_EVENT_POLLS: u32 = 8;
const POLL_INTERVAL: Duration = Duration::from_millis(250);

const INVALID_CODE_TEXTS: (Text, Text) = (texts::NO_CODE, texts::NO_CODE_TEXT);
const NOT_YET_TEXTS: (Text, Text) = (texts::NOT_YET, texts::NOT_YET_TEXT);

/// The query: what WeChat adds to the `redirect_uri`, and what a waiting page adds when it reloads.
#[derive(Deserialize)]
pub(crate) struct CallbackParams {
    #[serde(default)]
    binding: String,
    auth_code: Option<String>,
    #[serde(flatten)]
    patience: ReloadState,
}

/// `GET /bind/callback`.
pub(crate) async fn callback_page(
    State(app): State<Arc<Services>>,
    Query(query): Query<CallbackParams>,
    Extension(until): Extension<Deadline>,
    headers: HeaderMap,
) -> Response {
    let reader = Reader::of(headers);
    let link = match look_up_link(&app, &query.binding).await {
        Ok(LinkLookup::Usable(link)) => link,
        // WeChat's event will delete the tokens of this authorization
        Ok(LinkLookup::TenantSuspended) => return result::tenant_suspended(&app, reader.lang),
        Ok(LinkLookup::Unknown) => return result::unknown_link(&app, reader.lang),
        Err(error) => return result::unavailable(&app, reader.lang, &error, None),
    };
    let code = query.auth_code.filter(|code| is_plausible(code)).map(Secret::new);
    let answer = callback_response(&app, &reader, &link, code, &query.patience, until);
    with_timeout(CALLBACK_TIMEOUT, &app, reader.lang, &link.binding, answer).await
}

/// Whether it looks like an authorization code.
fn is_plausible(code: &str) -> bool {
    !code.is_empty() && code.len() <= MAX_CODE_BYTES && code.bytes().all(|b| b.is_ascii_graphic())
}

async fn callback_response(
    app: &Services,
    reader: &Reader,
    link: &LinkWithTenant,
    code: Option<Secret>,
    patience: &ReloadState,
    until: Deadline,
) -> Result<Response, Error> {
    let (lang, binding) = (reader.lang, &link.binding);
    if is_decided(binding, code.as_ref()) {
        return result::ended(app, lang, link).await;
    }
    let Some(code) = code else {
        return match binding.status_at(app.clock.now()) {
            BindingStatus::Expired => result::ended(app, lang, link).await,
            _ => Ok(result::failed(
                app,
                lang,
                link,
                INVALID_CODE_TEXTS,
                SupportCode::Refused(BindingRefusal::AuthorizationFailed),
            )),
        };
    };
    let wait = |link: &LinkWithTenant, otherwise| {
        waiting::waiting_page(app, lang, link, &code, &patience.next_load(), otherwise)
    };
    let wait_after_asking = |link: &LinkWithTenant| {
        let next = patience.next_load_after_asking();
        waiting::waiting_page(app, lang, link, &code, &next, INVALID_CODE_TEXTS)
    };
    if patience.has_asked() {
        return Ok(wait(link, INVALID_CODE_TEXTS));
    }
    let page = cookie::page_of_cookie(app, binding, &reader.headers).await?;
    // without proof that this browser opened the page, only WeChat's event can decide
    let Some(page) = page.filter(|page| page.for_consent().may_have_asked_at(app.clock.unix())) else {
        let steps = if patience.is_first() { MAX_EVENT_POLLS } else { 0 };
        let link = wait_for_end(app, link.clone(), &code, steps, |_| true).await?;
        return match is_decided(&link.binding, Some(&code)) {
            true => result::ended(app, lang, &link).await,
            false => Ok(wait(&link, NOT_YET_TEXTS)),
        };
    };
    let Some(query) = app.store.bindings().begin_code_query(&page).await? else {
        tracing::warn!("too many wrong codes came for one link");
        return Ok(wait(link, NOT_YET_TEXTS));
    };
    match complete_from_browser(app, &page, &code, query, until).await {
        Ok(ConsentOutcome::Bound | ConsentOutcome::Refused(_)) => {
            let link = reload_link(app, link).await?;
            result::ended(app, lang, &link).await
        }
        Ok(ConsentOutcome::InvalidCode) => {
            let link = wait_for_job(app, link, &code).await?;
            match is_decided(&link.binding, Some(&code)) {
                true => result::ended(app, lang, &link).await,
                false => Ok(wait_after_asking(&link)),
            }
        }
        Ok(ConsentOutcome::PageTooOld) => {
            let said = (texts::NO_CODE, texts::TOO_EARLY_TEXT);
            Ok(result::failed(app, lang, link, said, SupportCode::PageTooOld))
        }
        Ok(ConsentOutcome::TenantSuspended) => Ok(result::tenant_suspended(app, lang)),
        Ok(ConsentOutcome::AnotherPage) => {
            let said = (texts::NO_CODE, texts::NOT_OURS_TEXT);
            Ok(result::failed(app, lang, link, said, SupportCode::AnotherPage))
        }
        Err(error) => {
            let link = reload_link(app, link).await?;
            if is_decided(&link.binding, Some(&code)) {
                return result::ended(app, lang, &link).await;
            }
            match link.binding.is_being_bound(app.clock.unix()) || matches!(error, Error::RefreshRunning) {
                true => Ok(wait_after_asking(&link)),
                false => Err(error),
            }
        }
    }
}

async fn complete_from_browser(
    app: &Services,
    page: &AuthorizationPage,
    code: &Secret,
    query: WriterId,
    until: Deadline,
) -> Result<ConsentOutcome, Error> {
    let consent =
        IncomingConsent { code, source: ConsentSource::Browser { page, query }, at: app.clock.unix() };
    complete_authorization(app, &consent, until).await
}

/// Whether the stored result answers this return: a bound link stays bound, a repeated code gets its result.
fn is_decided(binding: &Binding, code: Option<&Secret>) -> bool {
    let by = binding.ended_by.as_deref();
    match binding.status {
        BindingStatus::Bound => true,
        BindingStatus::Refused => {
            code.is_none_or(|code| by == Some(&authorization::code_fingerprint(code.expose())))
        }
        BindingStatus::Pending | BindingStatus::Expired => false,
    }
}

/// Reads the link again.
async fn reload_link(app: &Services, link: &LinkWithTenant) -> Result<LinkWithTenant, Error> {
    let now = app.store.bindings().by_link(&link.binding.id).await?;
    Ok(LinkWithTenant { binding: now.unwrap_or_else(|| link.binding.clone()), tenant: link.tenant.clone() })
}

/// The code was refused. If the event's job redeemed it first, it ends in a moment. Only a browser that was
/// allowed to query a code waits here, and a link allows only a few such queries.
async fn wait_for_job(app: &Services, link: &LinkWithTenant, code: &Secret) -> Result<LinkWithTenant, Error> {
    let at_work = |binding: &Binding| binding.is_being_bound(app.clock.unix());
    wait_for_end(app, reload_link(app, link).await?, code, MAX_JOB_POLLS, at_work).await
}

/// Polls the link until this code has a result, `steps` have passed, or `may_end` says that none will come.
async fn wait_for_end(
    app: &Services,
    mut link: LinkWithTenant,
    code: &Secret,
    steps: u32,
    may_end: impl Fn(&Binding) -> bool,
) -> Result<LinkWithTenant, Error> {
    for _ in 0..steps {
        if is_decided(&link.binding, Some(code)) || !may_end(&link.binding) {
            break;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
        link = reload_link(app, &link).await?;
    }
    Ok(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_code_is_not_asked_about() {
        for (code, may) in [
            ("queryauthcode@@@invented-0001_x", true),
            ("", false),
            ("with a blank", false),
            ("\u{202e}", false),
            (&"c".repeat(513), false),
        ] {
            assert_eq!(is_plausible(code), may, "{code}");
        }
    }
}
