//! Lambda's limits on a process: time, descriptors, and being frozen between invocations.

use futures::future::join_all;
use oahub_tests::{hub::Hub, lambda::instance::MAX_DESCRIPTORS, run, tenant::text_content, wait::until};
use serde_json::json;
use wechat_simulator::{FaultKind, InjectedFault};

use crate::{
    end_to_end::{bind_account, import_counts, template_message},
    processes,
};

const TEMPLATE_SEND_PATH: &str = "/cgi-bin/message/template/send";
const CUSTOM_SEND_PATH: &str = "/cgi-bin/message/custom/send";
const USER_INFO_BATCH_PATH: &str = "/cgi-bin/user/info/batchget";
const USER_INFO_PATH: &str = "/cgi-bin/user/info";

/// A batch of one follower's messages exceeds the function's timeout: it does what fits, gives the rest back
/// and is never killed in the middle, which would leave a message's outcome unknown.
#[test]
fn an_invocation_ends_by_itself_before_the_time_that_the_template_gives_it() {
    run(async {
        // the visibility timeout is longer than an invocation, so no message is received twice
        let hub = Hub::with_processes_and_flags(&["--send-timeout", "16", "--visibility", "60"]).await;
        let (tenant, account) = bind_account(&hub, 2).await;
        let open_id = hub.newest_follower(&account).openid;
        hub.wechat.inject_fault(
            InjectedFault::once(TEMPLATE_SEND_PATH, FaultKind::Delay { ms: 2_500 }).times(u32::MAX),
        );
        let path = format!("/v1/accounts/{}/messages", account.app_id);
        let mut ids = Vec::new();
        for _ in 0..8 {
            let accepted = tenant.api.post(&path, &template_message(&open_id)).await.expect(202);
            ids.push(accepted["id"].as_str().unwrap().to_owned());
        }
        for id in ids {
            let message = tenant.await_message(&id).await;
            assert!(matches!(message["status"].as_str(), Some("sent" | "delivered")), "{message}");
        }
        assert_eq!(hub.wechat.received(&account.app_id, &open_id).len(), 8, "each once");
        assert_eq!(hub.wechat.calls(TEMPLATE_SEND_PATH).calls, 8, "and asked for once");
        let log = hub.log();
        let ended: Vec<_> =
            log.lines().filter(|line| line.contains("imed out") || line.contains("Timedout")).collect();
        assert!(ended.is_empty(), "{ended:?}");
    });
}

/// A quarter of what an environment has, as a safe margin.
const DESCRIPTOR_LIMIT: usize = MAX_DESCRIPTORS as usize / 4;

#[test]
fn functions_with_many_connections_stay_far_below_lambdas_descriptors() {
    run(async {
        let hub = Hub::with_processes().await;
        // details are fetched one by one, and slowly
        hub.wechat.inject_fault(
            InjectedFault::once(USER_INFO_BATCH_PATH, FaultKind::Error { errcode: 40003 }).times(u32::MAX),
        );
        hub.wechat
            .inject_fault(InjectedFault::once(USER_INFO_PATH, FaultKind::Delay { ms: 100 }).times(u32::MAX));
        hub.wechat.inject_fault(
            InjectedFault::once(TEMPLATE_SEND_PATH, FaultKind::Delay { ms: 200 }).times(u32::MAX),
        );
        let most = processes::most_descriptors(&hub, async {
            let (tenant, account) = bind_account(&hub, 500).await;
            let import = tenant.newest_import(&account.app_id).await.unwrap();
            assert_eq!(import_counts(&import), [500; 3], "{import}");
            let customers = tenant.api.list_all(&format!("/v1/customers?app_id={}", account.app_id)).await;
            let fans: Vec<_> = customers.iter().map(|c| c["fans"][0]["open_id"].as_str().unwrap()).collect();
            let path = format!("/v1/accounts/{}/messages", account.app_id);
            let (api, path) = (&tenant.api, &path);
            let sent =
                join_all(fans.iter().take(100).map(|open_id| async move {
                    api.post(path, &template_message(open_id)).await.expect(202)
                }));
            for message in sent.await {
                let message = tenant.await_message(message["id"].as_str().unwrap()).await;
                assert!(matches!(message["status"].as_str(), Some("sent" | "delivered")), "{message}");
            }
        })
        .await;
        println!("the most descriptors: {most:?}");
        assert!(most.get("follower-import").is_some_and(|open| *open > 20), "none had many: {most:?}");
        assert!(most.values().all(|open| *open < DESCRIPTOR_LIMIT), "{most:?}");
        assert!(hub.wechat.calls(USER_INFO_PATH).calls >= 500);
    });
}

/// Functions freeze between invocations and idle connections close. A customer-service message whose call
/// breaks off would have to fail: WeChat cannot be asked whether it arrived.
#[test]
fn connections_that_were_closed_while_a_function_stood_still_fail_no_call() {
    run(async {
        let (hub, relay) = Hub::with_processes_behind_relay().await;
        let (tenant, account) = bind_account(&hub, 2).await;
        let open_id = hub.newest_follower(&account).openid;
        hub.say(&account, &open_id, "hello").await;
        let path = format!("/v1/accounts/{}/messages", account.app_id);
        let first = tenant
            .send_and_await(&account.app_id, &json!({"to": open_id, "content": text_content("0")}))
            .await;
        assert_eq!(first["status"], "sent", "{first}");
        for n in 1..=4 {
            processes::signal(&hub, "message-send", "-STOP");
            assert!(relay.cut().await > 0, "no connection stood");
            let message = json!({"to": open_id, "content": text_content(&n.to_string())});
            let accepted = tenant.api.post(&path, &message).await.expect(202);
            // when it continues, its job and the closed connections are waiting
            until("the invocation", async || {
                let queues = hub.operator().get("/v1/platform/queues").await.expect(200);
                let send = queues["data"].as_array().unwrap().iter().find(|q| q["name"] == "send").cloned();
                (send?["in_flight"].as_u64()? > 0).then_some(())
            })
            .await;
            processes::signal(&hub, "message-send", "-CONT");
            let sent = tenant.await_message(accepted["id"].as_str().unwrap()).await;
            assert_eq!(sent["status"], "sent", "{sent}");
        }
        assert_eq!(hub.wechat.calls(CUSTOM_SEND_PATH).calls, 5, "each was asked for once");
    });
}
