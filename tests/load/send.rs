//! Customer-service messages, each to a different fan who has just written.

use std::{sync::Arc, time::Duration};

use oahub_tests::{tenant::text_content, wait::until_within};
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use tokio::sync::Mutex;

use crate::{bound_account::BoundAccount, open_loop, plan::Plan, report::Report};

const CUSTOM_SEND_PATH: &str = "/cgi-bin/message/custom/send";
/// Concurrent clients of the tenant.
const CONCURRENT_POSTERS: usize = 16;
/// How long all sends may take before the run fails.
const SEND_TIMEOUT: Duration = Duration::from_secs(120);

/// Measures, and checks that each fan got exactly one message.
pub async fn measure(play: &BoundAccount<'_>, plan: &Plan, report: &mut Report) {
    let fans = play.fans(plan.messages);
    play.open_windows(&fans).await;
    let before = play.tenant.hub.wechat.calls(CUSTOM_SEND_PATH).ok;
    let cpu = play.tenant.hub.process().cpu_seconds();
    let begun = SystemClock.now();
    let (ids, accepted) = post(play, &fans).await;
    until_within(SEND_TIMEOUT, "the last message", async || {
        (play.tenant.hub.wechat.calls(CUSTOM_SEND_PATH).ok - before >= fans.len() as u64).then_some(())
    })
    .await;
    let cpu = cpu.zip(play.tenant.hub.process().cpu_seconds());
    let took = assert_each_got_one(play, &fans, &ids).await.duration_since(begun);
    let per_second = fans.len() as f64 / took.as_secs_f64();
    let mut result = format!("{per_second:.0}/s ({:.1} s), accepted at {accepted:.0}/s", took.as_secs_f64());
    if let Some((before, after)) = cpu {
        result += &format!(", {:.2} ms of processor each", (after - before) * 1000.0 / fans.len() as f64);
    }
    report.row(format!("{} messages, accepted to sent", fans.len()), result, "≥ 1000/s");
}

/// Returns the messages' ids and the accepted requests per second.
async fn post(play: &BoundAccount<'_>, fans: &[String]) -> (Vec<String>, f64) {
    let ids = Arc::new(Mutex::new(Vec::new()));
    let (api, fans) = (play.tenant.api.clone(), Arc::new(fans.to_vec()));
    let path = Arc::new(format!("/v1/accounts/{}/messages", play.account.app_id));
    let kept = Arc::clone(&ids);
    let rate = open_loop::run_closed(CONCURRENT_POSTERS, fans.len(), move |number| {
        let (api, fans, path, kept) = (api.clone(), Arc::clone(&fans), Arc::clone(&path), Arc::clone(&kept));
        async move {
            let message =
                json!({"to": fans[number], "content": text_content(&format!("for {}", fans[number]))});
            let accepted = api.post(&path, &message).await.expect(202);
            kept.lock().await.push(accepted["id"].as_str().unwrap().to_owned());
        }
    })
    .await;
    let ids = std::mem::take(&mut *ids.lock().await);
    (ids, rate)
}

/// Checks that each fan got exactly one; returns when the last was sent.
async fn assert_each_got_one(play: &BoundAccount<'_>, fans: &[String], ids: &[String]) -> jiff::Timestamp {
    let mut last = jiff::Timestamp::UNIX_EPOCH;
    let mut to = std::collections::BTreeSet::new();
    for ids in ids.chunks(8) {
        for message in futures::future::join_all(ids.iter().map(|id| play.tenant.await_message(id))).await {
            assert_eq!(message["status"], "sent", "{message}");
            assert_eq!(message["channel"], "customer_service", "{message}");
            to.insert(message["to"].as_str().unwrap().to_owned());
            last = last.max(parse_time(&message["sent_at"]));
        }
    }
    assert_eq!(to.len(), fans.len(), "somebody's message is missing");
    for fan in fans {
        let got = play.tenant.hub.wechat.received(&play.account.app_id, fan);
        let own = format!("for {fan}");
        let times = got.iter().filter(|item| item.text == own).count();
        assert_eq!(times, 1, "{fan} got {got:?}");
    }
    last
}

fn parse_time(time: &Value) -> jiff::Timestamp {
    time.as_str().unwrap().parse().unwrap()
}
