//! A template as a response, and the page that says one thing.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;

/// A page that says one thing.
#[derive(Template)]
#[template(path = "notice.html")]
struct Notice<'a> {
    title: &'a str,
    detail: &'a str,
}

pub(super) fn notice(status: StatusCode, title: &str, detail: &str) -> Response {
    render(status, &Notice { title, detail })
}

pub(super) fn render(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "could not render a page");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
