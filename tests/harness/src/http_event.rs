//! The event of an HTTP request.

use serde_json::{Value, json};

/// What API Gateway sends for a request (payload 2.0).
pub fn http_event(
    method: &str,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
    now: i64,
) -> Value {
    let mut all = json!({"host": "hub", "content-type": "application/json"});
    for (name, value) in headers {
        all[*name] = json!(value);
    }
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": all,
        "requestContext": {
            "accountId": "000000000000", "apiId": "sim", "domainName": "hub", "domainPrefix": "hub",
            "requestId": "sim", "routeKey": "$default", "stage": "$default",
            "time": "01/Jan/2025:00:00:00 +0000", "timeEpoch": now * 1000,
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "sim",
            },
        },
        "body": body, "isBase64Encoded": false,
    })
}
