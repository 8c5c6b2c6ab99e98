//! What browsers open: WeChat's authorization page and the simulator's own page.

mod authorization_page;
mod render;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};

use crate::simulator::Simulator;
use render::render;

/// The routes; the simulator is added as state later.
pub(crate) fn router() -> Router<Simulator> {
    Router::new()
        .route("/", get(home))
        .route("/cgi-bin/componentloginpage", get(authorization_page::page))
        .route("/safe/bindcomponent", get(authorization_page::page))
        .route("/wxaopen/safe/bindcomponent", get(authorization_page::page))
        .route("/_sim/consent", post(authorization_page::consent))
        .route("/_sim/assets/style.css", get(style))
        .route("/_sim/assets/app.js", get(script))
}

/// The simulator's page; its script fills it from `/_sim/…`.
#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    component: &'a str,
    hub: &'a str,
}

async fn home(State(simulator): State<Simulator>) -> Response {
    let hub = simulator.component_url().trim_end_matches("/wechat/component");
    render(StatusCode::OK, &Home { component: &simulator.component().app_id, hub })
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../../templates/style.css"))
}

async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../../templates/app.js"))
}
