//! The API's description (`/openapi.json`, `/docs`), `/healthz`, and what browsers request by themselves.

mod schema;
mod view;
#[cfg(test)]
pub mod vocabulary;

use std::sync::OnceLock;

use askama::Template;
use axum::{
    Json,
    response::{Redirect, Response},
};
use http::{StatusCode, header};
use serde::Serialize;
use shared::html;
use utoipa::ToSchema;

/// Generated from the types by `openapi`, whose test compares the two; the function only serves it.
pub const OPENAPI_JSON: &str = include_str!("../openapi.json");
/// The page's style sheet.
const PAGE_CSS: &str = include_str!("../templates/docs.css");

/// Whether the hub answers.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "ok"}))]
pub struct Health {
    /// `ok`
    status: &'static str,
}

/// Health
#[utoipa::path(get, path = "/healthz", tag = "Description", security(()),
    responses((status = 200, description = "It answers", body = Health)))]
pub async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// The API as OpenAPI 3.1
#[utoipa::path(get, path = "/openapi.json", tag = "Description", security(()),
    responses((status = 200, description = "The document", content_type = "application/json")))]
pub async fn openapi_json() -> ([(header::HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI_JSON)
}

/// The API as a page
///
/// Rendered from the OpenAPI document.
#[utoipa::path(get, path = "/docs", tag = "Description", security(()),
    responses((status = 200, description = "The page", content_type = "text/html")))]
pub async fn docs_page() -> Response {
    static PAGE: OnceLock<String> = OnceLock::new();
    let page = PAGE.get_or_init(|| {
        let document = serde_json::from_str(OPENAPI_JSON).unwrap_or_default();
        view::DocsPage::of(&document, PAGE_CSS).render().unwrap_or_default()
    });
    html::page(StatusCode::OK, PAGE_CSS, page.clone())
}

/// Redirects the bare address to the description.
pub async fn home() -> Redirect {
    Redirect::temporary("/docs")
}

/// The icon that browsers request by themselves: a green ring, 16 and 32 pixels wide.
pub async fn favicon() -> ([(header::HeaderName, &'static str); 2], &'static [u8]) {
    let headers = [(header::CONTENT_TYPE, "image/x-icon"), (header::CACHE_CONTROL, "public, max-age=86400")];
    (headers, include_bytes!("../assets/favicon.ico"))
}
