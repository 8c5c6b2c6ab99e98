//! Security headers of responses: one layer for every function, and pages with their own inline style.

use axum::response::{IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};
use sha2::{Digest, Sha256};

/// What a page may do: load its own images and nothing else. No script, no frame around it.
const CSP_VALUE: &str =
    "default-src 'none'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Linked sites learn the origin but not the path: WeChat's authorization
/// page checks the origin, and paths contain bindings and codes.
const REFERRER_POLICY_VALUE: &str = "strict-origin-when-cross-origin";
/// A year, the least that browser preload lists accept.
const HSTS: &str = "max-age=31536000";

/// A page whose one `<style>` is exactly `style`; browsers and proxies must not cache it.
#[must_use]
pub fn page(status: StatusCode, style: &str, page: String) -> Response {
    let hash = STANDARD.encode(Sha256::digest(style));
    let mut response = (status, [(CACHE_CONTROL, "no-store")], page).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::from_str(&format!("{CSP_VALUE}; style-src 'sha256-{hash}'")) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Adds the headers of every response, unless it has them; `https` if the browser used HTTPS.
pub fn set_security_headers(headers: &mut HeaderMap, https: bool) {
    let is_page = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"));
    let mut set = |name, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    if https {
        set(STRICT_TRANSPORT_SECURITY, HSTS);
    }
    if is_page {
        set(CONTENT_SECURITY_POLICY, CSP_VALUE);
        set(X_FRAME_OPTIONS, "DENY"); // for the webviews of old phones
        set(REFERRER_POLICY, REFERRER_POLICY_VALUE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_protected_by_what_it_is() {
        for (what, kind, https, has) in [
            ("JSON by http", Some("application/json"), false, [true, false, false, false]),
            ("JSON by https", Some("application/json"), true, [true, true, false, false]),
            ("nothing", None, false, [true, false, false, false]),
            ("a page by http", Some("text/html"), false, [true, false, true, true]),
            ("a page by https", Some("Text/HTML; charset=utf-8"), true, [true, true, true, true]),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(kind.map(|kind| (CONTENT_TYPE, HeaderValue::from_static(kind))));
            set_security_headers(&mut headers, https);
            let names =
                [X_CONTENT_TYPE_OPTIONS, STRICT_TRANSPORT_SECURITY, CONTENT_SECURITY_POLICY, REFERRER_POLICY];
            assert_eq!(names.map(|name| headers.contains_key(name)), has, "{what}");
        }
    }

    #[test]
    fn a_page_allows_its_own_style_and_no_script() {
        let mut response = page(StatusCode::OK, "body { margin: 0 }", "<!doctype html>".into());
        set_security_headers(response.headers_mut(), false);
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(policy.contains("style-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
    }
}
