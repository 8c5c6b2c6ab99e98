//! How a function is wired: one value that takes any event JSON that Lambda delivers, so that the local runner
//! and the Lambda runtime call the very same code.

use std::{process::ExitCode, sync::Arc, time::Duration};

pub use aws_lambda_events::sqs::SqsEvent;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse};
use axum::response::IntoResponse;
use futures::future::BoxFuture;
use lambda_http::{
    Adapter, LambdaEvent,
    request::{LambdaRequest, RequestContext},
    tower::ServiceExt,
};
use serde_json::Value;
use thiserror::Error;
use tracing::Instrument;

use crate::{
    config::Need,
    deadline::Deadline,
    html,
    problem::Problem,
    services::{Services, StartError},
    telemetry,
    wechat::{
        http::HttpTransport,
        transport::{NoTransport, Transport},
    },
};

/// Lambda returns at most 6 MB of JSON, in which a body is escaped or base64-encoded.
const MAX_RESPONSE_BYTES: usize = 6 * 1024 * 1024;
/// The part of it that is reserved for status and headers, of which API Gateway takes 10 KB.
const STATUS_AND_HEADERS_BYTES: usize = 16 * 1024;

/// Time between the end of a handler's work and the end of its invocation: for
/// the store and queue requests after the last call, and for the response.
pub const DEADLINE_MARGIN: Duration = Duration::from_secs(2);

type Handler<E, R> = Arc<dyn Fn(E, Deadline) -> BoxFuture<'static, Result<R, FunctionError>> + Send + Sync>;

/// A failed invocation: Lambda then retries a schedule, and SQS delivers the whole batch again.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct FunctionError(pub String);

impl From<crate::error::Error> for FunctionError {
    fn from(error: crate::error::Error) -> Self {
        Self(error.to_string())
    }
}

/// A function: one optional handler for each kind of event. An event of a kind without a handler is an error.
#[derive(Clone, Default)]
pub struct Function {
    http: Option<Handler<Value, Value>>,
    sqs: Option<Handler<SqsEvent, SqsBatchResponse>>,
    schedule: Option<Handler<Value, ()>>,
}

impl Function {
    /// A function without handlers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Handles API Gateway's HTTP API events (payload 2.0) with `router`.
    /// A request's extensions hold the [`Deadline`] for its response.
    #[must_use]
    pub fn http(mut self, router: axum::Router) -> Self {
        self.http = Some(Arc::new(move |event, until| {
            let router = router.clone();
            Box::pin(async move { respond(router, event, until).await })
        }));
        self
    }

