//! Checks a browser's consent against WeChat's event. The event names the page by its pre_auth_code and is
//! signed by WeChat; the browser's cookie proves only that it opened a page.

use std::time::Duration;

use shared::{
    app::App,
    error::Error,
    secret::Secret,
    store::consents::{self, ConsentEvent, OpenedPage},
};

/// How often the event is looked for before the browser is believed; usually both come at the same time.
const STEPS: u32 = 8;
const STEP: Duration = Duration::from_millis(250);

/// Whether the consent behind `code` began on `page`, which the browser opened: decided by WeChat's event if
/// it comes in time, and otherwise by the browser's cookie.
///
/// # Errors
/// [`Error::Store`].
pub(crate) async fn began_on(
    app: &App,
    page: &OpenedPage,
    app_id: &str,
    code: &Secret,
) -> Result<bool, Error> {
    let code = consents::fingerprint(code.expose());
    let mut heard = None;
    for _ in 0..STEPS {
        heard = word(app.store.consent_event(app_id).await?.as_ref(), page, &code);
        if let Some(Word::Sure(answer)) = heard {
            return Ok(answer);
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(heard != Some(Word::Doubtful))
}

/// What an event proves about a page.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// Whether the consent began on it.
    Sure(bool),
    /// A consent began on another page since this one was opened. Unless its own event comes, it is that one.
    Doubtful,
}

/// What the account's newest event says about the page, if anything. An event with another code may still be
/// about this consent if it is newer than the page, because event and browser may get different codes.
fn word(event: Option<&ConsentEvent>, page: &OpenedPage, code: &str) -> Option<Word> {
    let event = event?;
    let ours = event.binding_id.as_deref().map(|id| id == page.binding_id);
    match ours {
        _ if event.code == code => Some(Word::Sure(ours.unwrap_or(true))),
        Some(false) if event.event_at > page.opened_at => Some(Word::Doubtful),
        Some(true) if event.event_at >= page.opened_at => Some(Word::Sure(true)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wechats_word_goes_before_the_browsers() {
        let page = OpenedPage {
            binding_id: "mine".into(),
            tenant_id: "t".into(),
            opened_at: 100,
            expires_at: 700,
            fingerprint: "p".into(),
        };
        let event = |code: &str, binding: Option<&str>, event_at| {
            let binding_id = binding.map(str::to_owned);
            Some(ConsentEvent { code: code.into(), binding_id, event_at, under_way_until: 0 })
        };
        for (what, event, word_is) in [
            ("no event yet", None, None),
            ("this page", event("c", Some("mine"), 110), Some(Word::Sure(true))),
            ("this page, by WeChat's slow clock", event("c", Some("mine"), 90), Some(Word::Sure(true))),
            ("no page: the browser's word is all there is", event("c", None, 110), Some(Word::Sure(true))),
            ("another page", event("c", Some("other"), 110), Some(Word::Sure(false))),
            ("an older consent", event("d", Some("other"), 90), None),
            ("a consent of the second in which the page was opened", event("d", Some("other"), 100), None),
            ("this page, by a code of its own", event("d", Some("mine"), 110), Some(Word::Sure(true))),
            ("another page since", event("d", Some("other"), 110), Some(Word::Doubtful)),
            ("WeChat's own pages since", event("d", None, 110), None),
        ] {
            assert_eq!(word(event.as_ref(), &page, "c"), word_is, "{what}");
        }
    }
}
