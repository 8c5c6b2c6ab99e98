//! Checks a browser's consent against WeChat's event. The event names the page by its pre_auth_code and is
//! signed by WeChat; the browser's cookie proves only that it opened a page.

use std::time::Duration;

use shared::{
    error::Error,
    model::authorization::{self, AuthorizationPage, ConsentEvent},
    secret::Secret,
    services::Services,
};

/// How often the event is looked for before the browser is believed; usually both come at the same time.
const MAX_EVENT_POLLS: u32 = 8;
const EVENT_POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Whether the consent behind `code` began on `page`, which the browser opened: decided by WeChat's event if
/// it comes in time, and otherwise by the browser's cookie.
///
/// # Errors
/// [`Error::Store`].
pub(crate) async fn began_on(
    app: &Services,
    page: &AuthorizationPage,
    app_id: &str,
    code: &Secret,
) -> Result<bool, Error> {
    let code = authorization::code_fingerprint(code.expose());
    let mut evidence = None;
    for _ in 0..MAX_EVENT_POLLS {
        evidence = origin_evidence(app.store.consents().newest_event(app_id).await?.as_ref(), page, &code);
        if let Some(OriginEvidence::Certain(answer)) = evidence {
            return Ok(answer);
        }
        tokio::time::sleep(EVENT_POLL_INTERVAL).await;
    }
    Ok(evidence != Some(OriginEvidence::Doubtful))
}

/// What an event proves about a page.
#[derive(Debug, PartialEq, Eq)]
enum OriginEvidence {
    /// Whether the consent began on it.
    Certain(bool),
    /// A consent began on another page since this one was opened. Unless its own event comes, it is that one.
    Doubtful,
}

/// What the account's newest event says about the page, if anything. An event with another code may still be
/// about this consent if it is newer than the page, because event and browser may get different codes.
fn origin_evidence(
    event: Option<&ConsentEvent>,
    page: &AuthorizationPage,
    code: &str,
) -> Option<OriginEvidence> {
    let event = event?;
    let is_this_page = event.binding_id.as_deref().map(|id| id == page.binding_id);
    match is_this_page {
        _ if event.code == code => Some(OriginEvidence::Certain(is_this_page.unwrap_or(true))),
        Some(false) if event.event_at > page.opened_at => Some(OriginEvidence::Doubtful),
        Some(true) if event.event_at >= page.opened_at => Some(OriginEvidence::Certain(true)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wechats_word_goes_before_the_browsers() {
        let page = AuthorizationPage {
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
        for (what, event, expected) in [
            ("no event yet", None, None),
            ("this page", event("c", Some("mine"), 110), Some(OriginEvidence::Certain(true))),
            (
                "this page, by WeChat's slow clock",
                event("c", Some("mine"), 90),
                Some(OriginEvidence::Certain(true)),
            ),
            (
                "no page: the browser's word is all there is",
                event("c", None, 110),
                Some(OriginEvidence::Certain(true)),
            ),
            ("another page", event("c", Some("other"), 110), Some(OriginEvidence::Certain(false))),
            ("an older consent", event("d", Some("other"), 90), None),
            ("a consent of the second in which the page was opened", event("d", Some("other"), 100), None),
            (
                "this page, by a code of its own",
                event("d", Some("mine"), 110),
                Some(OriginEvidence::Certain(true)),
            ),
            ("another page since", event("d", Some("other"), 110), Some(OriginEvidence::Doubtful)),
            ("WeChat's own pages since", event("d", None, 110), None),
        ] {
            assert_eq!(origin_evidence(event.as_ref(), &page, "c"), expected, "{what}");
        }
    }
}
