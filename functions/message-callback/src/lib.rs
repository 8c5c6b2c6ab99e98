//! `/wechat/accounts/{app_id}`: what followers say and do.
//!
//! In: one encrypted push. Out: an encrypted passive reply, or `success`, within WeChat's five seconds.
//! Reads: the account with its rules, at most every few seconds. Writes, at the same time: one timeline event,
//! one fan; for what happens to the account itself only the event. Never calls WeChat; queues take such work.
//! A repeated push gets the same reply and has no second effect.

mod push;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use shared::{
    config::Need,
    envelope::{CallbackError, CallbackQuery},
    function::Function,
    metrics::Metric,
    services::Services,
};

/// The response to a push.
enum PushResponse {
    /// `success`: no reply, and WeChat does not push again.
    Success,
    /// An empty body, which WeChat's release check expects.
    Empty,
    /// An encrypted passive reply.
    Reply(String),
}

/// Why a push is rejected.
enum PushRejection {
    /// Its signature is not WeChat's, or it cannot be read.
    Refused(CallbackError),
    /// The path holds no possible app id.
    UnknownAccount,
    /// The account is being bound: WeChat pushes again, and then finds it bound.
    BeingBound,
    /// The body is for another account.
    WrongAccount,
    /// The store or a queue did not answer: WeChat pushes again.
    Unavailable(shared::error::Error),
}

/// The settings that it may read.
pub const NEEDS: &[Need] = &[
    Need::ComponentAppId,
    Need::PushKeys,
    Need::TimelineDays,
    Need::PlatformTable,
    Need::CustomersTable,
    Need::TimelineTable,
    Need::FollowerQueue,
    Need::SendQueue,
    Need::ResultQueue,
];

/// The function.
#[must_use]
pub fn function(app: Arc<Services>) -> Function {
    let router = Router::new()
        .route("/wechat/accounts/{app_id}", get(verify).post(receive))
        .layer(DefaultBodyLimit::max(shared::envelope::MAX_BODY_BYTES + 1))
        .with_state(app);
    Function::new().http(router)
}

async fn verify(State(app): State<Arc<Services>>, Query(query): Query<CallbackQuery>) -> Response {
    match app.envelope.verify_url(&query) {
        Ok(echo) => text(StatusCode::OK, echo),
        Err(refusal) => rejection_response(&app, PushRejection::Refused(refusal)),
    }
}

async fn receive(
    State(app): State<Arc<Services>>,
    Path(app_id): Path<String>,
    Query(query): Query<CallbackQuery>,
    body: Bytes,
) -> Response {
    match push::handle_push(&app, &app_id, &query, &body).await {
        Ok(PushResponse::Success) => text(StatusCode::OK, "success".into()),
        Ok(PushResponse::Empty) => text(StatusCode::OK, String::new()),
        Ok(PushResponse::Reply(xml)) => {
            ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], xml).into_response()
        }
        Err(rejection) => rejection_response(&app, rejection),
    }
}

fn rejection_response(app: &Services, rejection: PushRejection) -> Response {
    if matches!(rejection, PushRejection::Refused(_)) {
        app.metrics.count(Metric::RefusedPushes, app.clock.now());
    }
    rejection.into_response()
}

fn text(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
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
