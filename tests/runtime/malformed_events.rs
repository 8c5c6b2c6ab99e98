//! Malformed events fail or are refused, and the process goes on.

use oahub_tests::{
    lambda::{events, instance::Instance, runtime_api::InvocationOutcome},
    run,
};
use serde_json::{Value, json};

use crate::functions::{TIMEOUT, invoke_json, start};

/// The same process still answers.
async fn still_answers(instance: &Instance, id: u32) {
    let health = invoke_json(instance, &events::http("GET", "/healthz", "", "")).await;
    assert_eq!((&health["statusCode"], instance.id()), (&json!(200), id), "{}", instance.log());
}

#[test]
fn odd_hosts_are_answered() {
    run(async {
        let instance = start("tenant-api").await;
        for host in ["x.127.0.0.1", "[::1", "a b", "x:99999", "ex%zz", "<", "", "\u{1F600}", "a\u{0}b"] {
            let mut event = events::http("GET", "/healthz", "", "");
            event["headers"]["host"] = json!(host);
            event["requestContext"]["domainName"] = json!(host);
            let health = invoke_json(&instance, &event).await;
            assert_eq!(health["statusCode"], 200, "{host:?}: {}", instance.log());
        }
        let mut none = events::http("GET", "/healthz", "", "");
        none["headers"].as_object_mut().unwrap().remove("host");
        assert_eq!(invoke_json(&instance, &none).await["statusCode"], 200);
    });
}

#[test]
fn odd_schemes_are_answered() {
    run(async {
        let instance = start("tenant-api").await;
        for scheme in ["https", "http", "HTTPS", "https,http", "a b", ":", "", "\u{1F600}", "javascript"] {
            let mut event = events::http("GET", "/healthz", "", "");
            event["headers"]["x-forwarded-proto"] = json!(scheme);
            let health = invoke_json(&instance, &event).await;
            assert_eq!(health["statusCode"], 200, "{scheme:?}: {}", instance.log());
        }
    });
}

#[test]
fn odd_queries_are_answered() {
    run(async {
        let instance = start("tenant-api").await;
        for query in ["a=\"", "a=<b>", "a=b c", "a=%zz&%", "a=b#c", "=&&=", "a=\u{1F600}", "a=\u{0}\u{7f}"] {
            let health = invoke_json(&instance, &events::http("GET", "/healthz", query, "")).await;
            assert_eq!(health["statusCode"], 200, "{query:?}: {}", instance.log());
        }
    });
}

#[test]
fn no_path_leads_to_another_route_than_the_one_that_was_matched() {
    run(async {
        let instance = start("tenant-api").await;
        for path in ["/v1/../healthz", "/v1/./../healthz", "/v1/messages/../../healthz", "/v1/messages/.."] {
            let refused = invoke_json(&instance, &events::http("GET", path, "", "")).await;
            let status = refused["statusCode"].as_u64().unwrap();
            assert!(matches!(status, 401 | 404), "{path}: {refused}");
        }
        // dots within a name are a name's
        assert_eq!(
            invoke_json(&instance, &events::http("GET", "/openapi.json", "", "")).await["statusCode"],
            200
        );
    });
}

#[test]
fn an_event_that_cannot_be_read_is_an_error_of_its_own_invocation() {
    run(async {
        let instance = start("tenant-api").await;
        let id = instance.id();
        let mut lacking = events::http("GET", "/healthz", "", "");
        lacking["requestContext"].as_object_mut().unwrap().remove("http");
        let mut wrong = events::http("GET", "/healthz", "", "");
        wrong["headers"] = json!(7);
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for (what, event) in [
            ("nothing", Vec::new()),
            ("no JSON", b"\x00\xff not json".to_vec()),
            (
                "half of an event",
                events::http("GET", "/healthz", "", "").to_string().as_bytes()[..99].to_vec(),
            ),
            ("a number", b"7".to_vec()),
            ("null", b"null".to_vec()),
            ("nested too deep", deep.into_bytes()),
            ("an HTTP event without its request", lacking.to_string().into_bytes()),
            ("headers that are none", wrong.to_string().into_bytes()),
            ("a batch", events::sqs("ImportQueue", &["{}"]).to_string().into_bytes()),
            ("a batch that is none", br#"{"Records":7}"#.to_vec()),
            ("a schedule", events::schedule().to_string().into_bytes()),
        ] {
            let outcome = instance.invoke(event, TIMEOUT).await;
            assert!(
                matches!(&outcome, InvocationOutcome::Error { message, .. } if !message.is_empty()),
                "{what}: {outcome:?}"
            );
            still_answers(&instance, id).await;
        }
    });
}

#[test]
fn events_as_large_as_lambda_delivers_are_answered() {
    run(async {
        let body = "x".repeat(5_900_000);
        let api = start("tenant-api").await;
        let huge = events::http("POST", "/v1/tenants", "", &body);
        assert_eq!(invoke_json(&api, &huge).await["statusCode"], 401);
        still_answers(&api, api.id()).await;
        let callback = start("message-callback").await;
        let push = events::http("POST", "/wechat/accounts/wx0000000000000001", "", &body);
        let refused = invoke_json(&callback, &push).await;
        let status = refused["statusCode"].as_u64().unwrap();
        assert!((400..500).contains(&status), "{refused}");
    });
}

#[test]
fn a_body_in_base64_is_the_body() {
    run(async {
        let instance = start("tenant-api").await;
        let mut event = events::http("POST", "/v1/tenants", "", "eyJuYW1lIjo3fQ=="); // {"name":7}
        event["isBase64Encoded"] = json!(true);
        event["headers"]["authorization"] = json!(format!("Bearer {}", oahub_tests::hub::ADMIN_KEY));
        event["headers"]["content-type"] = json!("application/json");
        let refused = invoke_json(&instance, &event).await;
        assert_eq!(refused["statusCode"], 422, "{refused}");
        assert!(refused["body"].as_str().unwrap().contains("name"), "it was not read: {refused}");
    });
}

#[test]
fn a_batch_answers_for_each_message() {
    run(async {
        let refresh = start("token-refresh").await;
        // not a job: stays for the dead-letter queue. A job without accounts: succeeds without any table
        let batch = events::sqs("RefreshQueue", &["no job", r#"{"type":"authorizers_v1","app_ids":[]}"#]);
        assert_eq!(
            invoke_json(&refresh, &batch).await,
            json!({"batchItemFailures": [{"itemIdentifier": "m0"}]})
        );
        let one = r#"{"type":"authorizers_v1","app_ids":["wx0000000000000001"]}"#;
        let unreachable = events::sqs("RefreshQueue", &[one]);
        assert_eq!(
            invoke_json(&refresh, &unreachable).await,
            json!({"batchItemFailures": [{"itemIdentifier": "m0"}]}),
            "DynamoDB does not answer"
        );
    });
}

#[test]
fn a_schedule_whose_work_fails_is_an_error_that_lambda_counts() {
    run(async {
        let refresh = start("token-refresh").await;
        let outcome = refresh.invoke(events::schedule().to_string(), TIMEOUT).await;
        let InvocationOutcome::Error { message, .. } = outcome else { panic!("{outcome:?}") };
        assert!(!message.is_empty() && !message.contains("secret"), "{message}");
        assert!(refresh.is_alive());
        let again: Value = invoke_json(&refresh, &events::sqs("RefreshQueue", &["no job"])).await;
        assert_eq!(again["batchItemFailures"][0]["itemIdentifier"], "m0");
    });
}
