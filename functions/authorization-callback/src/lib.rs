//! WeChat's pushes to the third-party platform itself, and the pages on which an account is bound.
//!
//! `POST /wechat/component`: tickets and authorization events; answered `success` once stored, never after a
//! call to WeChat. `GET /bind/{id}` leads to WeChat's authorization page; `GET /bind/callback` is where it
//! leads back to. Event and browser bring a code for the same consent: whichever comes first binds.

mod asked;
mod complete;
mod event;
mod heard;
mod jobs;
mod pages;
mod told;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use shared::{app::App, config::Need, function::Function};

/// The settings that it may read.
pub const NEEDS: &[Need] = &[
    Need::ComponentAppId,
    Need::AppSecret,
    Need::PushKeys,
    Need::WeChatApi,
    Need::WeChatPages,
    Need::PublicUrl,
    Need::PlatformTable,
    Need::CredentialsTable,
    Need::WorkTable,
    Need::AuthorizationQueue,
    Need::ImportQueue,
];

/// The function.
#[must_use]
pub fn function(app: Arc<App>) -> Function {
    let router = Router::new()
        .route("/wechat/component", post(event::receive))
        .route("/bind/callback", get(pages::returned::returned))
        .route("/bind/{binding_id}", get(pages::bind::bind))
        .layer(DefaultBodyLimit::max(shared::envelope::MAX_BODY_BYTES + 1))
        .with_state(Arc::clone(&app));
    Function::new().http(router).sqs(move |event, until| {
        let app = Arc::clone(&app);
        async move { jobs::run(&app, event, until).await }
    })
}
