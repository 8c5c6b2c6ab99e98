//! How a function is wired: one value that takes any event JSON that Lambda delivers, so that the local runner
//! and the Lambda runtime call the very same code.

use std::{process::ExitCode, sync::Arc};

pub use aws_lambda_events::sqs::SqsEvent;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse};
use futures::future::BoxFuture;
use lambda_http::{Adapter, LambdaEvent, request::LambdaRequest, tower::ServiceExt};
use serde_json::Value;
use thiserror::Error;

use crate::{
    app::App,
    config::{ConfigError, Need},
    telemetry,
    wechat::{
        http::HttpTransport,
        transport::{Nowhere, Transport},
    },
};

/// Lambda answers at most 6 MB.
const MAX_ANSWER_BYTES: usize = 6 * 1024 * 1024;

type Handler<E, R> = Arc<dyn Fn(E) -> BoxFuture<'static, Result<R, FunctionError>> + Send + Sync>;

/// A failed invocation: Lambda then retries a schedule, SQS brings the whole batch again.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct FunctionError(pub String);

impl From<crate::error::Error> for FunctionError {
    fn from(error: crate::error::Error) -> Self {
        Self(error.to_string())
    }
}

/// A function: what it does with each kind of event. An event of a kind without a handler is an error.
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

    /// Answers API Gateway's HTTP API events (payload 2.0) with `router`.
    #[must_use]
    pub fn http(mut self, router: axum::Router) -> Self {
        self.http = Some(Arc::new(move |event| {
            let router = router.clone();
            Box::pin(async move { answer(router, event).await })
        }));
        self
    }

    /// Handles batches of SQS messages, item by item.
    #[must_use]
    pub fn sqs<F>(mut self, handler: impl Fn(SqsEvent) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<String>> + Send + 'static,
    {
        self.sqs = Some(Arc::new(move |event| {
            let failed = handler(event);
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

    /// Handles EventBridge Scheduler's ticks.
    #[must_use]
    pub fn schedule<F>(mut self, handler: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), FunctionError>> + Send + 'static,
    {
        self.schedule = Some(Arc::new(move |_| Box::pin(handler())));
        self
    }

    /// Takes one event.
    ///
    /// # Errors
    /// The event is of a kind that this function does not take, or its handler failed.
    pub async fn call(&self, event: Value) -> Result<Value, FunctionError> {
        let wrong = |kind: &str| FunctionError(format!("this function takes no {kind} event"));
        if event.get("Records").is_some() {
            let handler = self.sqs.as_ref().ok_or_else(|| wrong("SQS"))?;
            let event =
                serde_json::from_value(event).map_err(|e| FunctionError(format!("SQS event: {e}")))?;
            let answer = handler(event).await?;
            serde_json::to_value(answer).map_err(|e| FunctionError(e.to_string()))
        } else if event.get("requestContext").is_some() {
            self.http.as_ref().ok_or_else(|| wrong("HTTP"))?(event).await
        } else {
            self.schedule.as_ref().ok_or_else(|| wrong("schedule"))?(event).await?;
            Ok(Value::Null)
        }
    }

    /// Serves Lambda's Runtime API until the process ends.
    ///
    /// # Errors
    /// The Runtime API could not be reached.
    pub async fn run(self) -> Result<(), lambda_runtime::Error> {
        let function = Arc::new(self);
        lambda_runtime::run(lambda_runtime::service_fn(move |event: LambdaEvent<Value>| {
            let function = Arc::clone(&function);
            async move { function.call(event.payload).await.map_err(lambda_runtime::Error::from) }
        }))
        .await
    }
}

/// What a function's `main` does: reads the settings that it needs, and serves Lambda's Runtime API until the process
/// ends.
pub async fn serve(needs: &[Need], function: impl FnOnce(Arc<App>) -> Function) -> ExitCode {
    serve_with(needs, Arc::new(HttpTransport::new()), function).await
}

/// The same for a function that never calls WeChat: leaves the HTTP client for it out of the binary.
pub async fn serve_without_wechat(needs: &[Need], function: impl FnOnce(Arc<App>) -> Function) -> ExitCode {
    serve_with(needs, Arc::new(Nowhere), function).await
}

async fn serve_with(
    needs: &[Need],
    transport: Arc<dyn Transport>,
    function: impl FnOnce(Arc<App>) -> Function,
) -> ExitCode {
    telemetry::init_from_env();
    let ended = match App::from_env(needs, transport) {
        Ok(app) => function(app).run().await,
        Err(error) => {
            for fault in &error.0 {
                tracing::error!(setting = fault.name, "the function did not start: {fault}");
            }
            report_init_error(&error).await
        }
    };
    match ended {
        Ok(()) => ExitCode::FAILURE, // Lambda ends a function, it does not end by itself
        Err(error) => {
            tracing::error!(error, "the Runtime API: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tells Lambda why, so that whoever calls the function or looks at its errors reads it too.
async fn report_init_error(error: &ConfigError) -> Result<(), lambda_runtime::Error> {
    let body = serde_json::json!({"errorType": "Runtime.InvalidSetting", "errorMessage": error.to_string()});
    let request = lambda_runtime_api_client::build_request()
        .method(http::Method::POST)
        .uri("/2018-06-01/runtime/init/error")
        .header("lambda-runtime-function-error-type", "Runtime.InvalidSetting")
        .body(body.to_string().into())?;
    lambda_runtime_api_client::PooledClient::builder().build().call(request).await?;
    Ok(())
}

async fn answer(router: axum::Router, mut event: Value) -> Result<Value, FunctionError> {
    normalise_host(&mut event);
    encode_path(&mut event);
    let request: LambdaRequest =
        serde_json::from_value(event).map_err(|e| FunctionError(format!("HTTP event: {e}")))?;
    let service =
        lambda_http::service_fn(move |request: lambda_http::Request| collected(router.clone(), request));
    let answer = Adapter::from(service)
        .oneshot(LambdaEvent::new(request, lambda_runtime::Context::default()))
        .await
        .map_err(|e| FunctionError(e.to_string()))?;
    let answer = serde_json::to_value(answer).map_err(|e| FunctionError(e.to_string()))?;
    // JSON's escapes make of a byte six at most, and base64 four of three: only what could be too large is measured
    let body = answer.get("body").and_then(Value::as_str).map_or(0, str::len);
    if body > MAX_ANSWER_BYTES / 8 && answer.to_string().len() > MAX_ANSWER_BYTES {
        return Err(FunctionError(format!("an answer of {body} bytes is more than Lambda takes as JSON")));
    }
    Ok(answer)
}

/// API Gateway decodes paths; a router wants them encoded. A `%2F` has become a `/`, which nothing brings back.
///
/// # Source
/// Observed: middleapi/standard-server#93, honojs/hono#2156.
fn encode_path(event: &mut Value) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&b);
    if let Some(path) = event.get_mut("rawPath")
        && let Some(text) = path.as_str().filter(|text| !text.bytes().all(plain))
    {
        let encode = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
        *path = Value::String(text.bytes().map(encode).collect());
    }
}

/// The whole answer: text as text, anything else as base64, as API Gateway wants it.
async fn collected(
    router: axum::Router,
    request: lambda_http::Request,
) -> Result<http::Response<lambda_http::Body>, FunctionError> {
    let Ok(response) = router.oneshot(request).await;
    let (parts, body) = response.into_parts();
    let bytes =
        axum::body::to_bytes(body, MAX_ANSWER_BYTES).await.map_err(|e| FunctionError(e.to_string()))?;
    let body = match String::from_utf8(bytes.into()) {
        Ok(text) => lambda_http::Body::Text(text),
        Err(bytes) => lambda_http::Body::Binary(bytes.into_bytes()),
    };
    Ok(http::Response::from_parts(parts, body))
}

/// lambda_http 1.3 builds a URL of the Host header and panics where it is none (`[::1`, `a b`). No function of
/// ours reads it, so a strange one is replaced.
fn normalise_host(event: &mut Value) {
    let odd = |host: &str| {
        host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    };
    for path in ["/headers/host", "/headers/Host", "/requestContext/domainName"] {
        if let Some(host) = event.pointer_mut(path)
            && host.as_str().is_none_or(|h| odd(h) || h.ends_with(|c: char| c.is_ascii_digit()))
        {
            *host = Value::String("localhost".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, extract::Path, routing::get};
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
            let answer = answer(router.clone(), event(&format!("/{id}"))).await.unwrap();
            assert_eq!((&answer["statusCode"], &answer["body"]), (&json!(200), &json!(id)), "{id:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_measured_as_lambda_measures_it() {
        for (what, text, fits) in [
            ("five million letters", "x".repeat(5 << 20), true),
            ("seven", "x".repeat(7 << 20), false),
            ("four million line feeds, which are eight in JSON", "\n".repeat(4 << 20), false),
        ] {
            let router = Router::new().route("/{id}", get(async move || text));
            assert_eq!(answer(router, event("/x")).await.is_ok(), fits, "{what}");
        }
    }
}
