//! HTTP around [`protocol::handle`].

use std::io;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use http::HeaderMap;
use tokio::net::TcpListener;

use crate::{Sqs, protocol};

/// JSON's escapes can make a batch of 1 MiB six times as long, and attributes and ids are added.
const MAX_REQUEST_BYTES: usize = 8 * 1024 * 1024;

/// Serves SQS requests on `listener` until `shutdown`; then long polls end and open requests are finished.
/// There is no authentication: `listener` belongs on loopback.
pub async fn serve(
    listener: TcpListener,
    sqs: Sqs,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let closing = sqs.clone();
    let app = Router::new().fallback(respond).layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES)).with_state(sqs);
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            shutdown.await;
            closing.end_long_polls();
        })
        .await
}

async fn respond(State(sqs): State<Sqs>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let trace = headers.get(protocol::TRACE_HEADER).and_then(|value| value.to_str().ok());
    let (status, headers, bytes) = protocol::handle_traced(&sqs, target, trace, &body).await;
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(bytes)).unwrap_or_default()
}
