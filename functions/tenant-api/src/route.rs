//! A route of the API: what serves it and what describes it, from one registration.
//!
//! Path and method stand in the handler's `#[utoipa::path]`, and nowhere else.

use std::sync::Arc;

use axum::{
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};
use shared::services::Services;
use utoipa::{
    __dev::{SchemaReferences, Tags},
    Path,
    openapi::path::HttpMethod,
};

use crate::route_policy::RoutePolicy;

/// A registered route.
pub struct Route {
    /// As in the description: `/v1/keys/{id}`.
    pub path: String,
    /// Who may call it; [`None`] for everybody, without a key.
    pub policy: Option<RoutePolicy>,
    /// Serves it.
    pub handler: MethodRouter<Arc<Services>>,
    /// Describes it.
    #[cfg(test)]
    pub description: Description,
}

/// What the API's description says of a route.
#[cfg(test)]
pub struct Description {
    /// Its method.
    pub method: HttpMethod,
    /// Its parameters, body and responses.
    pub operation: fn() -> utoipa::openapi::path::Operation,
    /// Its group.
    pub tags: fn() -> Vec<&'static str>,
    /// Collects the schemas that these name.
    pub schemas: fn(&mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>),
}

impl Route {
    /// The route that `P`, which utoipa makes for each described handler, describes.
    pub fn new<P, H, T>(policy: Option<RoutePolicy>, handler: H) -> Self
    where
        P: Path + SchemaReferences + Tags<'static>,
        H: Handler<T, Arc<Services>>,
        T: 'static,
    {
        let method = P::methods().into_iter().next().unwrap_or(HttpMethod::Get);
        Self {
            path: P::path(),
            policy,
            handler: on(filter(&method), handler),
            #[cfg(test)]
            description: Description { method, operation: P::operation, tags: P::tags, schemas: P::schemas },
        }
    }
}

fn filter(method: &HttpMethod) -> MethodFilter {
    match method {
        HttpMethod::Get => MethodFilter::GET,
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Delete => MethodFilter::DELETE,
        HttpMethod::Patch => MethodFilter::PATCH,
        HttpMethod::Options => MethodFilter::OPTIONS,
        HttpMethod::Head => MethodFilter::HEAD,
        HttpMethod::Trace => MethodFilter::TRACE,
    }
}

/// `route!(policy, module::handler)`: registers a handler with its description.
macro_rules! route {
    ($policy:expr, $module:ident::$handler:ident) => {
        pastey::paste! { Route::new::<$module::[<__path_ $handler>], _, _>($policy, $module::$handler) }
    };
}
pub(crate) use route;
