//! Database requests per operation of the hub, counted in the database's own log.

use std::collections::BTreeMap;

use oahub_tests::push::unique_number;
use serde_json::json;

use crate::{
    bound_account::{BoundAccount, LoadTestHub},
    report::Report,
};

/// How often each operation is done.
const REPETITIONS: usize = 200;

/// Counts.
pub async fn measure(report: &mut Report) {
    let stage = LoadTestHub::new("warn,local::database=debug").await;
    let mut from = requests_by_operation(&stage);
    let mut row = |what: &str, times: usize, target: &str| {
        let now = requests_by_operation(&stage);
        let mut each = Vec::new();
        for (operation, count) in &now {
            let new = count - from.get(operation).copied().unwrap_or(0);
            if new > 0 {
                each.push(format!("{operation} {:.3}", new as f64 / times as f64));
            }
        }
        from = now;
        report.row(format!("requests to the database, {what}"), each.join(", "), target);
    };
    let play = stage.bind(2_000).await;
    row("each follower of a binding with 2000", 2_000, "");
    let fans = play.fans(REPETITIONS);
    play.seal_message(&fans[0], unique_number()).send().await; // the instance is warm
    row("setting up", 1, "");
    for fan in &fans {
        play.seal_message(fan, unique_number()).send().await;
    }
    row("each callback", REPETITIONS, "2 writes, 1 read at most");
    play.open_windows(&fans).await;
    row("each callback through the simulated WeChat", REPETITIONS, "2 writes, 1 read at most");
    send(&play, &fans).await;
    row("each message, accepted to sent", REPETITIONS, "");
}

/// Sends a message to each and waits for it at WeChat, without requests to the hub.
async fn send(play: &BoundAccount<'_>, fans: &[String]) {
    let path = format!("/v1/accounts/{}/messages", play.account.app_id);
    for fan in fans {
        let message = json!({"to": fan, "content": oahub_tests::tenant::text_content("hello")});
        let _ = play.tenant.api.post(&path, &message).await.expect(202);
    }
    oahub_tests::wait::until("the messages", async || {
        (play.tenant.hub.wechat.calls("/cgi-bin/message/custom/send").ok >= fans.len() as u64).then_some(())
    })
    .await;
}

/// Requests so far, by operation.
fn requests_by_operation(stage: &LoadTestHub) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for line in stage.hub.log().lines().filter(|line| line.contains("local::database: request ")) {
        let operation = line.split("operation=\"").nth(1).and_then(|rest| rest.split('"').next());
        *found.entry(operation.unwrap_or("?").to_owned()).or_default() += 1;
    }
    found
}
