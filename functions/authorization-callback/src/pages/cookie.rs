//! The cookie that proves which page a browser opened. Its value is the fingerprint of the page's
//! pre_auth_code, which nobody but the page's reader has seen.

use http::{HeaderMap, HeaderValue, header};
use shared::{
    error::Error,
    model::{authorization::AuthorizationPage, binding::Binding},
    services::Services,
};

/// Longer than a link is valid plus an authorization code.
const MAX_AGE_SECONDS: u32 = 2 * 3600;

/// The name contains the binding's id, so that one browser can have two open. With `__Host-` no other
/// host and no unencrypted response can set it. SameSite=Lax sends it only when a link is followed.
pub(super) fn set_cookie(app: &Services, binding: &Binding, fingerprint: &str) -> Option<HeaderValue> {
    let secure = if is_https(app) { "; Secure" } else { "" };
    let name = cookie_name(app, binding);
    let cookie =
        format!("{name}={fingerprint}; Path=/; Max-Age={MAX_AGE_SECONDS}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&cookie).ok()
}

/// Returns the page of this binding that the browser opened, if its cookie names one.
///
/// # Errors
/// [`Error::Store`].
pub(super) async fn page_of_cookie(
    app: &Services,
    binding: &Binding,
    headers: &HeaderMap,
) -> Result<Option<AuthorizationPage>, Error> {
    let Some(fingerprint) = cookie_value(headers, &cookie_name(app, binding)) else { return Ok(None) };
    let page = app.store.consents().page(&fingerprint).await?;
    Ok(page.filter(|page| page.binding_id == binding.id))
}

fn cookie_name(app: &Services, binding: &Binding) -> String {
    let prefix = if is_https(app) { "__Host-" } else { "" };
    format!("{prefix}oahub_{}", binding.id)
}

fn is_https(app: &Services) -> bool {
    app.config.public_url.starts_with("https://")
}

/// A cookie's value, if it looks like a fingerprint.
fn cookie_value(headers: &HeaderMap, name: &str) -> Option<String> {
    let sent = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies =
        sent.flat_map(|value| value.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    let (_, value) = cookies.find(|(found, _)| *found == name)?;
    (value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit())).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let fingerprint = "ab".repeat(32);
        for (sent, found) in [
            (format!("oahub_bnd_1={fingerprint}"), true),
            (format!("other=1; oahub_bnd_1={fingerprint};  last=2"), true),
            (format!("oahub_bnd_2={fingerprint}"), false),
            (format!("oahub_bnd_1={fingerprint}0"), false),
            ("oahub_bnd_1=BINDING#x".to_owned(), false),
            ("oahub_bnd_1".to_owned(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(header::COOKIE, HeaderValue::from_str(&sent).unwrap());
            assert_eq!(cookie_value(&headers, "oahub_bnd_1").is_some(), found, "{sent}");
        }
    }
}
