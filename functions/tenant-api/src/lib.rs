//! The tenants' API: what their programs and the operator's call.
//!
//! | module | what it is |
//! |---|---|
//! | `guard` | who calls, and `Idempotency-Key` |
//! | `params` | paths, queries, bodies and cursors, refused as problems |
//! | `routes` | one file a resource |
//! | `docs` | the description, as JSON and as a page |
//! | `openapi` | makes the description from the same types, and holds it and the routes together: tests alone need it |

mod docs;
mod guard;
#[cfg(test)]
mod openapi;
mod params;
mod routes;

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{MethodRouter, get, post},
};
use http::{Method, StatusCode};
use routes::{accounts, bindings, customers, imports, messages, platform, reply_rules};
use shared::{app::App, config::Need, function::Function, problem::Problem};

/// What it is told, and nothing else.
pub const NEEDS: &[Need] = &[
    Need::ComponentAppId,
    Need::PublicUrl,
    Need::AdminKey,
    Need::PlatformTable,
    Need::CredentialsTable,
    Need::CustomersTable,
    Need::TimelineTable,
    Need::WorkTable,
    Need::ImportQueue,
    Need::SendQueue,
];

/// `tenant-api`: HTTP alone.
#[must_use]
pub fn function(app: Arc<App>) -> Function {
    Function::new().http(router(app))
}

/// A path and what answers there.
type Route = (&'static str, MethodRouter<Arc<App>>);

/// Opened by the operator's key.
fn admin() -> [Route; 2] {
    [("/v1/tenants", post(platform::create_tenant)), ("/v1/platform", get(platform::get_platform))]
}

/// Opened by a tenant's key.
fn tenant() -> [Route; 12] {
    [
        ("/v1/bindings", post(bindings::create_binding)),
        ("/v1/bindings/{id}", get(bindings::get_binding)),
        ("/v1/accounts", get(accounts::list_accounts)),
        ("/v1/accounts/{app_id}", get(accounts::get_account).delete(accounts::delete_account)),
        ("/v1/accounts/{app_id}/imports", get(imports::list_imports).post(imports::start_import)),
        ("/v1/accounts/{app_id}/imports/{id}", get(imports::get_import)),
        (
            "/v1/accounts/{app_id}/reply-rules",
            get(reply_rules::get_reply_rules).put(reply_rules::put_reply_rules),
        ),
        ("/v1/accounts/{app_id}/messages", post(messages::send_message)),
        ("/v1/messages/{id}", get(messages::get_message)),
        ("/v1/customers", get(customers::list_customers)),
        ("/v1/customers/{id}", get(customers::get_customer)),
        ("/v1/customers/{id}/timeline", get(customers::list_events)),
    ]
}

/// Open to everybody.
fn public() -> [Route; 3] {
    [
        ("/healthz", get(docs::healthz)),
        ("/openapi.json", get(docs::openapi_json)),
        ("/docs", get(docs::docs_page)),
    ]
}

/// For people and their browsers: no part of the API.
fn browsers() -> [Route; 2] {
    [("/", get(docs::home)), ("/favicon.ico", get(docs::favicon))]
}

fn routed(routes: impl IntoIterator<Item = Route>) -> Router<Arc<App>> {
    routes.into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods))
}

fn router(app: Arc<App>) -> Router {
    let admin = routed(admin()).route_layer(middleware::from_fn_with_state(Arc::clone(&app), guard::admin));
    let tenant =
        routed(tenant()).route_layer(middleware::from_fn_with_state(Arc::clone(&app), guard::tenant));
    admin
        .merge(tenant)
        .merge(routed(public()))
        .merge(routed(browsers()))
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
