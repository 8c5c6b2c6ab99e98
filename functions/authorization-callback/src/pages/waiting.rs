//! The page that waits for WeChat's event or for its job: it is answered within two seconds and loads itself again, so
//! that waiting holds no invocation for long. How often it did stands in its address, which anybody can write: nothing
//! hangs on it but what the page says, and whether it asks WeChat about the code once more.

use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use shared::{
    app::App,
    secret::Secret,
    texts::{Lang, Text, bind as texts},
    wechat::query::query,
};

use super::{Link, result};

/// How often a page loads itself again, and after how many seconds: for half a minute. An event is here within seconds.
const RELOADS: u32 = 10;
const RELOAD_SECONDS: u32 = 3;

/// How far a return has got, as its address says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Patience {
    waited: Option<String>,
    asked: Option<String>,
}

impl Patience {
    /// Whether WeChat was asked about the code before: it does not take one twice.
    pub(super) fn asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether WeChat led the browser here, and not this page itself.
    pub(super) fn is_first(&self) -> bool {
        self.waited.is_none()
    }

    /// Of the next load; none after the last one.
    pub(super) fn again(&self) -> Option<Self> {
        let waited = match &self.waited {
            Some(waited) => waited.parse::<u32>().ok()?.checked_add(1)?,
            None => 1,
        };
        let next = Self { waited: Some(waited.to_string()), asked: self.asked.clone() };
        (waited <= RELOADS).then_some(next)
    }

    /// The same, once WeChat was asked about the code.
    pub(super) fn after_asking(&self) -> Option<Self> {
        self.again().map(|next| Self { asked: Some("1".to_owned()), ..next })
    }

    /// The address from which the next load comes, as one of the same path.
    fn address(&self, binding: &str, code: &Secret) -> String {
        let mut pairs = vec![("binding", binding), ("auth_code", code.expose())];
        pairs.extend(self.waited.as_deref().map(|waited| ("waited", waited)));
        pairs.extend(self.asked.as_deref().map(|asked| ("asked", asked)));
        query(&pairs)
    }
}

/// Nobody knows yet what becomes of the code. Whoever has waited long enough is told what is true `otherwise`.
pub(super) fn wait(
    app: &App,
    lang: Lang,
    link: &Link,
    code: &Secret,
    next: &Option<Patience>,
    otherwise: (Text, Text),
) -> Response {
    let reload = next.as_ref().map(|next| (RELOAD_SECONDS, next.address(&link.binding.id, code)));
    let (status, said) = match (link.binding.is_being_bound(app.clock.unix()), &reload) {
        (true, Some(_)) => (StatusCode::ACCEPTED, (texts::BINDING, texts::BINDING_TEXT)),
        (true, None) => (StatusCode::ACCEPTED, (texts::BINDING, texts::BINDING_LONG_TEXT)),
        (false, Some(_)) => (StatusCode::BAD_REQUEST, (texts::WAITING, texts::WAITING_TEXT)),
        (false, None) => return result::failed(app, lang, link, otherwise, "authorization_failed"),
    };
    result::waits(app, lang, link, status, said, reload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_loads_itself_again_a_bounded_number_of_times() {
        for (what, waited, next) in [
            ("the first time", None, Some("1")),
            ("the second", Some("1"), Some("2")),
            ("the last but one", Some("9"), Some("10")),
            ("the last", Some("10"), None),
            ("an address that somebody wrote", Some("4294967295"), None),
            ("no number", Some("-1"), None),
            ("nothing", Some(""), None),
        ] {
            let patience = Patience { waited: waited.map(str::to_owned), asked: None };
            let again = patience.again();
            assert_eq!(again.as_ref().and_then(|next| next.waited.as_deref()), next, "{what}");
            assert!(again.is_none_or(|next| !next.asked()), "{what}");
            assert!(patience.after_asking().is_none_or(|next| next.asked()), "{what}");
        }
    }

    #[test]
    fn the_next_address_is_the_same_return() {
        let patience = Patience { waited: Some("3".into()), asked: Some("1".into()) };
        let address = patience.address("bnd_1", &Secret::new("queryauthcode@@@a&b=\"c;"));
        assert_eq!(
            address,
            "?binding=bnd_1&auth_code=queryauthcode%40%40%40a%26b%3D%22c%3B&waited=3&asked=1"
        );
    }
}
