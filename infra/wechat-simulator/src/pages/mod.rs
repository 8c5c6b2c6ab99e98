//! What browsers open: WeChat's authorization page and the simulator's own page.

mod authorization_page;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};

use crate::simulator::Simulator;

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
    let (component, _) = simulator.platform();
    let hub = simulator.component_url();
    let hub = hub.trim_end_matches("/wechat/component");
    render(StatusCode::OK, &Home { component: &component.app_id, hub })
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "notice.html")]
struct Notice<'a> {
    title: &'a str,
    detail: &'a str,
}

fn notice(status: StatusCode, title: &str, detail: &str) -> Response {
    render(status, &Notice { title, detail })
}

fn render(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "could not render a page");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../../templates/style.css"))
}

async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../../templates/app.js"))
}
