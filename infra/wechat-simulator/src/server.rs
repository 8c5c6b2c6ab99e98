//! One HTTP origin for everything: the server API, WeChat's pages, the simulator's page and its control API.

use std::future::Future;
use std::io;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::FutureExt;
use http::{StatusCode, header};
use tokio::net::TcpListener;

use crate::api::{NoResponse, SimulatedResponse};
use crate::hosts::{AllowedHosts, is_cross_site};
use crate::simulator::Simulator;
use crate::{control_api, pages};

/// Limit of a request body.
const MAX_BODY_BYTES: usize = 1 << 20;

/// All routes of the simulator.
pub fn router(simulator: Simulator) -> Router {
    let people = Router::new().merge(pages::router()).merge(control_api::router());
    people.layer(middleware::from_fn(reject_cross_site)).fallback(api).with_state(simulator)
}

/// Serves `listener` under allowed host names only, and sends pushes, until `shutdown`.
///
/// # Errors
/// What the listener reports.
pub async fn serve(
    listener: TcpListener,
    simulator: Simulator,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let shutdown = shutdown.shared();
    let hosts = AllowedHosts::for_listener(listener.local_addr()?);
    let router = router(simulator.clone()).layer(middleware::from_fn_with_state(hosts, require_known_host));
    let server = axum::serve(listener, router).with_graceful_shutdown(shutdown.clone());
    let (served, ()) = tokio::join!(server.into_future(), simulator.run(shutdown));
    served
}

async fn require_known_host(State(hosts): State<AllowedHosts>, request: Request, next: Next) -> Response {
    if hosts.allows(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "This server is not called so.\n").into_response()
    }
}

/// Only this server's own pages, and programs, may use the authorization pages and the control API.
async fn reject_cross_site(request: Request, next: Next) -> Response {
    if is_cross_site(request.method(), request.headers()) {
        return (StatusCode::FORBIDDEN, "Another site's page may not do this.\n").into_response();
    }
    next.run(request).await
}

async fn api(State(simulator): State<Simulator>, request: Request) -> Response {
    let method = request.method().as_str().to_owned();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let Ok(body) = axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    match simulator.request(&method, &target, &String::from_utf8_lossy(&body)).await {
        Ok(SimulatedResponse { status, content_type, body }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
        }
        Err(NoResponse) => {
            // An error in the body makes hyper close the connection.
            let broken = async { Err::<Bytes, _>(io::Error::other(NoResponse)) }.into_stream();
            Response::new(Body::from_stream(broken))
        }
    }
}
