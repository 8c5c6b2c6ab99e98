//! The HTTP API: finds the function of a request, applies API Gateway's and Lambda's limits, and gives their own
//! error responses: `{"message": …}`.
//!
//! | status | when |
//! |---|---|
//! | 404 | no route |
//! | 413 | a body above 10 MB, or an event above 6 MB: base64 makes it so from 4.5 MB |
//! | 421 | a Host header that is not ours; on AWS another name leads to no API |
//! | 429 | the route's throttle |
//! | 431 | a request line and headers above 10,240 bytes |
//! | 500 | the function failed, reached its timeout, or returned more than 6 MB |
//! | 503 | it was throttled, or took longer than the gateway waits |
//!
//! # Source
//! API Gateway developer guide, "Quotas for HTTP APIs" and "Throttle requests to your HTTP APIs"; Lambda quotas. A
//! timeout of the function's own is a 500, the gateway's a 503: observed (cortexlabs/cortex#1225, #1226).

mod proxy_event;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::to_bytes,
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header, request::Parts};
use serde_json::{Value, json};
use shared::{clock::Clock, random::Random};
use wechat_simulator::hosts::AllowedHosts;

use crate::{
    lambda::{FunctionTarget, InvocationError, chain::Chain},
    routes::Routes,
    template::Throttle,
    token_bucket::TokenBucket,
};

/// A request's body.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;
/// A request line with all headers.
const MAX_HEAD_BYTES: usize = 10_240;
/// A function's event and its result, as JSON.
const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;
/// How long the gateway waits for a function.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The gateway.
pub struct Gateway {
    /// The template's routes.
    pub routes: Routes<FunctionTarget>,
    /// Their throttles.
    pub throttles: Throttles,
    /// The host names that it accepts.
    pub hosts: AllowedHosts,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Source of request ids.
    pub random: Arc<dyn Random>,
}

/// The template's throttles, and each route's token bucket.
#[derive(Default)]
pub struct Throttles {
    routes: BTreeMap<String, Throttle>,
    default: Option<Throttle>,
    buckets: Mutex<BTreeMap<String, TokenBucket>>,
}

impl Throttles {
    /// Throttles by route key, and the default of all other routes; each route has its own bucket.
    #[must_use]
    pub fn new(routes: &BTreeMap<String, Throttle>, rest: Option<Throttle>) -> Self {
        Self { routes: routes.clone(), default: rest, buckets: Mutex::default() }
    }

    fn admit(&self, route_key: &str, now_ms: i64) -> bool {
        let Some(Throttle { rate, burst }) = self.routes.get(route_key).copied().or(self.default) else {
            return true;
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(route_key.to_owned()).or_insert_with(|| TokenBucket::full(burst, now_ms));
        burst > 0 && bucket.try_take(1, rate, burst, now_ms)
    }
}

/// The gateway as a service.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new().fallback(handle).with_state(gateway)
}

async fn handle(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    if !gateway.hosts.allows(&parts.headers) {
        return error_response(StatusCode::MISDIRECTED_REQUEST, "Misdirected Request");
    }
    if head_bytes(&parts) > MAX_HEAD_BYTES {
        return error_response(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "Request Header Fields Too Large",
        );
    }
    let Some(found) = gateway.routes.find(parts.method.as_str(), parts.uri.path()) else {
        return error_response(StatusCode::NOT_FOUND, "Not Found");
    };
    if !gateway.throttles.admit(&found.key, gateway.clock.now().as_millisecond()) {
        return error_response(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests");
    }
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return error_response(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    let event = proxy_event::request_event(&parts, &body, peer, &found, &*gateway.clock, &*gateway.random);
    if is_too_large(&event, body.len()) {
        return error_response(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    }
    invoke_and_respond(found.target.clone(), event, INTEGRATION_TIMEOUT).await
}

/// Invokes the function and waits for its result as long as API Gateway would.
async fn invoke_and_respond(target: FunctionTarget, event: Value, timeout: Duration) -> Response {
    let name = target.name.clone();
    // a client that hangs up, or a gateway timeout, does not cancel the invocation
    let call = tokio::spawn(async move { target.invoke(event, &Chain::default()).await });
    let (status, why) = match tokio::time::timeout(timeout, call).await {
        Ok(Ok(Ok(answer))) if is_too_large(&answer, 0) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "answered more than 6 MB of JSON".to_owned())
        }
        Ok(Ok(Ok(answer))) => return proxy_event::http_response(&answer),
        Ok(Ok(Err(failure @ InvocationError::Throttled))) => {
            (StatusCode::SERVICE_UNAVAILABLE, failure.to_string())
        }
        Ok(Ok(Err(failure))) => (StatusCode::INTERNAL_SERVER_ERROR, failure.to_string()),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "took longer than the gateway waits".to_owned()),
    };
    tracing::error!(function = name, "{name} {why}");
    error_response(status, status.canonical_reason().unwrap_or_default())
}

