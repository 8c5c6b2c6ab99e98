//! The HTTP API: a request becomes the event that API Gateway would send (payload 2.0), and the function's
//! answer a response.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use serde_json::{Value, json};
use shared::{clock::Clock, random::Random};

use crate::{
    lambda::{Failure, Target, chain::Chain},
    routes::Routes,
};

/// API Gateway takes bodies of 10 MB, and Lambda payloads of 6 MB: what fits both.
const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// What the gateway needs.
pub struct Gateway {
    /// The template's routes.
    pub routes: Routes<Target>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Request ids.
    pub random: Arc<dyn Random>,
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
    let Some(found) = gateway.routes.find(parts.method.as_str(), parts.uri.path()) else {
        return message(StatusCode::NOT_FOUND, "Not Found");
    };
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    let target = found.target.clone();
    let event = event(&gateway, &parts, &body, peer, &found.key, &found.parameters);
    match target.invoke(event, &Chain::default()).await {
        Ok(answer) => response(&answer),
        Err(failure) => {
            let name = &target.name;
            tracing::error!(function = name, "{name} {failure}");
            match failure {
                Failure::Throttled => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
                Failure::TimedOut | Failure::Failed(_) => {
                    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
                }
            }
        }
    }
}

fn message(status: StatusCode, text: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], json!({"message": text}).to_string())
        .into_response()
}

fn event(
    gateway: &Gateway,
    parts: &Parts,
    body: &Bytes,
    peer: SocketAddr,
    route_key: &str,
    parameters: &BTreeMap<String, String>,
) -> Value {
    let mut headers: BTreeMap<&str, String> = BTreeMap::new();
    let mut cookies = Vec::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if name == header::COOKIE {
            cookies.extend(value.split("; ").map(str::to_owned));
        } else {
            headers.entry(name.as_str()).and_modify(|v| *v = format!("{v},{value}")).or_insert(value);
        }
    }
    let now = gateway.clock.now();
    let mut id = [0; 8];
    gateway.random.fill(&mut id);
    let (text, base64) = match std::str::from_utf8(body) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (STANDARD.encode(body), true),
    };
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": parts.uri.path(),
        "rawQueryString": parts.uri.query().unwrap_or(""),
        "headers": headers,
        "pathParameters": parameters,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": "localhost",
            "domainPrefix": "local",
            "requestId": format!("{:016x}", u64::from_le_bytes(id)),
            "routeKey": route_key,
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S %z").to_string(),
            "timeEpoch": now.as_millisecond(),
            "http": {
                "method": parts.method.as_str(),
                "path": parts.uri.path(),
                "protocol": "HTTP/1.1",
                "sourceIp": peer.ip().to_string(),
                "userAgent": headers.get("user-agent").cloned().unwrap_or_default(),
            },
        },
        "body": text,
        "isBase64Encoded": base64,
    });
    if let (false, Some(event)) = (cookies.is_empty(), event.as_object_mut()) {
        event.insert("cookies".into(), json!(cookies));
    }
    event
}

fn response(answer: &Value) -> Response {
    let status = answer.get("statusCode").and_then(Value::as_u64).and_then(|s| u16::try_from(s).ok());
    let status = status.and_then(|s| StatusCode::from_u16(s).ok()).unwrap_or(StatusCode::OK);
    let body = answer.get("body").and_then(Value::as_str).unwrap_or_default();
    let body = match answer.get("isBase64Encoded").and_then(Value::as_bool) {
        Some(true) => Body::from(STANDARD.decode(body).unwrap_or_default()),
        _ => Body::from(body.to_owned()),
    };
    let mut response = (status, body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    let mut add = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
            && name != header::CONTENT_LENGTH
        {
            response.headers_mut().insert(name, value);
        }
    };
    for (name, value) in answer.get("headers").and_then(Value::as_object).into_iter().flatten() {
        add(name, value.as_str().unwrap_or_default());
    }
    for (name, values) in answer.get("multiValueHeaders").and_then(Value::as_object).into_iter().flatten() {
        let values: Vec<_> = values.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !values.is_empty() {
            add(name, &values.join(","));
        }
    }
    for cookie in answer.get("cookies").and_then(Value::as_array).into_iter().flatten() {
        if let Ok(cookie) = HeaderValue::try_from(cookie.as_str().unwrap_or_default()) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    response
}
