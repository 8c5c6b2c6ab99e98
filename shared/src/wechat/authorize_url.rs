//! URLs of WeChat's pages on which an administrator authorizes the platform.
//!
//! Source: WeChat's "Authorization Process Technical Description".

use super::query::encode_query;
use crate::secret::Secret;

/// `auth_type`: Official Accounts only. Mini programs would be refused later, so they are not offered.
const OFFICIAL_ACCOUNTS_ONLY: &str = "1";

/// Parameters of both authorization pages.
pub struct AuthorizeUrl<'a> {
    /// The platform's own app id.
    pub component_app_id: &'a str,
    /// From `create_preauthcode`; for one attempt.
    pub pre_auth_code: &'a Secret,
    /// Where WeChat sends the browser, with `auth_code` and `expires_in` appended. Its host must be the
    /// authorization domain of the platform; its own query is kept.
    pub redirect_uri: &'a str,
    /// Only this account's administrator may confirm; `None` for any account.
    pub biz_app_id: Option<&'a str>,
}

impl AuthorizeUrl<'_> {
    /// The page with a QR code. `mp_url` is `OAHUB_WECHAT_MP_URL`. WeChat checks
    /// the Referer: it must be opened by a link on the authorization start domain.
    #[must_use]
    pub fn qr_code_page(&self, mp_url: &str) -> String {
        let page = format!("{}/cgi-bin/componentloginpage", mp_url.trim_end_matches('/'));
        format!("{page}{}", encode_query(&self.query_pairs(&[])))
    }

    /// The page for the browser inside WeChat, without a scan. `open_url` is `OAHUB_WECHAT_OPEN_URL`.
    #[must_use]
    pub fn in_wechat_page(&self, open_url: &str) -> String {
        let page = format!("{}/wxaopen/safe/bindcomponent", open_url.trim_end_matches('/'));
        let first = [("action", "bindcomponent"), ("no_scan", "1")];
        format!("{page}{}#wechat_redirect", encode_query(&self.query_pairs(&first)))
    }

    fn query_pairs<'b>(&'b self, first: &[(&'b str, &'b str)]) -> Vec<(&'b str, &'b str)> {
        let mut pairs = first.to_vec();
        pairs.push(("component_appid", self.component_app_id));
        pairs.push(("pre_auth_code", self.pre_auth_code.expose()));
        pairs.push(("redirect_uri", self.redirect_uri));
        pairs.push(("auth_type", OFFICIAL_ACCOUNTS_ONLY));
        pairs.extend(self.biz_app_id.map(|app_id| ("biz_appid", app_id)));
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_get_their_parameters_encoded_and_in_the_documented_order() {
        let code = Secret::new("preauthcode@@@invented0001");
        let mut url = AuthorizeUrl {
            component_app_id: "wx00c0ffee00c0ffee",
            pre_auth_code: &code,
            redirect_uri: "https://hub.example/bind/callback?binding=bnd_1&x=ä b",
            biz_app_id: None,
        };
        assert_eq!(
            url.qr_code_page("https://mp.weixin.qq.com"),
            "https://mp.weixin.qq.com/cgi-bin/componentloginpage?component_appid=wx00c0ffee00c0ffee\
             &pre_auth_code=preauthcode%40%40%40invented0001\
             &redirect_uri=https%3A%2F%2Fhub.example%2Fbind%2Fcallback%3Fbinding%3Dbnd_1%26x%3D%C3%A4%20b\
             &auth_type=1"
        );
        url.biz_app_id = Some("wx5a1b2c3d4e5f6071");
        url.redirect_uri = "https://hub.example/";
        assert_eq!(
            url.in_wechat_page("https://open.weixin.qq.com/"),
            "https://open.weixin.qq.com/wxaopen/safe/bindcomponent?action=bindcomponent&no_scan=1\
             &component_appid=wx00c0ffee00c0ffee&pre_auth_code=preauthcode%40%40%40invented0001\
             &redirect_uri=https%3A%2F%2Fhub.example%2F&auth_type=1&biz_appid=wx5a1b2c3d4e5f6071\
             #wechat_redirect"
        );
    }
}
