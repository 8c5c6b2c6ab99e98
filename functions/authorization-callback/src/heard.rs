//! What WeChat's event says of a consent that a browser brings. The event names the page by its pre_auth_code, which is
//! WeChat's word; the browser shows that it opened a page, which is its own.

use std::time::Duration;

use shared::{
    app::App,
    error::Error,
    secret::Secret,
    store::consents::{self, ConsentEvent, OpenedPage},
};

/// How long a browser's word waits for WeChat's, which comes at the same time as a rule, in steps.
const STEPS: u32 = 8;
const STEP: Duration = Duration::from_millis(250);

/// Whether the consent behind `code` began on `page`, the one that the browser opened: as WeChat's event says, where it
/// comes in time, else as the browser says.
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

/// What an event says of a page.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// The consent began on it, or not.
    Sure(bool),
    /// Another consent began on another page since this one was opened: unless this one's own event comes, it is that.
    Doubtful,
}

/// WeChat's word on the page, if it has come. An event with another code can be about this consent too where it is
/// younger than the page: WeChat's two messengers need not bring the same code.
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
