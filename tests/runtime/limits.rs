//! Lambda's limits on a process: time, descriptors, and being frozen between invocations.

use futures::future::join_all;
use oahub_tests::{hub::Hub, lambda::instance::DESCRIPTORS, run, tenant::text, wait::until};
use serde_json::json;
use wechat_simulator::{Fault, FaultKind};

use crate::{
    end_to_end::{bound, imported, template_message},
    processes,
};

const SEND: &str = "/cgi-bin/message/template/send";
const CUSTOM: &str = "/cgi-bin/message/custom/send";
const DETAILS: &str = "/cgi-bin/user/info/batchget";
const DETAIL: &str = "/cgi-bin/user/info";

/// A batch of one follower's messages exceeds the function's timeout: it does what fits, gives the rest back
/// and is never killed in the middle, which would leave a message's outcome unknown.
#[test]
fn an_invocation_ends_by_itself_before_the_time_that_the_template_gives_it() {
    run(async {
        // the visibility timeout is longer than an invocation, so no message is received twice
        let hub = Hub::of_functions_with(&["--send-timeout", "16", "--visibility", "60"]).await;
        let (tenant, account) = bound(&hub, 2).await;
        let open_id = hub.follower(&account).openid;
        hub.wechat.fault(Fault::once(SEND, FaultKind::Delay { ms: 2_500 }).times(u32::MAX));
        let path = format!("/v1/accounts/{}/messages", account.app_id);
        let mut ids = Vec::new();
        for _ in 0..8 {
            let accepted = tenant.api.post(&path, &template_message(&open_id)).await.expect(202);
            ids.push(accepted["id"].as_str().unwrap().to_owned());
        }
        for id in ids {
            let message = tenant.outcome(&id).await;
            assert!(matches!(message["status"].as_str(), Some("sent" | "delivered")), "{message}");
        }
        assert_eq!(hub.wechat.received(&account.app_id, &open_id).len(), 8, "each once");
        assert_eq!(hub.wechat.calls(SEND).calls, 8, "and asked for once");
        let log = hub.log();
        let ended: Vec<_> =
            log.lines().filter(|line| line.contains("imed out") || line.contains("Timedout")).collect();
        assert!(ended.is_empty(), "{ended:?}");
    });
}

/// A quarter of what an environment has, as a safe margin.
const MANY: usize = DESCRIPTORS as usize / 4;

#[test]
fn functions_with_many_connections_stay_far_below_lambdas_descriptors() {
    run(async {
        let hub = Hub::of_functions().await;
        // details are fetched one by one, and slowly
        hub.wechat.fault(Fault::once(DETAILS, FaultKind::Error { errcode: 40003 }).times(u32::MAX));
        hub.wechat.fault(Fault::once(DETAIL, FaultKind::Delay { ms: 100 }).times(u32::MAX));
        hub.wechat.fault(Fault::once(SEND, FaultKind::Delay { ms: 200 }).times(u32::MAX));
        let most = processes::most_descriptors(&hub, async {
            let (tenant, account) = bound(&hub, 500).await;
            let import = tenant.import(&account.app_id).await.unwrap();
            assert_eq!(imported(&import), [500; 3], "{import}");
            let customers = tenant.api.all(&format!("/v1/customers?app_id={}", account.app_id)).await;
            let fans: Vec<_> = customers.iter().map(|c| c["fans"][0]["open_id"].as_str().unwrap()).collect();
            let path = format!("/v1/accounts/{}/messages", account.app_id);
            let (api, path) = (&tenant.api, &path);
            let sent =
                join_all(fans.iter().take(100).map(|open_id| async move {
                    api.post(path, &template_message(open_id)).await.expect(202)
                }));
            for message in sent.await {
                let message = tenant.outcome(message["id"].as_str().unwrap()).await;
                assert!(matches!(message["status"].as_str(), Some("sent" | "delivered")), "{message}");
            }
        })
        .await;
        println!("the most descriptors: {most:?}");
        assert!(most.get("follower-import").is_some_and(|open| *open > 20), "none had many: {most:?}");
        assert!(most.values().all(|open| *open < MANY), "{most:?}");
        assert!(hub.wechat.calls(DETAIL).calls >= 500);
    });
}

/// Functions freeze between invocations and idle connections close. A customer-service message whose call
/// breaks off would have to fail: WeChat cannot be asked whether it arrived.
#[test]
fn connections_that_were_closed_while_a_function_stood_still_fail_no_call() {
    run(async {
        let (hub, relay) = Hub::of_functions_behind_a_relay().await;
        let (tenant, account) = bound(&hub, 2).await;
        let open_id = hub.follower(&account).openid;
        hub.say(&account, &open_id, "hello").await;
        let path = format!("/v1/accounts/{}/messages", account.app_id);
        let first = tenant.send(&account.app_id, &json!({"to": open_id, "content": text("0")})).await;
        assert_eq!(first["status"], "sent", "{first}");
        for n in 1..=4 {
            processes::signal(&hub, "message-send", "-STOP");
            assert!(relay.cut().await > 0, "no connection stood");
            let message = json!({"to": open_id, "content": text(&n.to_string())});
            let accepted = tenant.api.post(&path, &message).await.expect(202);
            // when it continues, its job and the closed connections are waiting
            until("the invocation", async || {
                let queues = hub.operator().get("/v1/platform/queues").await.expect(200);
                let send = queues["data"].as_array().unwrap().iter().find(|q| q["name"] == "send").cloned();
                (send?["in_flight"].as_u64()? > 0).then_some(())
            })
            .await;
            processes::signal(&hub, "message-send", "-CONT");
            let sent = tenant.outcome(accepted["id"].as_str().unwrap()).await;
            assert_eq!(sent["status"], "sent", "{sent}");
        }
        assert_eq!(hub.wechat.calls(CUSTOM).calls, 5, "each was asked for once");
    });
}
