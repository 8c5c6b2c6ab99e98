//! One origin for everything: the server API, WeChat's pages, the simulator's page and its controls.

use std::future::Future;
use std::io;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::FutureExt;
use http::{StatusCode, header};
use tokio::net::TcpListener;

use crate::api::{Answer, NoAnswer};
use crate::simulator::Simulator;
use crate::{control, pages};

/// Bytes of a request body.
const MAX_BODY: usize = 1 << 20;

/// Everything that the simulator answers over HTTP.
pub fn router(simulator: Simulator) -> Router {
    Router::new().merge(pages::router()).merge(control::router()).fallback(api).with_state(simulator)
}

/// Answers on `listener` and pushes by itself until `shutdown`.
///
/// # Errors
/// What the listener says.
pub async fn serve(
    listener: TcpListener,
    simulator: Simulator,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let shutdown = shutdown.shared();
    let server = axum::serve(listener, router(simulator.clone())).with_graceful_shutdown(shutdown.clone());
    let (served, ()) = tokio::join!(server.into_future(), simulator.run(shutdown));
    served
}

async fn api(State(simulator): State<Simulator>, request: Request) -> Response {
    let method = request.method().as_str().to_owned();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let Ok(body) = axum::body::to_bytes(request.into_body(), MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    match simulator.request(&method, &target, &String::from_utf8_lossy(&body)).await {
        Ok(Answer { status, content_type, body }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
        }
        Err(NoAnswer) => {
            // A body that breaks makes hyper cut the connection.
            let broken = async { Err::<Bytes, _>(io::Error::other(NoAnswer)) }.into_stream();
            Response::new(Body::from_stream(broken))
        }
    }
}
