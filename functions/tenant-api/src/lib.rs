//! The HTTP API for tenants' programs and the operator.
//!
//! | module | what it is |
//! |---|---|
//! | `route_policy` | which key opens a route, which scope it needs, how much a call counts |
//! | `auth` | authenticates the caller and checks scope, status and rate |
//! | `caller` | the authenticated caller as handlers see it, and the ids that a request creates |
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
//! | `openapi` | generates the description and compares it with the routes; compiled in tests only |

mod audit;
mod auth;
mod auth_attempts;
mod caller;
mod docs;
mod extract;
mod idempotency;
mod names;
#[cfg(test)]
mod openapi;
mod plain_errors;
mod rate_limit;
mod route_policy;
mod routes;
mod seal;

use std::sync::Arc;

use auth::AuthState;
use axum::{
    Router, middleware,
    routing::{MethodRouter, delete, get, patch, post, put},
};
use http::{Method, StatusCode};
use route_policy::{FILTERED_LIST_WEIGHT, LIST_WEIGHT, RoutePolicy};
use routes::{
    accounts, bindings, customers, events, imports, keys, messages, platform, queues, reply_rules, tenants,
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

/// The handler of one method of one path.
type Handler = MethodRouter<Arc<Services>>;
/// A path with the policy and handler of each method.
type Route = (&'static str, Vec<(RoutePolicy, Handler)>);

/// The routes that need a key: everything below `/v1`.
fn authenticated_routes() -> Vec<Route> {
    let tenant = RoutePolicy::tenant;
    let operator = RoutePolicy::operator;
    vec![
        (
            "/v1/tenants",
            vec![
                (operator().with_key_member("api_key"), post(tenants::create_tenant)),
                (operator(), get(tenants::list_tenants)),
            ],
        ),
        (
            "/v1/tenants/{id}",
            vec![
                (operator(), get(tenants::get_tenant)),
                (operator(), patch(tenants::change_tenant)),
                (operator(), delete(tenants::delete_tenant)),
            ],
        ),
        (
            "/v1/tenants/{id}/keys",
            vec![(operator().with_key_member("key"), post(tenants::create_tenant_key))],
        ),
        ("/v1/platform", vec![(operator(), get(platform::get_platform))]),
        ("/v1/platform/accounts/{app_id}/release", vec![(operator(), post(accounts::release_account))]),
        ("/v1/platform/queues", vec![(operator(), get(queues::list_queues))]),
        ("/v1/platform/queues/{name}/dead-letters", vec![(operator(), get(queues::list_dead_letters))]),
        ("/v1/platform/queues/{name}/redrive", vec![(operator(), post(queues::redrive))]),
        (
            "/v1/keys",
            vec![
                (tenant(Scope::Keys).with_weight(LIST_WEIGHT), get(keys::list_keys)),
                (tenant(Scope::Keys).with_key_member("key"), post(keys::create_key)),
            ],
        ),
        ("/v1/keys/{id}", vec![(tenant(Scope::Keys), delete(keys::revoke_key))]),
        (
            "/v1/audit",
            vec![(
                RoutePolicy::both(Scope::Keys).with_weight(FILTERED_LIST_WEIGHT),
                get(routes::audit::list_audit),
            )],
        ),
        ("/v1/bindings", vec![(tenant(Scope::Bind), post(bindings::create_binding))]),
        (
            "/v1/bindings/{id}",
            vec![
                (tenant(Scope::Read), get(bindings::get_binding)),
                (tenant(Scope::Bind), delete(bindings::delete_binding)),
            ],
        ),
        ("/v1/accounts", vec![(tenant(Scope::Read).with_weight(LIST_WEIGHT), get(accounts::list_accounts))]),
        (
            "/v1/accounts/{app_id}",
            vec![
                (tenant(Scope::Read), get(accounts::get_account)),
                (tenant(Scope::Bind), delete(accounts::delete_account)),
            ],
        ),
        (
            "/v1/accounts/{app_id}/events",
            vec![(tenant(Scope::Read).with_weight(FILTERED_LIST_WEIGHT), get(events::list_account_events))],
        ),
        (
            "/v1/accounts/{app_id}/imports",
            vec![
                (tenant(Scope::Read).with_weight(LIST_WEIGHT), get(imports::list_imports)),
                (tenant(Scope::Configure), post(imports::start_import)),
            ],
        ),
        ("/v1/accounts/{app_id}/imports/{id}", vec![(tenant(Scope::Read), get(imports::get_import))]),
        (
            "/v1/accounts/{app_id}/reply-rules",
            vec![
                (tenant(Scope::Read), get(reply_rules::get_reply_rules)),
                (tenant(Scope::Configure), put(reply_rules::put_reply_rules)),
            ],
        ),
        ("/v1/accounts/{app_id}/messages", vec![(tenant(Scope::Send), post(messages::send_message))]),
        ("/v1/messages/{id}", vec![(tenant(Scope::Read), get(messages::get_message))]),
        (
            "/v1/customers",
            vec![(tenant(Scope::Read).with_weight(FILTERED_LIST_WEIGHT), get(customers::list_customers))],
        ),
        ("/v1/customers/{id}", vec![(tenant(Scope::Read), get(customers::get_customer))]),
        (
            "/v1/customers/{id}/timeline",
            vec![(tenant(Scope::Read).with_weight(FILTERED_LIST_WEIGHT), get(events::list_customer_events))],
        ),
    ]
}

/// The routes that need no key.
fn public_routes() -> [(&'static str, Handler); 3] {
    [
        ("/healthz", get(docs::healthz)),
        ("/openapi.json", get(docs::openapi_json)),
        ("/docs", get(docs::docs_page)),
    ]
}

/// Routes for browsers, not part of the API.
fn browser_routes() -> [(&'static str, Handler); 2] {
    [("/", get(docs::home)), ("/favicon.ico", get(docs::favicon))]
}

fn router(app: Arc<Services>) -> Router {
    let gate = Arc::new(AuthState::new(Arc::clone(&app)));
    let guarded = |(rule, handler): (RoutePolicy, Handler)| {
        handler
            .route_layer(middleware::from_fn_with_state((Arc::clone(&gate), rule), auth::authorize_request))
    };
    let mut router = Router::new();
    for (path, handlers) in authenticated_routes() {
        let methods = handlers.into_iter().map(guarded).fold(MethodRouter::new(), MethodRouter::merge);
        router = router.route(path, methods);
    }
    for (path, handler) in public_routes().into_iter().chain(browser_routes()) {
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
