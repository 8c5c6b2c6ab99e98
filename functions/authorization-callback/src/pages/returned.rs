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
    app::App,
    deadline::Deadline,
    error::Error,
    secret::Secret,
    store::{
        bindings::{Binding, BindingStatus},
        consents::{self, OpenedPage},
        owner::Owner,
    },
    texts::{Text, bind as texts},
};

use super::{
    Found, Link, RETURN_AT_MOST, Reader, cookie, find, result,
    waiting::{self, Patience},
    within,
};
use crate::complete::{Consent, Messenger, Outcome, complete};

/// The longest authorization code, in bytes; WeChat's have about a hundred.
const MAX_CODE: usize = 512;
/// How often a return that redeemed its code polls for the end of the event's job.
const JOB_STEPS: u32 = 24;
/// The same for a first return that may not redeem it: the event is usually faster than the browser.
const EVENT_STEPS: u32 = 8;
const JOB_STEP: Duration = Duration::from_millis(250);

const BAD_CODE: (Text, Text) = (texts::NO_CODE, texts::NO_CODE_TEXT);
const NOT_YET: (Text, Text) = (texts::NOT_YET, texts::NOT_YET_TEXT);

/// The query: what WeChat adds to the `redirect_uri`, and what a waiting page adds when it reloads.
#[derive(Deserialize)]
pub(crate) struct Return {
    #[serde(default)]
    binding: String,
    auth_code: Option<String>,
    #[serde(flatten)]
    patience: Patience,
}

/// `GET /bind/callback`.
pub(crate) async fn returned(
    State(app): State<Arc<App>>,
    Query(query): Query<Return>,
    Extension(until): Extension<Deadline>,
    headers: HeaderMap,
) -> Response {
    let reader = Reader::of(headers);
    let link = match find(&app, &query.binding).await {
        Ok(Found::Link(link)) => link,
        // WeChat's event will delete the tokens of this authorization
        Ok(Found::Over) => return result::over(&app, reader.lang),
        Ok(Found::Unknown) => return result::unknown(&app, reader.lang),
        Err(error) => return result::unavailable(&app, reader.lang, &error, None),
    };
    let code = query.auth_code.filter(|code| is_plausible(code)).map(Secret::new);
    let answer = come_back(&app, &reader, &link, code, &query.patience, until);
    within(RETURN_AT_MOST, &app, reader.lang, &link.binding, answer).await
}

/// Whether it looks like an authorization code.
fn is_plausible(code: &str) -> bool {
    !code.is_empty() && code.len() <= MAX_CODE && code.bytes().all(|b| b.is_ascii_graphic())
}

async fn come_back(
    app: &App,
    reader: &Reader,
    link: &Link,
    code: Option<Secret>,
    patience: &Patience,
    until: Deadline,
) -> Result<Response, Error> {
    let (lang, binding) = (reader.lang, &link.binding);
    if is_answered(binding, code.as_ref()) {
        return result::ended(app, lang, link).await;
    }
    let Some(code) = code else {
        return match binding.status_at(app.clock.now()) {
            BindingStatus::Expired => result::ended(app, lang, link).await,
            _ => Ok(result::failed(app, lang, link, BAD_CODE, "authorization_failed")),
        };
    };
    let wait = |link: &Link, otherwise| waiting::wait(app, lang, link, &code, &patience.again(), otherwise);
    if patience.asked() {
        return Ok(wait(link, BAD_CODE));
    }
    let page = cookie::page(app, binding, &reader.headers).await?;
    // without proof that this browser opened the page, only WeChat's event can decide
    let Some(page) = page.filter(|page| page.page().may_have_led_to(app.clock.unix())) else {
        let steps = if patience.is_first() { EVENT_STEPS } else { 0 };
        let link = until_ended(app, link.clone(), &code, steps, |_| true).await?;
        return match is_answered(&link.binding, Some(&code)) {
            true => result::ended(app, lang, &link).await,
            false => Ok(wait(&link, NOT_YET)),
        };
    };
    let Some(asks) = app.store.may_ask_about_code(&page).await? else {
        tracing::warn!("too many wrong codes came for one link");
        return Ok(wait(link, NOT_YET));
    };
    match exchange(app, &page, &code, asks, until).await {
        Ok(Outcome::Bound | Outcome::Refused { .. }) => {
            let link = now(app, link).await?;
            result::ended(app, lang, &link).await
        }
        Ok(Outcome::BadCode) => {
            let link = being_bound(app, link, &code).await?;
            match is_answered(&link.binding, Some(&code)) {
                true => result::ended(app, lang, &link).await,
                false => Ok(waiting::wait(app, lang, &link, &code, &patience.after_asking(), BAD_CODE)),
            }
        }
        Ok(Outcome::TooEarly) => {
            let said = (texts::NO_CODE, texts::TOO_EARLY_TEXT);
            Ok(result::failed(app, lang, link, said, "page_too_old"))
        }
        Ok(Outcome::Suspended) => Ok(result::over(app, lang)),
        Ok(Outcome::NotOurs) => {
            let said = (texts::NO_CODE, texts::NOT_OURS_TEXT);
            Ok(result::failed(app, lang, link, said, "another_page"))
        }
        Err(error) => {
            let link = now(app, link).await?;
            if is_answered(&link.binding, Some(&code)) {
                return result::ended(app, lang, &link).await;
            }
            match link.binding.is_being_bound(app.clock.unix()) || matches!(error, Error::RefreshRunning) {
                true => Ok(waiting::wait(app, lang, &link, &code, &patience.after_asking(), BAD_CODE)),
                false => Err(error),
            }
        }
    }
}

async fn exchange(
    app: &App,
    page: &OpenedPage,
    code: &Secret,
    asks: Owner,
    until: Deadline,
) -> Result<Outcome, Error> {
    let messenger = Messenger::Browser(asks);
    let consent = Consent { code, page: Some(page), messenger, at: app.clock.unix() };
    complete(app, &consent, until).await
}

/// Whether the stored result answers this return: a bound link stays bound, a repeated code gets its result.
fn is_answered(binding: &Binding, code: Option<&Secret>) -> bool {
    let by = binding.ended_by.as_deref();
    match binding.status {
        BindingStatus::Bound => true,
        BindingStatus::Refused => code.is_none_or(|code| by == Some(&consents::fingerprint(code.expose()))),
        BindingStatus::Pending | BindingStatus::Expired => false,
    }
}

/// Reads the link again.
async fn now(app: &App, link: &Link) -> Result<Link, Error> {
    let now = app.store.binding_by_link(&link.binding.id).await?;
    Ok(Link { binding: now.unwrap_or_else(|| link.binding.clone()), tenant: link.tenant.clone() })
}

/// The code was refused. If the event's job redeemed it first, it ends in a moment. Only a browser that was
/// allowed to query a code waits here, and a link allows only a few such queries.
async fn being_bound(app: &App, link: &Link, code: &Secret) -> Result<Link, Error> {
    let at_work = |binding: &Binding| binding.is_being_bound(app.clock.unix());
    until_ended(app, now(app, link).await?, code, JOB_STEPS, at_work).await
}

/// Polls the link until this code has a result, `steps` have passed, or `may_end` says that none will come.
async fn until_ended(
    app: &App,
    mut link: Link,
    code: &Secret,
    steps: u32,
    may_end: impl Fn(&Binding) -> bool,
) -> Result<Link, Error> {
    for _ in 0..steps {
        if is_answered(&link.binding, Some(code)) || !may_end(&link.binding) {
            break;
        }
        tokio::time::sleep(JOB_STEP).await;
        link = now(app, &link).await?;
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
