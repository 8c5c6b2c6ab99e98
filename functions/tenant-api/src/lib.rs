//! The tenants' API: what their programs and the operator's call.
//!
//! | module | what it is |
//! |---|---|
//! | `guard` | who calls, and `Idempotency-Key` |
//! | `params` | paths, queries, bodies and cursors, refused as problems |
//! | `routes` | one file a resource |
//! | `openapi`, `docs` | the description, from the same types |

mod docs;
mod guard;
mod openapi;
mod params;
mod routes;

use std::sync::Arc;

use axum::{Router, middleware};
use http::{Method, StatusCode};
use shared::{app::App, function::Function, problem::Problem};
use utoipa_axum::{router::OpenApiRouter, routes};

/// `tenant-api`: HTTP alone.
#[must_use]
pub fn function(app: Arc<App>) -> Function {
    Function::new().http(router(app))
}

/// The description of the API, as `/openapi.json` serves it.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    openapi::complete(described().into_openapi())
}

fn admin() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(routes::platform::create_tenant))
        .routes(routes!(routes::platform::get_platform))
}

fn tenant() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(routes::bindings::create_binding))
        .routes(routes!(routes::bindings::get_binding))
        .routes(routes!(routes::accounts::list_accounts))
        .routes(routes!(routes::accounts::get_account, routes::accounts::delete_account))
        .routes(routes!(routes::imports::list_imports, routes::imports::start_import))
        .routes(routes!(routes::imports::get_import))
        .routes(routes!(routes::reply_rules::get_reply_rules, routes::reply_rules::put_reply_rules))
        .routes(routes!(routes::messages::send_message))
        .routes(routes!(routes::messages::get_message))
        .routes(routes!(routes::customers::list_customers))
        .routes(routes!(routes::customers::get_customer))
        .routes(routes!(routes::customers::list_events))
}

fn public() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(docs::healthz))
        .routes(routes!(docs::openapi_json))
        .routes(routes!(docs::docs_page))
}

fn described() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::base()).merge(admin()).merge(tenant()).merge(public())
}

fn router(app: Arc<App>) -> Router {
    let admin =
        Router::from(admin()).route_layer(middleware::from_fn_with_state(Arc::clone(&app), guard::admin));
    let tenant =
        Router::from(tenant()).route_layer(middleware::from_fn_with_state(Arc::clone(&app), guard::tenant));
    admin
        .merge(tenant)
        .merge(Router::from(public()))
        .fallback(async || Problem::not_found("route"))
        .method_not_allowed_fallback(async |method: Method| {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("This route does not take {method}; the Allow header names what it takes."),
            )
        })
        .with_state(app)
}
