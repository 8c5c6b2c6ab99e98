//! How a push is answered.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use shared::{envelope::CallbackError, error::Error};

/// The response to a push.
pub(crate) enum PushResponse {
    /// `success`: no reply, and WeChat does not push again.
    Success,
    /// An empty body, which WeChat's release check expects.
    Empty,
    /// An encrypted passive reply.
    Reply(String),
}

/// Why a push is rejected.
pub(crate) enum PushRejection {
    /// Its signature is not WeChat's, or it cannot be read.
    Refused(CallbackError),
    /// The path holds no possible app id.
    UnknownAccount,
    /// The account is being bound: WeChat pushes again, and then finds it bound.
    BeingBound,
    /// The body is for another account.
    WrongAccount,
    /// The store or a queue did not answer: WeChat pushes again.
    Unavailable(Error),
}

impl IntoResponse for PushResponse {
    fn into_response(self) -> Response {
        match self {
            Self::Success => text(StatusCode::OK, "success".into()),
            Self::Empty => text(StatusCode::OK, String::new()),
            Self::Reply(xml) => ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], xml).into_response(),
        }
    }
}

impl IntoResponse for PushRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => {
                tracing::warn!(reason = %refusal, "a push was refused: {refusal}");
                let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
                text(status, refusal.to_string())
            }
            Self::UnknownAccount => text(StatusCode::NOT_FOUND, "no such account".into()),
            Self::BeingBound => {
                tracing::info!("a push came while its account is being bound");
                text(StatusCode::SERVICE_UNAVAILABLE, "the account is being bound; push again".into())
            }
            Self::WrongAccount => text(StatusCode::BAD_REQUEST, "the body is for another account".into()),
            Self::Unavailable(error) => {
                tracing::error!(%error, "a push could not be stored: {error}");
                text(StatusCode::SERVICE_UNAVAILABLE, "not stored; push again".into())
            }
        }
    }
}

pub(crate) fn text(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}
