//! CloudWatch metrics: lines on standard output, which Lambda passes to the log unchanged.

use oahub_tests::{
    lambda::{events, instance::Instance},
    run,
    wait::until,
};
use serde_json::{Value, json};

use crate::functions::{invoke_json, launch};

/// 2026-01-01, unix milliseconds: a time in seconds would be smaller.
const NEW_YEAR_2026_MS: i64 = 1_767_225_600_000;

#[test]
fn a_metric_is_one_line_of_the_embedded_metric_format_on_standard_output() {
    run(async {
        let mut launch = launch("message-callback");
        launch.environment.insert("OAHUB_STACK".into(), "hub-of-a-test".into());
        let instance = Instance::start(&launch, false).await;
        for _ in 0..2 {
            let query = "signature=0&timestamp=1&nonce=2&echostr=x";
            let event = events::http("GET", "/wechat/accounts/wx0000000000000001", query, "");
            assert_ne!(invoke_json(&instance, &event).await["statusCode"], 200, "it is not WeChat's");
        }
        until("two lines", async || (instance.output().lines().count() >= 2).then_some(())).await;
        let output = instance.output();
        let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{output}");
        for line in lines {
            assert_eq!((&line["Stack"], &line["RefusedPushes"]), (&json!("hub-of-a-test"), &json!(1)));
            let aws = &line["_aws"];
            assert!(aws["Timestamp"].as_i64().is_some_and(|at| at > NEW_YEAR_2026_MS), "milliseconds: {aws}");
            let metric = json!({
                "Namespace": "oahub",
                "Dimensions": [["Stack"]],
                "Metrics": [{"Name": "RefusedPushes", "Unit": "Count"}],
            });
            assert_eq!(aws["CloudWatchMetrics"], json!([metric]));
        }
        assert!(instance.log().contains("a push was refused"), "its log goes elsewhere: {}", instance.log());
    });
}
