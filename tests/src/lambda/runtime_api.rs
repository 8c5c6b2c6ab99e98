//! The Lambda Runtime API of one instance, version 2018-06-01.
//!
//! # Source
//! AWS Lambda developer guide, "Using the Lambda runtime API for custom runtimes".

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::Value;
use shared::clock::{Clock, SystemClock};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

/// Lambda accepts responses of 6 MB; slightly more here, so that this double does not refuse them first.
const MAX_RESPONSE_BYTES: usize = 7 * 1024 * 1024;

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvocationOutcome {
    /// `/response`.
    Response(Vec<u8>),
    /// `/error`: `errorType` and `errorMessage`.
    Error {
        /// The header `Lambda-Runtime-Function-Error-Type`, or the body's `errorType`.
        kind: String,
        /// `errorMessage`.
        message: String,
    },
    /// The process exited before it responded.
    Exited,
    /// It timed out.
    TimedOut,
}

struct Invocation {
    id: String,
    event: Bytes,
    trace: String,
    deadline_ms: i64,
}

struct RuntimeState {
    function: String,
    invocations: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    waiting: Mutex<HashMap<String, oneshot::Sender<InvocationOutcome>>>,
    first_next: watch::Sender<Option<Instant>>,
    init_error: watch::Sender<Option<InvocationOutcome>>,
}

/// The API of one instance, listening on its own port until dropped.
pub struct RuntimeApi {
    /// `AWS_LAMBDA_RUNTIME_API`.
    pub address: SocketAddr,
    invocations: mpsc::UnboundedSender<Invocation>,
    shared: Arc<RuntimeState>,
    server: JoinHandle<()>,
}

impl RuntimeApi {
    /// Listens.
    pub async fn start(function: &str) -> Self {
        let (invocations, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(RuntimeState {
            function: function.to_owned(),
            invocations: tokio::sync::Mutex::new(receiver),
            waiting: Mutex::default(),
            first_next: watch::Sender::new(None),
            init_error: watch::Sender::new(None),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .layer(DefaultBodyLimit::max(MAX_RESPONSE_BYTES))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, invocations, shared, server }
    }

    /// Hands one event to the runtime at its next `next`, and waits for the outcome.
    pub async fn invoke(
        &self,
        event: impl Into<Bytes>,
        trace: String,
        timeout: Duration,
    ) -> InvocationOutcome {
        let (sender, receiver) = oneshot::channel();
        let id = shared::ids::fresh("", &SystemClock, &shared::random::StdRandom::from_system().unwrap());
        lock(&self.shared.waiting).insert(id.clone(), sender);
        let timeout_ms = i64::try_from(timeout.as_millis()).unwrap();
        let deadline_ms = SystemClock.now().as_millisecond() + timeout_ms;
        self.invocations.send(Invocation { id, event: event.into(), trace, deadline_ms }).unwrap();
        match tokio::time::timeout(timeout, receiver).await {
            Ok(outcome) => outcome.unwrap(),
            Err(_) => InvocationOutcome::TimedOut,
        }
    }

    /// When the runtime asked for its first invocation.
    #[must_use]
    pub fn first_next(&self) -> watch::Receiver<Option<Instant>> {
        self.shared.first_next.subscribe()
    }

    /// The runtime's init error, if it reported one.
    #[must_use]
    pub fn init_error(&self) -> Option<InvocationOutcome> {
        self.shared.init_error.borrow().clone()
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next(State(shared): State<Arc<RuntimeState>>) -> Response {
    shared.first_next.send_if_modified(|first| {
        let is_first = first.is_none();
        first.get_or_insert_with(Instant::now);
        is_first
    });
    let Some(invocation) = shared.invocations.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", invocation.id),
        ("lambda-runtime-deadline-ms", invocation.deadline_ms.to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            format!("arn:aws:lambda:us-east-1:000000000000:function:{}", shared.function),
        ),
        ("lambda-runtime-trace-id", invocation.trace),
    ];
    (headers, invocation.event).into_response()
}

async fn response(State(shared): State<Arc<RuntimeState>>, Path(id): Path<String>, body: Bytes) -> Response {
    complete_invocation(&shared, &id, InvocationOutcome::Response(body.into()))
}

async fn error(
    State(shared): State<Arc<RuntimeState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    complete_invocation(&shared, &id, error_outcome(&headers, &body))
}

async fn init_error(State(shared): State<Arc<RuntimeState>>, headers: HeaderMap, body: Bytes) -> Response {
    shared.init_error.send_replace(Some(error_outcome(&headers, &body)));
    accepted()
}

fn error_outcome(headers: &HeaderMap, body: &[u8]) -> InvocationOutcome {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let header = headers.get("lambda-runtime-function-error-type").and_then(|v| v.to_str().ok());
    let kind = header.or(body["errorType"].as_str()).unwrap_or_default().to_owned();
    InvocationOutcome::Error { kind, message: body["errorMessage"].as_str().unwrap_or_default().to_owned() }
}

/// Refuses a response to an unknown or timed-out invocation, as Lambda does.
fn complete_invocation(shared: &RuntimeState, id: &str, outcome: InvocationOutcome) -> Response {
    match lock(&shared.waiting).remove(id) {
        Some(waiting) => {
            let _ = waiting.send(outcome); // its caller may have given up
            accepted()
        }
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, [("content-type", "application/json")], r#"{"status":"OK"}"#).into_response()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
