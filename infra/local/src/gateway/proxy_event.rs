//! A request as the event that API Gateway would send (payload 2.0), and the function's result as a response.
//!
//! # Source
//! API Gateway developer guide, "Create AWS Lambda proxy integrations for HTTP APIs in API Gateway". By observation:
//! paths are decoded and end at a decoded `?` (middleapi/standard-server#93, honojs/hono#2156); a body is text by its
//! type alone (ministackorg/ministack#766); a query is not decoded (ministackorg/ministack#1035).

use std::{collections::BTreeMap, net::SocketAddr};

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};
use serde_json::{Value, json};
use shared::{clock::Clock, random::Random};

use crate::routes::RouteMatch;

/// Types whose bodies are sent as text, besides `text/*`; all other bodies are base64.
const TEXT_TYPES: [&str; 3] = ["application/json", "application/xml", "application/javascript"];

/// The event of a request.
pub(super) fn request_event<T>(
    parts: &Parts,
    body: &Bytes,
    peer: SocketAddr,
    route: &RouteMatch<'_, T>,
    clock: &dyn Clock,
    random: &dyn Random,
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
    let now = clock.now();
    let mut id = [0; 8];
    random.fill(&mut id);
    let path = decoded_path(parts.uri.path());
    let parameters: BTreeMap<_, _> =
        route.parameters.iter().map(|(name, value)| (name, percent_decoded(value))).collect();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": path,
        "rawQueryString": parts.uri.query().unwrap_or(""),
        "headers": headers,
        "pathParameters": parameters,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": "localhost",
            "domainPrefix": "local",
            "requestId": format!("{:016x}", u64::from_le_bytes(id)),
            "routeKey": route.key,
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S %z").to_string(),
            "timeEpoch": now.as_millisecond(),
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": peer.ip().to_string(),
                "userAgent": headers.get("user-agent").cloned().unwrap_or_default(),
            },
        },
        "isBase64Encoded": false,
    });
    let Some(members) = event.as_object_mut() else { return event };
    if !cookies.is_empty() {
        members.insert("cookies".into(), json!(cookies));
    }
    if let Some(query) = parts.uri.query().filter(|query| !query.is_empty()) {
        members.insert("queryStringParameters".into(), json!(query_parameters(query)));
    }
    // AWS does not document what becomes of a text type's body that is not UTF-8: base64 here
    let text = is_text(&parts.headers).then(|| std::str::from_utf8(body).ok()).flatten();
    match text {
        _ if body.is_empty() => {}
        Some(text) => drop(members.insert("body".into(), text.into())),
        None => {
            members.insert("body".into(), STANDARD.encode(body).into());
            members.insert("isBase64Encoded".into(), true.into());
        }
    }
    event
}

fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.starts_with("text/") || TEXT_TYPES.contains(&kind.as_str())
}

/// The path decoded, up to the first `?` that decoding produces.
fn decoded_path(encoded: &str) -> String {
    let decoded = percent_decoded(encoded);
    decoded.split('?').next().unwrap_or_default().to_owned()
}

/// Names and values, decoded; values of a name that comes again are joined by commas. That a `+` is a space here AWS does not
/// document, and no function reads these: they have the query as it was sent.
fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| percent_decoded(&text.replace('+', " "));
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value);
        parameters.entry(decoded(name)).and_modify(|v| *v = format!("{v},{value}")).or_insert(value);
    }
    parameters
}

