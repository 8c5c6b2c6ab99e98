//! RFC 9457 problem documents: every error of the tenants' API.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

/// The member with the seconds until a retry makes sense; the header has the same value.
const RETRY_AFTER: &str = "retry_after";

/// An `application/problem+json` answer.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// A URI that names the kind of problem; it ends in the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A stable snake_case word to branch on.
    pub code: String,
    /// What happened, and what to do next.
    pub detail: String,
    /// Members that only some codes have, `errcode` for one.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub extra: Box<Map<String, Value>>, // boxed: results with a problem stay small
}

impl Problem {
    /// A problem with `code`, explained by `detail`.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:oahub:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            extra: Box::default(),
        }
    }

    /// 404: it does not exist, or belongs to another tenant.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("There is no such {what}."))
    }

    /// 422: a body or parameter is invalid.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail)
    }

    /// 409 with `code`.
    pub fn conflict(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 429: retry after so many seconds.
    #[must_use]
    pub fn rate_limited(seconds: i64) -> Self {
        let detail =
            "There were more requests than this hub takes at once. Repeat it when `Retry-After` says.";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).with(RETRY_AFTER, seconds.max(1))
    }

    /// 503: a store or queue did not answer; the request may be repeated.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            "Something behind this request did not answer. Repeat it; with an Idempotency-Key it happens once.",
        )
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110, 15.5.2: a 401 names the scheme
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.extra.get(RETRY_AFTER).and_then(Value::as_i64) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<crate::error::Error> for Problem {
    fn from(error: crate::error::Error) -> Self {
        tracing::error!(%error, "request failed: {error}");
        Self::unavailable()
    }
}
