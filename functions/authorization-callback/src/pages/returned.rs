//! Where WeChat leads the browser back to. Whose the account becomes is said by WeChat's event, else by the page that this
//! very browser opened; never by the address alone, which anybody can write.

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

use super::{Reader, binding_of, cookie, link, may_bind, result};
use crate::complete::{Consent, Messenger, Outcome, complete};

/// Bytes of an authorization code at most; WeChat's have about a hundred.
const MAX_CODE: usize = 512;
/// How long a return waits for the event's job to finish, in steps; and for the event itself.
const WAIT_STEPS: u32 = 16;
const EVENT_STEPS: u32 = 4;
const WAIT_STEP: Duration = Duration::from_millis(500);

const BAD_CODE: (Text, Text) = (texts::NO_CODE, texts::NO_CODE_TEXT);
const NOT_YET: (Text, Text) = (texts::NOT_YET, texts::NOT_YET_TEXT);

/// What WeChat adds to the `redirect_uri`.
#[derive(Deserialize)]
pub(crate) struct Return {
    #[serde(default)]
    binding: String,
    auth_code: Option<String>,
}

/// `GET /bind/callback`.
pub(crate) async fn returned(
    State(app): State<Arc<App>>,
    Query(query): Query<Return>,
    Extension(until): Extension<Deadline>,
    headers: HeaderMap,
) -> Response {
    let reader = Reader::of(headers);
    let binding = match binding_of(&app, &query.binding).await {
        Ok(Some(binding)) => binding,
        Ok(None) => return result::unknown(&app, reader.lang),
        Err(error) => return result::unavailable(&app, reader.lang, &error, None),
    };
    let code = query.auth_code.filter(|code| is_plausible(code)).map(Secret::new);
    come_back(&app, &reader, &binding, code, until).await.unwrap_or_else(|error| match error {
        Error::NoTicket => result::no_ticket(&app, reader.lang),
        error => result::unavailable(&app, reader.lang, &error, Some(&link(&app, &binding))),
    })
}

/// Whether it can be an authorization code at all.
fn is_plausible(code: &str) -> bool {
    !code.is_empty() && code.len() <= MAX_CODE && code.bytes().all(|b| b.is_ascii_graphic())
}

async fn come_back(
    app: &App,
    reader: &Reader,
    binding: &Binding,
    code: Option<Secret>,
    until: Deadline,
) -> Result<Response, Error> {
    let lang = reader.lang;
    if is_answered(binding, code.as_ref()) {
        return result::ended(app, lang, binding).await;
    }
    if !may_bind(app, binding).await? {
        return Ok(result::suspended(app, lang, binding)); // its event has what was given at WeChat deleted
    }
    let page = cookie::page(app, binding, &reader.headers).await?;
    let (page, code) = match (page, code) {
        (Some(page), Some(code)) if page.page().may_have_led_to(app.clock.unix()) => (page, code),
        (_, None) if binding.status_at(app.clock.now()) == BindingStatus::Expired => {
            return result::ended(app, lang, binding).await;
        }
        (_, None) => return Ok(result::failed(app, lang, binding, BAD_CODE, "authorization_failed")),
        // nothing shows that this browser opened the page: only WeChat's event tells
        (_, Some(code)) => return wait_for_event(app, reader, binding, &code, NOT_YET, until).await,
    };
    let Some(asks) = app.store.may_ask_about_code(&page).await? else {
        tracing::warn!("too many wrong codes came for one link");
        return wait_for_event(app, reader, binding, &code, NOT_YET, until).await;
    };
    match exchange(app, &page, &code, asks, until).await {
        Ok(Outcome::Bound | Outcome::Refused { .. }) => {
            let now = app.store.binding_by_link(&binding.id).await?;
            result::ended(app, lang, now.as_ref().unwrap_or(binding)).await
        }
        Ok(Outcome::BadCode) => wait_for_event(app, reader, binding, &code, BAD_CODE, until).await,
        Ok(Outcome::TooEarly) => {
            let said = (texts::NO_CODE, texts::TOO_EARLY_TEXT);
            Ok(result::failed(app, lang, binding, said, "page_too_old"))
        }
        Ok(Outcome::Suspended) => Ok(result::suspended(app, lang, binding)),
        Ok(Outcome::NotOurs) => {
            let said = (texts::NO_CODE, texts::NOT_OURS_TEXT);
            Ok(result::failed(app, lang, binding, said, "another_page"))
        }
        Err(error) => match (answered(app, reader, binding, &code, until).await?, error) {
            (Some(page), _) => Ok(page),
            (None, Error::RefreshRunning) => {
                Ok(result::failed(app, lang, binding, NOT_YET, "authorization_failed"))
            }
            (None, error) => Err(error),
        },
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

/// Whether what is stored is the answer to this return: bound once is bound, and the same code again gets the same answer.
fn is_answered(binding: &Binding, code: Option<&Secret>) -> bool {
    let by = binding.ended_by.as_deref();
    match binding.status {
        BindingStatus::Bound => true,
        BindingStatus::Refused => code.is_none_or(|code| by == Some(&consents::fingerprint(code.expose()))),
        BindingStatus::Pending | BindingStatus::Expired => false,
    }
}

/// The code does not work here: it is made up or too old, or the event's job is at it, or was faster.
async fn wait_for_event(
    app: &App,
    reader: &Reader,
    binding: &Binding,
    code: &Secret,
    otherwise: (Text, Text),
    until: Deadline,
) -> Result<Response, Error> {
    for step in 0..WAIT_STEPS {
        let now = app.store.binding_by_link(&binding.id).await?;
        let now = now.as_ref().unwrap_or(binding);
        if is_answered(now, Some(code)) {
            return result::ended(app, reader.lang, now).await;
        }
        if (now.event_at.is_none() && step >= EVENT_STEPS) || !until.allows(&*app.clock, WAIT_STEP) {
            break;
        }
        tokio::time::sleep(WAIT_STEP).await;
    }
    Ok(result::failed(app, reader.lang, binding, otherwise, "authorization_failed"))
}

/// The page of the answer, if there is one by now.
async fn answered(
    app: &App,
    reader: &Reader,
    binding: &Binding,
    code: &Secret,
    until: Deadline,
) -> Result<Option<Response>, Error> {
    for _ in 0..WAIT_STEPS {
        let now = app.store.binding_by_link(&binding.id).await?;
        let now = now.as_ref().unwrap_or(binding);
        if is_answered(now, Some(code)) {
            return result::ended(app, reader.lang, now).await.map(Some);
        }
        if now.event_at.is_none() || !until.allows(&*app.clock, WAIT_STEP) {
            break;
        }
        tokio::time::sleep(WAIT_STEP).await;
    }
    Ok(None)
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