fn error_response(status: StatusCode, text: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], json!({"message": text}).to_string())
        .into_response()
}

/// `GET /path?query HTTP/1.1` and `name: value` for each header, with their line ends.
fn head_bytes(parts: &Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let line = parts.method.as_str().len() + target + " HTTP/1.1\r\n ".len();
    parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>() + line
}

/// Whether a payload exceeds Lambda's limit. It is serialized only if it could: JSON's escapes turn
/// one byte into up to six.
fn is_too_large(payload: &Value, body_bytes: usize) -> bool {
    let body = payload.get("body").and_then(Value::as_str).map_or(0, str::len).max(body_bytes);
    body > MAX_PAYLOAD_BYTES / 8 && payload.to_string().len() > MAX_PAYLOAD_BYTES
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;
    use shared::{clock::ManualClock, deadline::Deadline, function::FunctionError, random::StdRandom};
    use tower::ServiceExt;

    use super::*;
    use crate::{functions::Handler, lambda::concurrency::ConcurrencyPool};

    /// Returns the event itself, or what the test says.
    struct Echo(Option<Result<Value, &'static str>>);

    impl Handler for Echo {
        fn call(&self, event: Value, _: Deadline) -> BoxFuture<'static, Result<Value, FunctionError>> {
            let answer = match &self.0 {
                Some(Ok(answer)) => Ok(answer.clone()),
                Some(Err("never")) => return Box::pin(std::future::pending()),
                Some(Err(why)) => Err(FunctionError((*why).to_owned())),
                None => Ok(json!({"statusCode": 200, "body": event.to_string()})),
            };
            Box::pin(async move { answer })
        }
    }

    fn target(code: Echo, timeout_ms: u64, room: usize) -> FunctionTarget {
        FunctionTarget {
            name: "F".into(),
            handler: Arc::new(code),
            timeout: Duration::from_millis(timeout_ms),
            clock: Arc::new(ManualClock::at(1)),
            recursive: false,
            concurrency: ConcurrencyPool::with_limit(room),
        }
    }

    fn gateway(target: FunctionTarget, clock: &ManualClock, throttle: Option<Throttle>) -> Router {
        let mut routes = Routes::default();
        for (method, path) in [("ANY", "/v1/{proxy+}"), ("GET", "/bind/{id}"), ("GET", "/other")] {
            routes.add(method, path, target.clone());
        }
        let throttles = Throttles::new(
            &BTreeMap::from([("GET /other".into(), Throttle { rate: 1, burst: 1 })]),
            throttle,
        );
        router(Arc::new(Gateway {
            routes,
            throttles,
            hosts: AllowedHosts::for_listener("127.0.0.1:3000".parse().unwrap()),
            clock: Arc::new(clock.clone()),
            random: Arc::new(StdRandom::seeded(1)),
        }))
    }

    fn request(method: &str, path: &str, kind: Option<&str>, body: impl Into<axum::body::Body>) -> Request {
        let mut request = http::Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let mut request = request.body(body.into()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9))));
        request
    }

    async fn send_request(router: &Router, request: Request) -> (u16, Value) {
        let answer = router.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 64 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn a_request_becomes_the_event_that_aws_would_send() {
        let router = gateway(target(Echo(None), 1000, 9), &ManualClock::at(1), None);
        let (_, event) = send_request(&router, request("GET", "/bind/a%2Fb%20c?x=%2F", None, "")).await;
        assert_eq!((&event["rawPath"], &event["rawQueryString"]), (&json!("/bind/a/b c"), &json!("x=%2F")));
        assert_eq!(event["pathParameters"]["id"], "a/b c");
        assert_eq!((event.get("body"), &event["isBase64Encoded"]), (None, &json!(false)), "no body");
        for (kind, text) in
            [(Some("text/xml"), true), (Some("application/x-www-form-urlencoded"), false), (None, false)]
        {
            let (_, event) = send_request(&router, request("POST", "/v1/x", kind, "<a/>")).await;
            let body = if text { "<a/>" } else { "PGEvPg==" };
            assert_eq!(
                (&event["body"], &event["isBase64Encoded"]),
                (&json!(body), &json!(!text)),
                "{kind:?}"
            );
        }
    }

    #[tokio::test]
    async fn limits_are_aws() {
        let router =
            gateway(target(Echo(Some(Ok(json!({"statusCode": 200})))), 1000, 9), &ManualClock::at(1), None);
        let mega = 1024 * 1024;
        let text = Some("text/plain");
        for (what, request, status) in [
            ("five million bytes of text", request("POST", "/v1/x", text, "x".repeat(5 * mega)), 200),
            ("seven are more than an event", request("POST", "/v1/x", text, "x".repeat(7 * mega)), 413),
            ("so are five as base64", request("POST", "/v1/x", None, "x".repeat(5 * mega)), 413),
            ("and five of quotation marks", request("POST", "/v1/x", text, "\"".repeat(5 * mega)), 413),
            (
                "eleven are more than the gateway takes",
                request("POST", "/v1/x", text, "x".repeat(11 * mega)),
                413,
            ),
            ("a long query", request("GET", &format!("/v1/x?{}", "q".repeat(10_300)), None, ""), 431),
            ("one that just fits", request("GET", &format!("/v1/x?{}", "q".repeat(10_100)), None, ""), 200),
        ] {
            assert_eq!(send_request(&router, request).await.0, status, "{what}");
        }
        let mut wrong = request("GET", "/v1/x", None, "");
        wrong.headers_mut().insert("host", "evil.example".parse().unwrap());
        assert_eq!(send_request(&router, wrong).await.0, 421, "another name");
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_wrong_behind_it_is_told_as_aws_tells_it() {
        let large = |body: String| Echo(Some(Ok(json!({"statusCode": 200, "body": body}))));
        for (what, target, status, text) in [
            ("a failure", target(Echo(Some(Err("boom"))), 1000, 9), 500, "Internal Server Error"),
            (
                "the function's own time",
                target(Echo(Some(Err("never"))), 1000, 9),
                500,
                "Internal Server Error",
            ),
            ("the gateway's time", target(Echo(Some(Err("never"))), 40_000, 9), 503, "Service Unavailable"),
            ("no room", target(Echo(None), 1000, 0), 503, "Service Unavailable"),
            ("a large answer", target(large("x".repeat(7 << 20)), 1000, 9), 500, "Internal Server Error"),
            (
                "one that JSON makes large",
                target(large("\n".repeat(4 << 20)), 1000, 9),
                500,
                "Internal Server Error",
            ),
        ] {
            let router = gateway(target, &ManualClock::at(1), None);
            let answer = send_request(&router, request("GET", "/v1/x", None, "")).await;
            assert_eq!(answer, (status, json!({"message": text})), "{what}");
        }
        let router = gateway(target(large("x".repeat(5 << 20)), 1000, 9), &ManualClock::at(1), None);
        assert_eq!(
            send_request(&router, request("GET", "/v1/x", None, "")).await.0,
            200,
            "five million bytes pass"
        );
    }

    #[tokio::test]
    async fn each_route_has_its_throttle() {
        let clock = ManualClock::at(1);
        let router = gateway(target(Echo(None), 1000, 9), &clock, Some(Throttle { rate: 2, burst: 3 }));
        let get = async |path: &str| send_request(&router, request("GET", path, None, "")).await;
        for (what, path, status) in [
            ("the burst", "/v1/x", 200),
            ("of the route, not the path", "/v1/y", 200),
            ("its end", "/v1/x", 200),
            ("is full", "/v1/x", 429),
            ("another route has its own", "/bind/x", 200),
            ("one with limits of its own", "/other", 200),
            ("is full sooner", "/other", 429),
        ] {
            assert_eq!(get(path).await.0, status, "{what}");
        }
        assert_eq!(get("/v1/x").await.1, json!({"message": "Too Many Requests"}));
        clock.advance(1);
        assert_eq!((get("/v1/x").await.0, get("/v1/x").await.0, get("/v1/x").await.0), (200, 200, 429));
    }
}
