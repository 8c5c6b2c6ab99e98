//! One tenant floods the hub and uses up its quota; other tenants must not notice.

use std::time::Duration;

use futures::{StreamExt, stream};
use oahub_tests::{hub::Hub, run, tenant::text_content, wait::until_within};
use serde_json::{Value, json};

const TEMPLATE_SEND_PATH: &str = "/cgi-bin/message/template/send";
/// Messages of the flooding tenant: one or two seconds of the queue's work.
const MESSAGES: usize = 600;
/// The flooding account's daily quota.
const DAILY_QUOTA: u64 = 40;
/// Messages that may be under way when the first is refused: those of all concurrent batches.
const MAX_IN_FLIGHT: u64 = 200;
/// How long another tenant's message may take meanwhile.
const MAX_DELAY: Duration = Duration::from_secs(20);

#[test]
fn a_tenant_that_uses_up_its_quota_keeps_nobody_else_waiting() {
    run(async {
        let hub = Hub::exclusive().await;
        let (many, few) = (hub.create_tenant().await, hub.create_tenant().await);
        let theirs = hub.add_service_account(MESSAGES as u64);
        let ours = hub.add_service_account(1);
        many.bind(&theirs).await;
        few.bind(&ours).await;
        many.await_import(&theirs.app_id).await;
        hub.wechat.limit_quota(&theirs.app_id, TEMPLATE_SEND_PATH, DAILY_QUOTA);
        let fans = hub.wechat.account(&theirs.app_id).unwrap().followers.page("", usize::MAX).unwrap();
        let path = format!("/v1/accounts/{}/messages", theirs.app_id);
        let template = json!({
            "template_id": "TMsimulatedOrderReady000000000000000000000001",
            "data": {"thing1": {"value": "Tea"}, "time2": {"value": "now"}, "amount3": {"value": "1"}},
        });
        let posted: Vec<Value> = stream::iter(&fans)
            .map(|fan| {
                let message = json!({"to": fan, "template": template});
                let (many, path) = (&many, &path);
                async move { many.api.post(path, &message).await.expect(202) }
            })
            .buffer_unordered(20)
            .collect()
            .await;
        // another's push is answered, and another's message goes out
        let fan = hub.newest_follower(&ours).openid;
        hub.say(&ours, &fan, "hello").await;
        let path = format!("/v1/accounts/{}/messages", ours.app_id);
        let sent =
            few.api.post(&path, &json!({"to": fan, "content": text_content("beside")})).await.expect(202);
        let id = sent["id"].as_str().unwrap();
        until_within(MAX_DELAY, "another's message", async || {
            let message = few.api.get(&format!("/v1/messages/{id}")).await.expect(200);
            (message["status"] == "sent").then_some(())
        })
        .await;
        // all beyond the quota wait, without a call to WeChat for each
        let last = posted.last().unwrap()["id"].as_str().unwrap();
        let waits = many.api.get(&format!("/v1/messages/{last}")).await.expect(200);
        assert_eq!(waits["status"], "queued", "{waits}");
        let asked = hub.wechat.calls(TEMPLATE_SEND_PATH);
        let refused = asked.errors.get(&45009).copied().unwrap_or(0);
        assert!(refused <= MAX_IN_FLIGHT, "WeChat refused {refused} times");
    });
}
