//! A binding, an import, a reply and a send, with all functions as processes.

use oahub_tests::{
    hub::Hub,
    run,
    tenant::{Tenant, text_content},
    wait::until,
};
use serde_json::{Value, json};
use wechat_simulator::{FaultKind, InjectedFault, PushOutcome, SimulatedAccount};

use crate::processes;

const TEMPLATE_SEND_PATH: &str = "/cgi-bin/message/template/send";
const USER_INFO_BATCH_PATH: &str = "/cgi-bin/user/info/batchget";

/// A template message, which needs no reply window.
pub fn template_message(to: &str) -> Value {
    json!({
        "to": to,
        "template": {
            "template_id": "TMsimulatedOrderReady000000000000000000000001",
            "data": {"thing1": {"value": "Latte"}, "time2": {"value": "2025-01-01 09:00"}, "amount3": {"value": "¥18.00"}},
        },
    })
}

/// The three counts of an import.
pub fn import_counts(import: &Value) -> [u64; 3] {
    ["followers_total", "followers_listed", "followers_imported"].map(|name| import[name].as_u64().unwrap())
}

/// Waits until WeChat has been called at this path.
async fn await_call(hub: &Hub, path: &str) {
    until(format!("a call of {path}"), async || (hub.wechat.calls(path).calls > 0).then_some(())).await;
}

/// A tenant whose account is bound and imported.
pub async fn bind_account(hub: &Hub, followers: u64) -> (Tenant<'_>, SimulatedAccount) {
    let tenant = hub.create_tenant().await;
    let account = hub.add_service_account(followers);
    tenant.bind(&account).await;
    (tenant, account)
}

#[test]
fn an_account_is_bound_imported_answered_and_written_to() {
    run(async {
        let hub = Hub::with_processes().await;
        let (tenant, account) = bind_account(&hub, 230).await;
        let import = tenant.newest_import(&account.app_id).await.unwrap();
        assert_eq!(import_counts(&import), [230; 3], "{import}");
        let open_id = hub.newest_follower(&account).openid;
        tenant
            .set_reply_rules(
                &account.app_id,
                &json!({"keywords": [{"keyword": "menu", "match": "exact", "reply": text_content("Latte 18")}]}),
            )
            .await;
        let delivery = hub.say(&account, &open_id, "menu").await;
        assert_eq!(delivery.outcome, PushOutcome::Replied, "{delivery:?}");
        let seen = hub.wechat.received(&account.app_id, &open_id).pop().unwrap();
        assert_eq!((seen.channel.as_str(), seen.text.as_str()), ("passive", "Latte 18"));
        let message = json!({"to": open_id, "content": text_content("It is ready.")});
        let sent = tenant.send_and_await(&account.app_id, &message).await;
        assert_eq!(
            (&sent["status"], &sent["channel"]),
            (&json!("sent"), &json!("customer_service")),
            "{sent}"
        );
        let seen = hub.wechat.received(&account.app_id, &open_id).pop().unwrap();
        assert_eq!(seen.text, "It is ready.");
        let kinds: Vec<_> =
            tenant.timeline(&account.app_id, &open_id).await.iter().map(|e| e["type"].clone()).collect();
        assert!(
            kinds.contains(&json!("message_received")) && kinds.contains(&json!("message_sent")),
            "{kinds:?}"
        );
        let platform = hub.operator().get("/v1/platform").await.expect(200);
        assert!(platform["component_token_expires_at"].is_string(), "{platform}");
        for function in oahub_tests::binary::FUNCTIONS {
            assert!(!processes::of(&hub, function).is_empty(), "no process of {function} was needed");
        }
    });
}

#[test]
fn a_function_that_is_killed_in_the_middle_gets_its_job_again() {
    run(async {
        let hub = Hub::with_processes().await;
        let (tenant, account) = bind_account(&hub, 2).await;
        let open_id = hub.newest_follower(&account).openid;
        // the process dies while it waits for WeChat
        hub.wechat.inject_fault(InjectedFault::once(TEMPLATE_SEND_PATH, FaultKind::Timeout));
        let path = format!("/v1/accounts/{}/messages", account.app_id);
        let accepted = tenant.api.post(&path, &template_message(&open_id)).await.expect(202);
        await_call(&hub, TEMPLATE_SEND_PATH).await;
        hub.wechat.clear_faults();
        processes::signal(&hub, "message-send", "-9");
        let message = tenant.await_message(accepted["id"].as_str().unwrap()).await;
        assert!(matches!(message["status"].as_str(), Some("sent" | "delivered")), "{message}");
        assert_eq!(hub.wechat.received(&account.app_id, &open_id).len(), 1, "once, whoever died");
        assert!(hub.wechat.calls(TEMPLATE_SEND_PATH).calls >= 2, "the second process did not ask WeChat");
    });
}

#[test]
fn an_import_whose_process_is_killed_ends_exactly() {
    run(async {
        let hub = Hub::with_processes().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(450);
        hub.wechat.inject_fault(
            InjectedFault::once(USER_INFO_BATCH_PATH, FaultKind::Timeout).after_calls(1).times(u32::MAX),
        );
        let (_, binding) = tenant.try_bind(&account).await;
        assert_eq!(binding["status"], "bound");
        until("the middle of the import", async || {
            (hub.wechat.calls(USER_INFO_BATCH_PATH).calls >= 3).then_some(())
        })
        .await;
        hub.wechat.clear_faults();
        processes::signal(&hub, "follower-import", "-9");
        let import = tenant.await_import(&account.app_id).await;
        assert_eq!(import_counts(&import), [450; 3], "{import}");
        let customers = tenant.api.list_all(&format!("/v1/customers?app_id={}", account.app_id)).await;
        assert_eq!(customers.len(), 450);
    });
}

#[test]
fn a_push_is_answered_with_lambdas_share_of_a_processor() {
    run(async {
        let hub = Hub::with_processes_and_flags(&["--shares"]).await;
        let (tenant, account) = bind_account(&hub, 2).await;
        let open_id = hub.newest_follower(&account).openid;
        let rules =
            json!({"keywords": [{"keyword": "menu", "match": "exact", "reply": text_content("Latte 18")}]});
        tenant.set_reply_rules(&account.app_id, &rules).await;
        // a cold and a warm process: WeChat waits for five seconds
        for what in ["cold", "warm"] {
            let delivery = hub.say(&account, &open_id, "menu").await;
            assert_eq!(
                (delivery.outcome, delivery.attempts.len()),
                (PushOutcome::Replied, 1),
                "{what}: {delivery:?}"
            );
        }
    });
}