/// Percent-decodes; invalid escapes are kept, and bytes that are not UTF-8 are replaced.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = (first == b'%').then(|| after.split_at_checked(2)).flatten();
        let escape = escape.and_then(|(digits, after)| {
            let digits =
                std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            Some((u8::from_str_radix(digits, 16).ok()?, after))
        });
        let (byte, after) = escape.unwrap_or((first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The HTTP response that a function's result describes.
pub(super) fn http_response(answer: &Value) -> Response {
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

#[cfg(test)]
mod tests {
    use shared::{clock::ManualClock, random::StdRandom};

    use super::*;
    use crate::routes::Routes;

    fn event_of(target: &str) -> Value {
        let mut routes = Routes::default();
        routes.add("GET", "/bind/{id}", ());
        let request = http::Request::get(target)
            .header("cookie", "first=1; second=2")
            .header("host", "localhost")
            .header("user-agent", "curl/8.5.0")
            .header("x-twice", "1")
            .header("x-twice", "2");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let route = routes.find("GET", parts.uri.path()).unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        let clock = ManualClock::at(1_795_516_360);
        request_event(&parts, &Bytes::new(), peer, &route, &clock, &StdRandom::seeded(1))
    }

    /// Laid beside the example of the developer guide, whose members it has but for `authentication`, `authorizer` and
    /// `stageVariables`: the API has none.
    #[test]
    fn an_event_has_what_aws_documents() {
        let event = event_of("/bind/a%2Fb%20c?x=1+1&x=%2B&y=%E4%BD%A0");
        let id = event["requestContext"]["requestId"].clone();
        let expected = json!({
            "version": "2.0",
            "routeKey": "GET /bind/{id}",
            "rawPath": "/bind/a/b c",
            "rawQueryString": "x=1+1&x=%2B&y=%E4%BD%A0",
            "cookies": ["first=1", "second=2"],
            "headers": {"host": "localhost", "user-agent": "curl/8.5.0", "x-twice": "1,2"},
            "queryStringParameters": {"x": "1 1,+", "y": "你"},
            "pathParameters": {"id": "a/b c"},
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "local",
                "domainName": "localhost",
                "domainPrefix": "local",
                "requestId": id,
                "routeKey": "GET /bind/{id}",
                "stage": "$default",
                "time": "24/Nov/2026:10:32:40 +0000",
                "timeEpoch": 1_795_516_360_000_i64,
                "http": {
                    "method": "GET",
                    "path": "/bind/a/b c",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": "curl/8.5.0",
                },
            },
            "isBase64Encoded": false,
        });
        assert_eq!(event, expected);
    }

    #[test]
    fn a_query_stays_as_it_was_sent_beside_its_parameters() {
        for (what, query, parameters) in [
            ("the developer guide's example", "a=1&a=2&b=3", json!({"a": "1,2", "b": "3"})),
            ("a plus and an escaped one", "a=1+1&b=1%2B1", json!({"a": "1 1", "b": "1+1"})),
            ("a comma that was there before", "a=1,2&a=3", json!({"a": "1,2,3"})),
            ("an escaped ampersand", "a=1%262", json!({"a": "1&2"})),
            ("an escaped name", "%61=1&a=2", json!({"a": "1,2"})),
            ("no value", "a&b=", json!({"a": "", "b": ""})),
            ("a second equals sign", "a=b=c", json!({"a": "b=c"})),
            ("no name", "=1&&", json!({"": "1"})),
            ("half an escape", "a=100%", json!({"a": "100%"})),
            ("nothing", "", Value::Null),
        ] {
            let event = event_of(&format!("/bind/x?{query}"));
            assert_eq!(
                (&event["rawQueryString"], &event["queryStringParameters"]),
                (&json!(query), &parameters),
                "{what}"
            );
            assert_eq!(event.get("queryStringParameters").is_some(), !query.is_empty(), "{what}");
        }
    }

    #[test]
    fn paths_are_decoded_and_end_at_a_question_mark() {
        for (encoded, decoded) in [
            ("/v1/a%20b", "/v1/a b"),
            ("/v1/%E4%BD%A0", "/v1/你"),
            ("/v1/a%2Fb", "/v1/a/b"),
            ("/v1/a%3Fb%23c", "/v1/a"),
            ("/v1/a+b", "/v1/a+b"),
            ("/v1/100%", "/v1/100%"),
            ("/v1/%zz%+1", "/v1/%zz%+1"),
            ("/v1/%ff", "/v1/\u{fffd}"),
        ] {
            assert_eq!(decoded_path(encoded), decoded, "{encoded}");
        }
    }

    #[test]
    fn a_body_is_text_by_its_type_alone() {
        for (kind, text) in [
            ("text/xml", true),
            ("Text/Plain; charset=utf-8", true),
            ("application/json", true),
            ("application/json;charset=UTF-8", true),
            ("application/xml", true),
            ("application/javascript", true),
            ("application/x-www-form-urlencoded", false),
            ("application/problem+json", false),
            ("application/octet-stream", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_text(&headers), text, "{kind}");
        }
        assert!(!is_text(&HeaderMap::new()), "no type at all");
    }
}
