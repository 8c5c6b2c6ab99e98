//! The event of an HTTP request.

use serde_json::{Map, Value, json};

/// What API Gateway sends for a request to `hub.example.com` (payload 2.0). `query` is without its question mark.
pub fn http_event(
    method: &str,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Value {
    let mut all = Map::from_iter([("host".to_owned(), json!("hub.example.com"))]);
    all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": all,
        "requestContext": {
            "accountId": "1", "apiId": "1", "domainName": "hub.example.com", "domainPrefix": "hub",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "t"},
            "requestId": "1", "routeKey": "$default", "stage": "$default", "time": "t", "timeEpoch": 1
        },
        "body": body, "isBase64Encoded": false
    })
}
