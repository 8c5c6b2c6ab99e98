//! Events as AWS's services write them, for tests that call a function directly.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// API Gateway's HTTP API, payload format 2.0, of a request with this body.
///
/// # Source
/// API Gateway developer guide, "Create AWS Lambda proxy integrations for HTTP APIs".
#[must_use]
pub fn http(method: &str, path: &str, query: &str, body: &str) -> Value {
    let mut parameters: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        // a name that comes again has its values joined by commas; only what reads the raw query can tell them apart
        parameters.entry(name).and_modify(|v| *v = format!("{v},{value}")).or_insert(value.to_owned());
    }
    json!({
        "version": "2.0",
        "routeKey": format!("{method} {path}"),
        "rawPath": path,
        "rawQueryString": query,
        "cookies": ["first=1", "second=2"],
        "headers": {
            "accept": "*/*",
            "content-length": body.len().to_string(),
            "content-type": "text/xml",
            "host": "abcdefghij.execute-api.us-east-1.amazonaws.com",
            "user-agent": "Mozilla/4.0",
            "x-amzn-trace-id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "queryStringParameters": parameters,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdefghij",
            "domainName": "abcdefghij.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "abcdefghij",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "Mozilla/4.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": format!("{method} {path}"),
            "stage": "$default",
            "time": "24/Nov/2026:10:32:40 +0000",
            "timeEpoch": 1_795_516_360_000_i64,
        },
        "pathParameters": {},
        "isBase64Encoded": false,
        "body": body,
    })
}

/// A batch from SQS of messages with these bodies; their ids are `m0`, `m1`, ….
///
/// # Source
/// Lambda developer guide, "Using Lambda with Amazon SQS".
#[must_use]
pub fn sqs(queue: &str, bodies: &[&str]) -> Value {
    let record = |(n, body): (usize, &&str)| {
        json!({
            "messageId": format!("m{n}"),
            "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": "1545082649183",
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1545082649185",
            },
            "messageAttributes": {},
            "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
            "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:us-east-1:123456789012:{queue}"),
            "awsRegion": "us-east-1",
        })
    };
    json!({"Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>()})
}

/// EventBridge Scheduler's, of a schedule without an input of its own.
///
/// # Source
/// EventBridge Scheduler user guide, "Managing a schedule's target", default notification.
#[must_use]
pub fn schedule() -> Value {
    json!({
        "version": "0",
        "id": "27cdf38e-3d4a-4c6f-8e1b-d6d1f2f3a0c5",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "123456789012",
        "time": "2026-11-24T10:32:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/oahub-tick"],
        "detail": "{}",
    })
}
