//! `/wechat/accounts/{app_id}`: what followers say and do.
//!
//! In: one encrypted push. Out: an encrypted passive reply, or `success`, within WeChat's five seconds.
//! Reads: the account with its rules, at most every few seconds. Writes, at the same time: one timeline event,
//! one fan; for what happens to the account itself only the event. Never calls WeChat; queues take such work.
//! A repeated push gets the same reply and has no second effect.

mod commit;
mod push;
mod response;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use shared::{
    config::Need, envelope::CallbackQuery, function::Function, metrics::Metric, services::Services,
};

use response::{PushRejection, text};

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
        Ok(response) => response.into_response(),
        Err(rejection) => rejection_response(&app, rejection),
    }
}

fn rejection_response(app: &Services, rejection: PushRejection) -> Response {
    if matches!(rejection, PushRejection::Refused(_)) {
        app.metrics.count(Metric::RefusedPushes, app.clock.now());
    }
    rejection.into_response()
}