    /// Handles batches of SQS messages; the handler returns the ids that failed, before its deadline.
    #[must_use]
    pub fn sqs<F>(mut self, handler: impl Fn(SqsEvent, Deadline) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<String>> + Send + 'static,
    {
        self.sqs = Some(Arc::new(move |event, until| {
            let failed = handler(event, until);
            Box::pin(async move {
                let mut answer = SqsBatchResponse::default();
                answer.batch_item_failures = failed
                    .await
                    .into_iter()
                    .map(|id| {
                        let mut failure = BatchItemFailure::default();
                        failure.item_identifier = id;
                        failure
                    })
                    .collect();
                Ok(answer)
            })
        }));
        self
    }

    /// Handles EventBridge Scheduler's ticks; the handler returns before its deadline.
    #[must_use]
    pub fn schedule<F>(mut self, handler: impl Fn(Deadline) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), FunctionError>> + Send + 'static,
    {
        self.schedule = Some(Arc::new(move |_, until| Box::pin(handler(until))));
        self
    }

    /// Handles one event of an invocation that is killed at `ends`.
    ///
    /// # Errors
    /// The event is of a kind that this function does not take, or its handler failed.
    pub async fn call(&self, event: Value, ends: Deadline) -> Result<Value, FunctionError> {
        let until = ends.earlier_by(DEADLINE_MARGIN);
        let unsupported = |kind: &str| FunctionError(format!("this function takes no {kind} event"));
        if event.get("Records").is_some() {
            let handler = self.sqs.as_ref().ok_or_else(|| unsupported("SQS"))?;
            let event =
                serde_json::from_value(event).map_err(|e| FunctionError(format!("SQS event: {e}")))?;
            let answer = handler(event, until).await?;
            serde_json::to_value(answer).map_err(|e| FunctionError(e.to_string()))
        } else if event.get("requestContext").is_some() {
            self.http.as_ref().ok_or_else(|| unsupported("HTTP"))?(event, until).await
        } else {
            self.schedule.as_ref().ok_or_else(|| unsupported("schedule"))?(event, until).await?;
            Ok(Value::Null)
        }
    }

    /// Serves Lambda's Runtime API until the process ends.
    ///
    /// # Errors
    /// The Runtime API could not be reached.
    pub async fn run(self) -> Result<(), lambda_runtime::Error> {
        let function = Arc::new(self);
        // not `lambda_runtime::run`, which adds a span of its own; ours has the level of errors, so that no filter
        // takes it from a line that is logged
        let runtime =
            lambda_runtime::Runtime::new(lambda_runtime::service_fn(move |event: LambdaEvent<Value>| {
                let function = Arc::clone(&function);
                async move {
                    let LambdaEvent { payload, context } = event;
                    let ends = Deadline::at_unix_ms(i64::try_from(context.deadline).unwrap_or(i64::MAX));
                    let span = tracing::error_span!(
                        "invocation",
                        function = context.env_config.function_name,
                        requestId = context.request_id,
                        xrayTraceId = context.xray_trace_id,
                    );
                    let answer = function.call(payload, ends).instrument(span).await;
                    answer.map_err(lambda_runtime::Error::from)
                }
            }));
        runtime.run().await
    }
}

/// What a function's `main` does: reads the settings that it needs, and serves Lambda's Runtime API until the process
/// ends.
pub async fn serve(needs: &[Need], function: impl FnOnce(Arc<Services>) -> Function) -> ExitCode {
    serve_with(needs, Arc::new(HttpTransport::new()), function).await
}

/// The same for a function that never calls WeChat; it keeps the HTTP client out of the binary.
pub async fn serve_without_wechat(
    needs: &[Need],
    function: impl FnOnce(Arc<Services>) -> Function,
) -> ExitCode {
    serve_with(needs, Arc::new(NoTransport), function).await
}

async fn serve_with(
    needs: &[Need],
    transport: Arc<dyn Transport>,
    function: impl FnOnce(Arc<Services>) -> Function,
) -> ExitCode {
    telemetry::init_from_env();
    let ended = match Services::from_env(needs, transport) {
        Ok(app) => function(app).run().await,
        Err(error) => {
            match &error {
                StartError::Settings(faults) => {
                    for fault in &faults.0 {
                        tracing::error!(setting = fault.name, "the function did not start: {fault}");
                    }
                }
                StartError::Randomness(error) => {
                    tracing::error!(%error, "the function did not start: {error}");
                }
            }
            report_init_error(&error).await
        }
    };
    match ended {
        Ok(()) => ExitCode::FAILURE, // a function runs until Lambda stops it
        Err(error) => {
            tracing::error!(error, "the Runtime API: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reports the reason to Lambda, so that it shows to the caller and in the function's errors.
async fn report_init_error(error: &StartError) -> Result<(), lambda_runtime::Error> {
    let kind = match error {
        StartError::Settings(_) => "Runtime.InvalidSetting",
        StartError::Randomness(_) => "Runtime.NoRandomness",
    };
    let body = serde_json::json!({"errorType": kind, "errorMessage": error.to_string()});
    let request = lambda_runtime_api_client::build_request()
        .method(http::Method::POST)
        .uri("/2018-06-01/runtime/init/error")
        .header("lambda-runtime-function-error-type", kind)
        .body(body.to_string().into())?;
    lambda_runtime_api_client::PooledClient::builder().build().call(request).await?;
    Ok(())
}

async fn respond(router: axum::Router, mut event: Value, until: Deadline) -> Result<Value, FunctionError> {
    normalise_host(&mut event);
    drop_odd_scheme(&mut event);
    encode_path(&mut event);
    encode_query(&mut event);
    let https = event.pointer("/headers/x-forwarded-proto").and_then(Value::as_str) == Some("https");
    let request: LambdaRequest =
        serde_json::from_value(event).map_err(|e| FunctionError(format!("HTTP event: {e}")))?;
    let service = lambda_http::service_fn(move |mut request: lambda_http::Request| {
        let router = router.clone();
        request.extensions_mut().insert(until);
        async move {
            let mut response = collect_response(router, request).await?;
            html::set_security_headers(response.headers_mut(), https);
            Ok::<_, FunctionError>(response)
        }
    });
    let answer = Adapter::from(service)
        .oneshot(LambdaEvent::new(request, lambda_runtime::Context::default()))
        .await
        .map_err(|e| FunctionError(e.to_string()))?;
    serde_json::to_value(answer).map_err(|e| FunctionError(e.to_string()))
}

/// API Gateway decodes paths, a router expects them encoded. A `%2F` became a `/`: that stays.
///
/// # Source
/// Observed: middleapi/standard-server#93, honojs/hono#2156.
fn encode_path(event: &mut Value) {
    encode_member(event, "rawPath", b"");
    keep_dot_segments(event);
}

/// A segment `.` or `..`, which a decoded `%2F` may have made, stays an id that no resource has: lambda_http would
/// resolve it to another route than the one that the gateway matched and throttled.
fn keep_dot_segments(event: &mut Value) {
    let is_dots = |segment: &str| matches!(segment, "." | "..");
    if let Some(member) = event.get_mut("rawPath")
        && let Some(path) = member.as_str().filter(|path| path.split('/').any(is_dots))
    {
        let keep = |segment: &str| match is_dots(segment) {
            true => segment.replace('.', "%252E"),
            false => segment.to_owned(),
        };
        let path: Vec<_> = path.split('/').map(keep).collect();
        *member = Value::String(path.join("/"));
    }
}

/// API Gateway hands a query over as the client wrote it, and lambda_http 1.3 panics where it is no URL's (`"`, `<`, `>`) and
/// drops what stands behind a `#`. Encoded, it means what it meant: escapes that the client wrote stay as they are.
fn encode_query(event: &mut Value) {
    encode_member(event, "rawQueryString", b"?%");
}

/// Percent-encodes what may stand neither in a URL's path (RFC 3986, section 3.3) nor among `besides`.
fn encode_member(event: &mut Value, name: &str, besides: &[u8]) {
    let is_plain =
        |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&b) || besides.contains(&b);
    if let Some(member) = event.get_mut(name)
        && let Some(text) = member.as_str().filter(|text| !text.bytes().all(is_plain))
    {
        let encode = |b: u8| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
        *member = Value::String(text.bytes().map(encode).collect());
    }
}

/// Collects the whole response: text as text, anything else as base64, as API Gateway expects.
async fn collect_response(
    router: axum::Router,
    request: lambda_http::Request,
) -> Result<http::Response<lambda_http::Body>, FunctionError> {
    let Ok(response) = router.oneshot(request).await;
    let (parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, MAX_RESPONSE_BYTES).await else {
        return too_large_response().await;
    };
    let body = match String::from_utf8(bytes.into()) {
        Ok(text) => lambda_http::Body::Text(text),
        Err(bytes) => lambda_http::Body::Binary(bytes.into_bytes()),
    };
    if !fits_in_response(&body) {
        return too_large_response().await;
    }
    Ok(http::Response::from_parts(parts, body))
}

/// Whether a response with this body is small enough for Lambda.
fn fits_in_response(body: &lambda_http::Body) -> bool {
    const MAX_ENCODED_BODY_BYTES: usize = MAX_RESPONSE_BYTES - STATUS_AND_HEADERS_BYTES;
    match body {
        lambda_http::Body::Text(text) if text.len() > MAX_ENCODED_BODY_BYTES / 6 => {
            // a byte becomes six at most: \u001f
            let mut count = ByteCounter(0);
            serde_json::to_writer(&mut count, text).is_ok() && count.0 <= MAX_ENCODED_BODY_BYTES
        }
        lambda_http::Body::Binary(bytes) => bytes.len().div_ceil(3) * 4 <= MAX_ENCODED_BODY_BYTES,
        _ => true,
    }
}

/// API Gateway's id of a request, as in the access log; empty where there is none.
#[must_use]
pub fn request_id(extensions: &http::Extensions) -> &str {
    match extensions.get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref().unwrap_or_default(),
        _ => "",
    }
}

/// Counts what is written.
struct ByteCounter(usize);

impl std::io::Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Without this, Lambda would respond with 500 and no reason.
async fn too_large_response() -> Result<http::Response<lambda_http::Body>, FunctionError> {
    tracing::error!("an answer is larger than Lambda takes");
    let problem = Problem::new(
        http::StatusCode::UNPROCESSABLE_ENTITY,
        "answer_too_large",
        "The answer would have more than 6 MB. Ask for fewer at once: take a smaller `limit`.",
    );
    let (parts, body) = problem.into_response().into_parts();
    let bytes = axum::body::to_bytes(body, MAX_RESPONSE_BYTES).await;
    let bytes = bytes.map_err(|e| FunctionError(e.to_string()))?;
    let body = String::from_utf8_lossy(&bytes).into_owned();
    Ok(http::Response::from_parts(parts, lambda_http::Body::Text(body)))
}

/// lambda_http 1.3 builds a URL from the Host header and panics where that is malformed
/// (`[::1`, `a b`). None of our functions reads it, so a malformed one is replaced.
fn normalise_host(event: &mut Value) {
    let is_odd = |host: &str| {
        host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    };
    for path in ["/headers/host", "/headers/Host", "/requestContext/domainName"] {
        if let Some(host) = event.pointer_mut(path)
            && host.as_str().is_none_or(|h| is_odd(h) || h.ends_with(|c: char| c.is_ascii_digit()))
        {
            *host = Value::String("localhost".into());
        }
    }
}

/// The URL's scheme comes from a header, which API Gateway writes itself and another proxy may not: lambda_http 1.3 panics
/// where it is none (`https,http`, `a b`), and without it takes `https`.
fn drop_odd_scheme(event: &mut Value) {
    const SCHEME_HEADER: &str = "x-forwarded-proto";
    if let Some(headers) = event.get_mut("headers").and_then(Value::as_object_mut)
        && headers.get(SCHEME_HEADER).is_some_and(|scheme| *scheme != "http" && *scheme != "https")
    {
        headers.remove(SCHEME_HEADER);
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        extract::{Path, Query},
        routing::get,
    };
    use lambda_http::Body;
    use serde_json::json;

    use super::*;

    fn event(path: &str) -> Value {
        json!({
            "version": "2.0", "routeKey": "GET /{id}", "rawPath": path, "rawQueryString": "", "headers": {},
            "requestContext": {
                "stage": "$default", "http": {"method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "1.1.1.1"},
            },
            "isBase64Encoded": false,
        })
    }

    #[tokio::test]
    async fn a_path_that_was_decoded_on_its_way_is_read_as_it_was_meant() {
        let router = Router::new().route("/{id}", get(async |Path(id): Path<String>| id));
        for id in ["plain", "a b", "100%", "%41", "你好", "a#b", "a+b", "<\"^`{|}\\>", "\u{7f}\u{1}"] {
            let answer = respond(router.clone(), event(&format!("/{id}")), Deadline::NEVER).await.unwrap();
            assert_eq!((&answer["statusCode"], &answer["body"]), (&json!(200), &json!(id)), "{id:?}");
        }
    }

    #[tokio::test]
    async fn a_query_is_read_as_it_was_sent_whatever_stands_in_it() {
        let router = Router::new()
            .route("/{id}", get(async |Query(pairs): Query<Vec<(String, String)>>| format!("{pairs:?}")));
        for (what, query, value) in [
            ("plain", "a=b", "b"),
            ("a quotation mark", "a=\"", "\""),
            ("a tag", "a=<b>", "<b>"),
            ("what other URLs encode", "a=^`{|}\\[]", "^`{|}\\[]"),
            ("a space", "a=b c", "b c"),
            ("a hash, behind which is no fragment here", "a=b#c", "b#c"),
            ("Chinese", "a=你好", "你好"),
            ("a control character", "a=\u{1}\u{7f}", "\u{1}\u{7f}"),
            ("an escape, which is not escaped again", "a=%22%2B", "\"+"),
            ("half an escape", "a=100%", "100%"),
            ("a plus, which is a space", "a=b+c", "b c"),
            ("a question mark", "a=b?c", "b?c"),
        ] {
            let mut event = event("/x");
            event["rawQueryString"] = json!(query);
            let answer = respond(router.clone(), event, Deadline::NEVER).await.unwrap();
            let pairs = format!("{:?}", [("a", value)]);
            assert_eq!((&answer["statusCode"], &answer["body"]), (&json!(200), &json!(pairs)), "{what}");
        }
    }

    #[tokio::test]
    async fn a_request_has_the_id_of_the_access_log() {
        let router = Router::new().route(
            "/{id}",
            get(async |request: axum::extract::Request| request_id(request.extensions()).to_owned()),
        );
        let mut event = event("/x");
        event["requestContext"]["requestId"] = json!("JKJaXmPLvHcESHA=");
        assert_eq!(respond(router, event, Deadline::NEVER).await.unwrap()["body"], "JKJaXmPLvHcESHA=");
        assert_eq!(request_id(&http::Extensions::new()), "");
    }

    #[test]
    fn an_answer_is_measured_as_lambda_does() {
        const MEGABYTE: usize = 1024 * 1024;
        for (what, body, fit) in [
            ("nothing", Body::Empty, true),
            ("five megabytes of letters", Body::Text("a".repeat(5 * MEGABYTE)), true),
            ("six", Body::Text("a".repeat(6 * MEGABYTE)), false),
            ("four of quotation marks, which become eight", Body::Text("\"".repeat(4 * MEGABYTE)), false),
            ("one of control characters, which becomes six", Body::Text("\u{1}".repeat(MEGABYTE)), false),
            ("four that are no text", Body::Binary(vec![0xff; 4 * MEGABYTE]), true),
            ("five, which are 6.7 in base64", Body::Binary(vec![0xff; 5 * MEGABYTE]), false),
        ] {
            assert_eq!(fits_in_response(&body), fit, "{what}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_lambda_would_refuse_says_what_to_do() {
        let router = Router::new().route("/{id}", get(async || "\"".repeat(4_000_000)));
        let answer = respond(router, event("/x"), Deadline::NEVER).await.unwrap();
        assert_eq!(answer["statusCode"], 422);
        let problem: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(problem["code"], "answer_too_large");
    }
}
