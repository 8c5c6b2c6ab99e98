//! WeChat's pushes to the third-party platform itself, and the pages on which an account is bound.
//!
//! `POST /wechat/component`: tickets and authorization events; answered `success` once stored, never after a
//! call to WeChat. `GET /bind/{id}` leads to WeChat's authorization page; `GET /bind/callback` is where it
//! leads back to. Event and browser bring a code for the same consent: whichever comes first binds.

mod account_lookup;
mod audit_trail;
mod complete;
mod component_push;
mod consent;
mod consent_origin;
mod jobs;
mod pages;
mod support_code;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use shared::{config::Need, function::Function, services::Services};

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
pub fn function(app: Arc<Services>) -> Function {
    let router = Router::new()
        .route("/wechat/component", post(component_push::receive))
        .route("/bind/callback", get(pages::callback::callback_page))
        .route("/bind/{binding_id}", get(pages::bind::bind_page))
        .layer(DefaultBodyLimit::max(shared::envelope::MAX_BODY_BYTES + 1))
        .with_state(Arc::clone(&app));
    Function::new().http(router).sqs(move |event, until| {
        let app = Arc::clone(&app);
        async move { jobs::run(&app, event, until).await }
    })
}
