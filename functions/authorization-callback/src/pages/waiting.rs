//! The page that waits for WeChat's event or its job. It is served within two seconds and reloads itself, so
//! that no invocation is held for long. Its address counts the reloads, and anybody can write an address: the
//! count decides only what the page says, and whether WeChat is asked about the code again.

use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use shared::{
    model::binding_refusal::BindingRefusal,
    secret::Secret,
    services::Services,
    texts::{Lang, Text, bind as texts},
    wechat::query::encode_query,
};

use super::{link::LinkWithTenant, result};
use crate::support_code::SupportCode;

/// Reloads of a page, and the pause before each: half a minute. The event usually comes within seconds.
const MAX_RELOADS: u32 = 10;
const RELOAD_SECONDS: u32 = 3;

/// How often a page has been reloaded, as its address says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ReloadState {
    waited: Option<String>,
    asked: Option<String>,
}

impl ReloadState {
    /// Whether WeChat was asked about the code before; it accepts a code only once.
    pub(super) fn has_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether WeChat sent the browser here, and not this page itself.
    pub(super) fn is_first(&self) -> bool {
        self.waited.is_none()
    }

    /// The state of the next load; [`None`] after the last one.
    pub(super) fn next_load(&self) -> Option<Self> {
        let waited = match &self.waited {
            Some(waited) => waited.parse::<u32>().ok()?.checked_add(1)?,
            None => 1,
        };
        let next = Self { waited: Some(waited.to_string()), asked: self.asked.clone() };
        (waited <= MAX_RELOADS).then_some(next)
    }

    /// The same, once WeChat was asked about the code.
    pub(super) fn next_load_after_asking(&self) -> Option<Self> {
        self.next_load().map(|next| Self { asked: Some("1".to_owned()), ..next })
    }

    /// The address of the next load, relative to the same path.
    fn relative_url(&self, binding: &str, code: &Secret) -> String {
        let mut pairs = vec![("binding", binding), ("auth_code", code.expose())];
        pairs.extend(self.waited.as_deref().map(|waited| ("waited", waited)));
        pairs.extend(self.asked.as_deref().map(|asked| ("asked", asked)));
        encode_query(&pairs)
    }
}

/// The page for a code without a result yet. After the last reload it shows `otherwise`.
pub(super) fn waiting_page(
    app: &Services,
    lang: Lang,
    link: &LinkWithTenant,
    code: &Secret,
    next: &Option<ReloadState>,
    otherwise: (Text, Text),
) -> Response {
    let reload = next.as_ref().map(|next| (RELOAD_SECONDS, next.relative_url(&link.binding.id, code)));
    let (status, said) = match (link.binding.is_being_bound(app.clock.unix()), &reload) {
        (true, Some(_)) => (StatusCode::ACCEPTED, (texts::BINDING, texts::BINDING_TEXT)),
        (true, None) => (StatusCode::ACCEPTED, (texts::BINDING, texts::BINDING_LONG_TEXT)),
        (false, Some(_)) => (StatusCode::BAD_REQUEST, (texts::WAITING, texts::WAITING_TEXT)),
        (false, None) => {
            let code = SupportCode::Refused(BindingRefusal::AuthorizationFailed);
            return result::failed(app, lang, link, otherwise, code);
        }
    };
    result::waiting(app, lang, link, status, said, reload)
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
            let patience = ReloadState { waited: waited.map(str::to_owned), asked: None };
            let again = patience.next_load();
            assert_eq!(again.as_ref().and_then(|next| next.waited.as_deref()), next, "{what}");
            assert!(again.is_none_or(|next| !next.has_asked()), "{what}");
            assert!(patience.next_load_after_asking().is_none_or(|next| next.has_asked()), "{what}");
        }
    }

    #[test]
    fn the_next_address_is_the_same_return() {
        let patience = ReloadState { waited: Some("3".into()), asked: Some("1".into()) };
        let address = patience.relative_url("bnd_1", &Secret::new("queryauthcode@@@a&b=\"c;"));
        assert_eq!(
            address,
            "?binding=bnd_1&auth_code=queryauthcode%40%40%40a%26b%3D%22c%3B&waited=3&asked=1"
        );
    }
}
