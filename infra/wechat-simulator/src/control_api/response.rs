//! What the routes have in common: refusals, and pages of lists.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::error::ApiError;

/// A refused request: 422 with WeChat's error code and message.
pub struct Unprocessable(ApiError);

impl From<ApiError> for Unprocessable {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Unprocessable {
    fn into_response(self) -> Response {
        let body = json!({"errcode": self.0.errcode, "errmsg": self.0.errmsg});
        (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
    }
}

/// An answer of the control API.
pub type ControlResult<T> = Result<Json<T>, Unprocessable>;

/// A part of a list.
#[derive(Deserialize)]
pub struct PageQuery {
    pub offset: Option<usize>,
    pub limit: Option<usize>,
}
