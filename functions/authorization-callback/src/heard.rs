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
    for _ in 0..STEPS {
        if let Some(answer) = word(app.store.consent_event(app_id).await?.as_ref(), page, &code) {
            return Ok(answer);
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(true)
}

/// WeChat's word on the page, if it has come. An event with another code is about this consent too where it is as young
/// as the page: WeChat's two messengers need not bring the same code.
fn word(event: Option<&ConsentEvent>, page: &OpenedPage, code: &str) -> Option<bool> {
    let event = event?;
    let binding = event.binding_id.as_deref();
    if event.code == code {
        return Some(binding.is_none_or(|id| id == page.binding_id));
    }
    if event.event_at < page.opened_at {
        return None;
    }
    binding.map(|id| id == page.binding_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wechats_word_goes_before_the_browsers() {
        let page =
            OpenedPage { binding_id: "mine".into(), tenant_id: "t".into(), opened_at: 100, expires_at: 700 };
        let event = |code: &str, binding: Option<&str>, event_at| {
            let binding_id = binding.map(str::to_owned);
            Some(ConsentEvent { code: code.into(), binding_id, event_at, under_way_until: 0 })
        };
        for (what, event, word_is) in [
            ("no event yet", None, None),
            ("this page", event("c", Some("mine"), 110), Some(true)),
            ("this page, by WeChat's slow clock", event("c", Some("mine"), 90), Some(true)),
            ("no page: the browser's word is all there is", event("c", None, 110), Some(true)),
            ("another page", event("c", Some("other"), 110), Some(false)),
            ("an older consent", event("d", Some("other"), 90), None),
            ("this page, by a code of its own", event("d", Some("mine"), 110), Some(true)),
            ("another page since, by a code of its own", event("d", Some("other"), 110), Some(false)),
            ("WeChat's own pages since", event("d", None, 110), None),
        ] {
            assert_eq!(word(event.as_ref(), &page, "c"), word_is, "{what}");
        }
    }
}
