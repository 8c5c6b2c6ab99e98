//! How a function starts, or reports why it does not.

use oahub_tests::{
    lambda::{events, instance::Instance, runtime_api::InvocationOutcome},
    run,
};
use serde_json::json;

use crate::functions::{invoke_json, launch, start, template_functions};

#[test]
fn every_function_of_the_template_starts_with_what_the_template_gives_it() {
    run(async {
        for spec in template_functions() {
            let instance = start(spec.code_uri.trim_start_matches("functions/")).await;
            assert!(instance.init_duration().await.is_some(), "{}: {}", spec.name, instance.log());
            assert_eq!(instance.log(), "", "{} has something to say", spec.name);
        }
    });
}

#[test]
fn it_answers_without_touching_what_it_does_not_need() {
    run(async {
        let instance = start("tenant-api").await;
        let healthy = invoke_json(&instance, &events::http("GET", "/healthz", "", "")).await;
        assert_eq!((&healthy["statusCode"], &healthy["body"]), (&json!(200), &json!(r#"{"status":"ok"}"#)));
        let described = invoke_json(&instance, &events::http("GET", "/openapi.json", "", "")).await;
        assert!(described["body"].as_str().unwrap().contains("\"openapi\""), "{described}");
    });
}

#[test]
fn a_setting_that_is_missing_or_malformed_is_reported_to_lambda_without_its_value() {
    run(async {
        for (package, name, value) in [
            ("authorization-callback", "OAHUB_COMPONENT_AES_KEY", None),
            ("message-callback", "OAHUB_COMPONENT_AES_KEY", Some("tooshortforakey")),
            ("message-callback", "OAHUB_COMPONENT_TOKEN", Some("t!")),
            ("token-refresh", "OAHUB_COMPONENT_APP_SECRET", None),
            ("follower-import", "OAHUB_COMPONENT_APP_ID", Some("gh_3c884a361561")),
            ("tenant-api", "OAHUB_ADMIN_KEY", Some("simulated-admin-key")),
            ("message-callback", "OAHUB_SEND_QUEUE", None),
            ("message-send", "OAHUB_WECHAT_API_URL", Some("no-scheme.example")),
        ] {
            let mut launch = launch(package);
            launch.environment.remove(name);
            launch.environment.extend(value.map(|value| (name.to_owned(), value.to_owned())));
            let instance = Instance::start(&launch, false).await;
            assert_eq!(instance.init_duration().await, None, "{package} started without {name}");
            let (status, said, log) = instance.into_exit().await;
            assert_eq!(status.code(), Some(1), "{package} {name}: {log}");
            let Some(InvocationOutcome::Error { kind, message }) = said else {
                panic!("{package} {name}: {said:?}")
            };
            assert_eq!(kind, "Runtime.InvalidSetting");
            assert!(message.contains(name) && message.contains("must be"), "{message}");
            assert_eq!(log.lines().count(), 1, "{package} {name}: {log}");
            assert!(log.contains(name), "{log}");
            let shown = value.is_some_and(|value| message.contains(value) || log.contains(value));
            assert!(!shown, "{package} {name}: its value is shown: {message} {log}");
        }
    });
}
