//! One tenant floods the hub and uses up its quota; meanwhile another tenant converses with a fan.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use oahub_tests::{
    tenant::{Tenant, text_content},
    wait::until_within,
};
use serde_json::json;
use wechat_simulator::SimulatedAccount;

use crate::{
    bound_account::BoundAccount,
    open_loop::{self, LoadResult},
    plan::Plan,
    report::Report,
};

const TEMPLATE_SEND_PATH: &str = "/cgi-bin/message/template/send";
/// Concurrent clients of the flooding tenant.
const CONCURRENT_POSTERS: usize = 16;
/// The quota allows one message in this many.
const MESSAGES_PER_QUOTA_UNIT: usize = 50;
/// How long the other tenant's conversation goes on after the flood.
const COOL_DOWN: Duration = Duration::from_secs(5);
/// Time between two turns of the conversation.
const TURN_INTERVAL: Duration = Duration::from_millis(200);
/// How long the other tenant's message may take before the run fails.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Measures, and checks that the quota was kept and the other tenant served.
pub async fn measure(play: &BoundAccount<'_>, plan: &Plan, report: &mut Report) {
    let hub = play.tenant.hub;
    let few = hub.create_tenant().await;
    let account = hub.add_service_account(1);
    few.bind(&account).await;
    let alone = conversation(&few, &account, async || tokio::time::sleep(COOL_DOWN).await).await;
    let quota = (plan.flood / MESSAGES_PER_QUOTA_UNIT) as u64;
    hub.wechat.limit_quota(&play.account.app_id, TEMPLATE_SEND_PATH, quota);
    let before = hub.wechat.calls(TEMPLATE_SEND_PATH);
    let beside = conversation(&few, &account, async || {
        flood(play, plan).await;
        tokio::time::sleep(COOL_DOWN).await;
    })
    .await;
    let after = hub.wechat.calls(TEMPLATE_SEND_PATH);
    assert!(after.ok - before.ok <= quota, "more were sent than the quota allows");
    let refused = after.errors.get(&45009).copied().unwrap_or(0);
    let what = format!("{} messages of one tenant, of which its quota allows {quota}", plan.flood);
    report.row(what, format!("{} sent, {refused} calls refused", after.ok - before.ok), "a few refused");
    report.row("another tenant's push, alone", alone.pushes.summary(), "");
    report.row("another tenant's push, beside them", beside.pushes.summary(), "as usual");
    report.row("another tenant's message, alone", alone.messages.summary(), "");
    report.row("another tenant's message, beside them", beside.messages.summary(), "max < 2 s");
}

/// Latencies of pushes until the response, and of messages from the request to WeChat.
struct ConversationLatencies {
    pushes: LoadResult,
    messages: LoadResult,
}

/// The fan writes and is written to, again and again until `end`.
async fn conversation(
    tenant: &Tenant<'_>,
    account: &SimulatedAccount,
    end: impl AsyncFnOnce(),
) -> ConversationLatencies {
    let hub = tenant.hub;
    let fan = hub.newest_follower(account).openid;
    let path = format!("/v1/accounts/{}/messages", account.app_id);
    let (mut answers, mut messages) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    let talk = async {
        loop {
            let said = Instant::now();
            hub.say(account, &fan, "hello").await;
            answers.push(said.elapsed());
            let words = format!("answer {}", oahub_tests::push::unique_number());
            let posted = Instant::now();
            let _ = tenant
                .api
                .post(&path, &json!({"to": fan, "content": text_content(&words)}))
                .await
                .expect(202);
            until_within(MESSAGE_TIMEOUT, "another's message", async || {
                let got = hub.wechat.received(&account.app_id, &fan);
                got.iter().any(|item| item.text == words).then_some(())
            })
            .await;
            messages.push(posted.elapsed());
            tokio::time::sleep(TURN_INTERVAL).await;
        }
    };
    tokio::select! {
        () = talk => {}
        () = end() => {}
    }
    let took = begun.elapsed();
    ConversationLatencies { pushes: LoadResult::of(answers, took), messages: LoadResult::of(messages, took) }
}

/// Posts the flood of messages.
async fn flood(play: &BoundAccount<'_>, plan: &Plan) {
    let api = play.tenant.api.clone();
    let fans = Arc::new(play.fans(plan.fans));
    let path = Arc::new(format!("/v1/accounts/{}/messages", play.account.app_id));
    open_loop::run_closed(CONCURRENT_POSTERS, plan.flood, move |number| {
        let (api, fans, path) = (api.clone(), Arc::clone(&fans), Arc::clone(&path));
        async move {
            let template = json!({
                "template_id": "TMsimulatedOrderReady000000000000000000000001",
                "data": {"thing1": {"value": "Tea"}, "time2": {"value": "now"}, "amount3": {"value": "1"}},
            });
            let message = json!({"to": fans[number % fans.len()], "template": template});
            let _ = api.post(&path, &message).await.expect(202);
        }
    })
    .await;
}
