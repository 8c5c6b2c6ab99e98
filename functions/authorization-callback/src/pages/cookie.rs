//! The cookie that proves which page a browser opened. Its value is the fingerprint of the page's
//! pre_auth_code, which nobody but the page's reader has seen.

use http::{HeaderMap, HeaderValue, header};
use shared::{
    app::App,
    error::Error,
    store::{bindings::Binding, consents::OpenedPage},
};

/// Longer than a link is valid plus an authorization code.
const MAX_AGE: u32 = 2 * 3600;

/// The name contains the binding's id, so that one browser can have two open. With `__Host-` no other
/// host and no unencrypted response can set it. SameSite=Lax sends it only when a link is followed.
pub(super) fn set(app: &App, binding: &Binding, fingerprint: &str) -> Option<HeaderValue> {
    let secure = if is_https(app) { "; Secure" } else { "" };
    let name = name(app, binding);
    let cookie = format!("{name}={fingerprint}; Path=/; Max-Age={MAX_AGE}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&cookie).ok()
}

/// Returns the page of this binding that the browser opened, if its cookie names one.
///
/// # Errors
/// [`Error::Store`].
pub(super) async fn page(
    app: &App,
    binding: &Binding,
    headers: &HeaderMap,
) -> Result<Option<OpenedPage>, Error> {
    let Some(fingerprint) = value(headers, &name(app, binding)) else { return Ok(None) };
    let page = app.store.opened_page(&fingerprint).await?;
    Ok(page.filter(|page| page.binding_id == binding.id))
}

fn name(app: &App, binding: &Binding) -> String {
    let prefix = if is_https(app) { "__Host-" } else { "" };
    format!("{prefix}oahub_{}", binding.id)
}

fn is_https(app: &App) -> bool {
    app.config.public_url.starts_with("https://")
}

/// A cookie's value, if it looks like a fingerprint.
fn value(headers: &HeaderMap, name: &str) -> Option<String> {
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
            assert_eq!(value(&headers, "oahub_bnd_1").is_some(), found, "{sent}");
        }
    }
}
