//! HTTP around [`Database::call`].

use std::io;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    response::Response,
};
use http::HeaderMap;
use tokio::net::TcpListener;

use super::{Database, operations};

/// DynamoDB's limit of a request.
const MAX_REQUEST_BYTES: usize = 16 * 1024 * 1024;

/// Serves DynamoDB requests on `listener` until `shutdown`. There is no authentication: `listener` belongs on
/// loopback.
///
/// # Errors
/// What the listener says.
pub async fn serve(
    listener: TcpListener,
    database: Database,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app =
        Router::new().fallback(respond).layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES)).with_state(database);
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}

async fn respond(State(database): State<Database>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let (status, json) = database.call(operation, &body).await;
    let response = Response::builder().status(status).header("content-type", operations::CONTENT_TYPE);
    response.body(Body::from(json)).unwrap_or_default()
}
