//! The HTTP API for tenants' programs and the operator.
//!
//! | module | what it is |
//! |---|---|
//! | `route` | a route: path, method, policy, handler and description, from one line |
//! | `route_policy` | which key opens a route, which scope it needs, how much a call counts |
//! | `auth` | authenticates the caller and checks scope, status and rate |
//! | `caller` | the authenticated caller as handlers see it, and the ids that a request creates |
//! | `refusals` | the problems of a request whose key does not open what it asks for |
//! | `auth_attempts` | invalid keys: counted, and looked up at a bounded rate |
//! | `rate_limit` | limits the requests of each tenant |
//! | `idempotency` | `Idempotency-Key` |
//! | `seal` | what is stored of a new API key so that a repetition can show it again |
//! | `audit` | the audit log of changes |
//! | `extract` | extractors for paths, queries, bodies and cursors; refusals are problems |
//! | `plain_errors` | serde's errors in plain words |
//! | `names` | checks names that people read |
//! | `routes` | handlers, one file per resource |
//! | `docs` | the description, as JSON and as a page |
//! | `description` | generates the description and its page; compiled in tests only |

mod audit;
mod auth;
mod auth_attempts;
mod caller;
#[cfg(test)]
mod description;
mod docs;
mod extract;
mod idempotency;
mod names;
mod plain_errors;
mod rate_limit;
mod refusals;
mod route;
mod route_policy;
mod routes;
mod seal;

use std::sync::Arc;

use auth::AuthState;
use axum::{
    Router, middleware,
    routing::{MethodRouter, get},
};
use http::{Method, StatusCode};
use route::{Route, route};
use route_policy::{FILTERED_LIST_WEIGHT, LIST_WEIGHT, RoutePolicy};
use routes::{
    accounts, audit as audit_log, bindings, customers, events, imports, keys, messages, platform, queues,
    reply_rules, tenants,
};
use shared::{config::Need, function::Function, model::scope::Scope, problem::Problem, services::Services};

/// The settings that the function reads.
pub const NEEDS: &[Need] = &[
    Need::ComponentAppId,
    Need::PublicUrl,
    Need::AdminKey,
    Need::TenantRates,
    Need::PlatformTable,
    Need::CustomersTable,
    Need::TimelineTable,
    Need::WorkTable,
    Need::AuthorizationQueue,
    Need::RefreshQueue,
    Need::ImportQueue,
    Need::FollowerQueue,
    Need::SendQueue,
    Need::ResultQueue,
    Need::DeadLetters,
];

/// `tenant-api`: HTTP alone.
#[must_use]
pub fn function(app: Arc<Services>) -> Function {
    Function::new().http(router(app))
}

/// The routes of the API, in the order of its description.
fn api_routes() -> Vec<Route> {
    let tenant = |scope| Some(RoutePolicy::tenant(scope));
    let list = |scope| Some(RoutePolicy::tenant(scope).with_weight(LIST_WEIGHT));
    let filtered_list = |scope| Some(RoutePolicy::tenant(scope).with_weight(FILTERED_LIST_WEIGHT));
    let operator = || Some(RoutePolicy::operator());
    vec![
        route!(Some(RoutePolicy::operator().with_key_member("api_key")), tenants::create_tenant),
        route!(operator(), tenants::list_tenants),
        route!(operator(), tenants::get_tenant),
        route!(operator(), tenants::change_tenant),
        route!(operator(), tenants::delete_tenant),
        route!(Some(RoutePolicy::operator().with_key_member("key")), tenants::create_tenant_key),
        route!(operator(), tenants::list_tenant_keys),
        route!(operator(), tenants::revoke_tenant_key),
        route!(operator(), platform::get_platform),
        route!(operator(), accounts::release_account),
        route!(operator(), queues::list_queues),
        route!(operator(), queues::list_dead_letters),
        route!(operator(), queues::redrive),
        route!(list(Scope::Keys), keys::list_keys),
        route!(Some(RoutePolicy::tenant(Scope::Keys).with_key_member("key")), keys::create_key),
        route!(tenant(Scope::Keys), keys::revoke_key),
        route!(Some(RoutePolicy::both(Scope::Keys).with_weight(FILTERED_LIST_WEIGHT)), audit_log::list_audit),
        route!(tenant(Scope::Bind), bindings::create_binding),
        route!(tenant(Scope::Read), bindings::get_binding),
        route!(tenant(Scope::Bind), bindings::delete_binding),
        route!(list(Scope::Read), accounts::list_accounts),
        route!(tenant(Scope::Read), accounts::get_account),
        route!(tenant(Scope::Bind), accounts::delete_account),
        route!(filtered_list(Scope::Read), events::list_account_events),
        route!(list(Scope::Read), imports::list_imports),
        route!(tenant(Scope::Configure), imports::start_import),
        route!(tenant(Scope::Read), imports::get_import),
        route!(tenant(Scope::Read), reply_rules::get_reply_rules),
        route!(tenant(Scope::Configure), reply_rules::put_reply_rules),
        route!(tenant(Scope::Send), messages::send_message),
        route!(tenant(Scope::Read), messages::get_message),
        route!(filtered_list(Scope::Read), customers::list_customers),
        route!(tenant(Scope::Read), customers::get_customer),
        route!(filtered_list(Scope::Read), events::list_customer_events),
        route!(None, docs::healthz),
        route!(None, docs::openapi_json),
        route!(None, docs::docs_page),
    ]
}

/// Routes for browsers, not part of the API.
fn browser_routes() -> [(&'static str, MethodRouter<Arc<Services>>); 2] {
    [("/", get(docs::home)), ("/favicon.ico", get(docs::favicon))]
}

fn router(app: Arc<Services>) -> Router {
    let auth = Arc::new(AuthState::new(Arc::clone(&app)));
    let mut router = Router::new();
    for route in api_routes() {
        let handler = match route.policy {
            Some(policy) => route.handler.route_layer(middleware::from_fn_with_state(
                (Arc::clone(&auth), policy),
                auth::authorize_request,
            )),
            None => route.handler,
        };
        router = router.route(&route.path, handler);
    }
    for (path, handler) in browser_routes() {
        router = router.route(path, handler);
    }
    router
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
