//! Messages go by the channel that WeChat allows, in order, once, and reach a final status.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use oahub_tests::{
    hub::{self, Hub},
    run,
    tenant::{Tenant, text_content},
    wait::until_within,
};
use serde_json::{Value, json};
use wechat_simulator::{FaultKind, FollowerAction, InjectedFault, SimulatedAccount};

const CUSTOM_SEND_PATH: &str = "/cgi-bin/message/custom/send";
/// After a crash, messages in flight are received again only after their visibility timeout.
const REDELIVERY_TIMEOUT: Duration = Duration::from_secs(240);

fn template(item: &str) -> Value {
    json!({
        "template_id": "TMsimulatedOrderReady000000000000000000000001",
        "url": "https://cafe.example/orders/1",
        "data": {"thing1": {"value": item}, "time2": {"value": "2025-01-01 09:00"}, "amount3": {"value": "¥18.00"}},
    })
}

async fn bind_account(hub: &Hub, followers: u64) -> (Tenant<'_>, SimulatedAccount) {
    let tenant = hub.create_tenant().await;
    let account = hub.add_service_account(followers);
    tenant.bind(&account).await;
    (tenant, account)
}

fn open_ids(hub: &Hub, account: &SimulatedAccount) -> Vec<String> {
    hub.wechat.account(&account.app_id).unwrap().followers.page("", usize::MAX).unwrap()
}

/// How often followers got each customer-service text.
fn deliveries(hub: &Hub, account: &SimulatedAccount) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for open_id in open_ids(hub, account) {
        for item in hub.wechat.received(&account.app_id, &open_id) {
            *found.entry(item.text).or_default() += 1;
        }
    }
    found
}

#[test]
fn a_text_arrives_whatever_characters_it_has() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub, 1).await;
        let fan = open_ids(hub, &account).remove(0);
        hub.say(&account, &fan, "hello").await;
        let words = "a queue takes no \u{fffe}, \u{ffff}, \u{1} and \u{b}; it takes \u{7f}, \u{85}, \u{1ffff} and \\\u{fffe}";
        let sent =
            tenant.send_and_await(&account.app_id, &json!({"to": fan, "content": text_content(words)})).await;
        assert_eq!(sent["status"], "sent", "{sent}");
        assert_eq!(deliveries(hub, &account).get(words), Some(&1));
    });
}

#[test]
fn a_message_goes_the_way_that_the_window_allows() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub, 4).await;
        let fans = open_ids(hub, &account);
        tenant.await_import(&account.app_id).await; // whom nobody knows is no follower outside of a window
        hub.say(&account, &fans[0], "hello").await;
        hub.act(&account, &fans[1], FollowerAction::Click { key: "K".into() }).await;
        for (what, to, content, with_template, status, channel, code) in [
            ("in the window", 0, true, false, "sent", Some("customer_service"), None),
            ("in the window, with a template too", 0, true, true, "sent", Some("customer_service"), None),
            ("after a click", 1, true, false, "sent", Some("customer_service"), None),
            ("outside, with a template", 2, true, true, "delivered", Some("template"), None),
            ("only a template", 0, false, true, "delivered", Some("template"), None),
            ("outside, without one", 2, true, false, "failed", None, Some("outside_reply_window")),
        ] {
            let mut message = json!({"to": fans[to]});
            if content {
                message["content"] = text_content(what);
            }
            if with_template {
                message["template"] = template("Latte");
            }
            let sent = tenant.send_and_await(&account.app_id, &message).await;
            let ended = match status {
                "delivered" => await_delivery(&tenant, &sent).await,
                _ => sent,
            };
            assert_eq!(
                (ended["status"].as_str(), ended["channel"].as_str()),
                (Some(status), channel),
                "{what}: {ended}"
            );
            assert_eq!(ended["error"]["code"].as_str(), code, "{what}: {ended}");
            assert_eq!(ended["sent_at"].is_string(), code.is_none(), "{what}: {ended}");
        }
        assert_eq!(hub.wechat.received(&account.app_id, &fans[2]).len(), 1);
        assert!(hub.wechat.received(&account.app_id, &fans[3]).is_empty());
    });
}

/// Waits for a template message's delivery status: WeChat pushes it after its response.
async fn await_delivery(tenant: &Tenant<'_>, sent: &Value) -> Value {
    let id = sent["id"].as_str().unwrap();
    oahub_tests::wait::until(format!("the result of {id}: {sent}"), async || {
        let message = tenant.api.get(&format!("/v1/messages/{id}")).await.expect(200);
        (message["status"] != "sent").then_some(message)
    })
    .await
}

#[test]
fn a_template_message_ends_as_wechat_says() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub, 2).await;
        let fans = open_ids(hub, &account);
        let blocks = &fans[1];
        hub.wechat
            .change_account(&account.app_id, |a| {
                a.followers.update(blocks, |fan| fan.blocks_templates = true)
            })
            .unwrap();
        for (to, status, code) in [(&fans[0], "delivered", None), (blocks, "failed", Some("user_blocked"))] {
            let sent = tenant
                .send_and_await(&account.app_id, &json!({"to": to, "template": template("Latte")}))
                .await;
            let ended = await_delivery(&tenant, &sent).await;
            assert_eq!(
                (ended["status"].as_str(), ended["error"]["code"].as_str()),
                (Some(status), code),
                "{ended}"
            );
            assert!(ended["wechat_msg_id"].is_string(), "{ended}");
        }
        let timeline = tenant.timeline(&account.app_id, &fans[0]).await;
        let kinds: Vec<_> = timeline.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert!(kinds.contains(&"message_sent") && kinds.contains(&"template_delivered"), "{kinds:?}");
    });
}

#[test]
fn when_wechat_says_that_the_window_is_closed_the_template_goes() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub, 1).await;
        let fan = hub.newest_follower(&account).openid;
        hub.say(&account, &fan, "hello").await;
        for errcode in [45015, 45047] {
            for (with_template, channel) in [(true, Some("template")), (false, None)] {
                let refuse = InjectedFault::once(CUSTOM_SEND_PATH, FaultKind::Error { errcode });
                hub.wechat.inject_fault(refuse.for_account(&account.app_id));
                let mut message = json!({"to": fan, "content": text_content("too late")});
                if with_template {
                    message["template"] = template("Tea");
                }
                let ended = tenant.send_and_await(&account.app_id, &message).await;
                if with_template {
                    assert_eq!(ended["channel"].as_str(), channel, "{errcode}: {ended}");
                } else {
                    assert_eq!(ended["status"], "failed", "{errcode}: {ended}");
                    assert_eq!(ended["error"]["errcode"], errcode, "{ended}");
                }
            }
        }
    });
}

#[test]
fn a_fans_messages_arrive_in_the_order_in_which_they_were_accepted() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub, 3).await;
        let fans = open_ids(hub, &account);
        let path = format!("/v1/accounts/{}/messages", account.app_id);
        let mut ids = Vec::new();
        for fan in &fans {
            hub.say(&account, fan, "hello").await;
        }
        for number in 0..5 {
            for fan in &fans {
                let message = json!({"to": fan, "content": text_content(&number.to_string())});
                let sent = tenant.api.post(&path, &message).await.expect(202);
                assert_eq!(sent["status"], "queued");
                ids.push(sent["id"].as_str().unwrap().to_owned());
            }
        }
        for id in &ids {
            assert_eq!(tenant.await_message(id).await["status"], "sent");
        }
        for fan in &fans {
            let got: Vec<String> =
                hub.wechat.received(&account.app_id, fan).into_iter().map(|item| item.text).collect();
            assert_eq!(got, ["0", "1", "2", "3", "4"]);
        }
    });
}

#[test]
fn two_hundred_sends_at_once_with_an_expired_token_refresh_it_once() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub, 40).await;
        let fans = open_ids(hub, &account);
        join_all(fans.iter().map(|fan| hub.say(&account, fan, "hello"))).await;
        hub.wechat.expire_tokens(Some(&account.app_id));
        let before = hub.wechat.tokens_issued(Some(&account.app_id));
        let path = format!("/v1/accounts/{}/messages", account.app_id);
        let all = (0..5).flat_map(|round| fans.iter().map(move |fan| (round, fan)));
        let sends = all.map(async |(round, fan)| {
            let message = json!({"to": fan, "content": text_content(&format!("{round} {fan}"))});
            let sent = tenant.api.post(&path, &message).await.expect(202);
            tenant.await_message(sent["id"].as_str().unwrap()).await
        });
        for ended in join_all(sends).await {
            assert_eq!(ended["status"], "sent", "{ended}");
        }
        assert_eq!(hub.wechat.tokens_issued(Some(&account.app_id)) - before, 1, "refreshes");
        let got = deliveries(hub, &account);
        assert_eq!(got.len(), 200);
        assert!(got.values().all(|times| *times == 1));
    });
}

#[test]
fn after_kill_9_every_message_ends_and_nobody_gets_one_twice() {
    run(async {
        let mut hub = Hub::exclusive().await;
        let account = hub.add_service_account(30);
        let (api, id, ids) = {
            let (tenant, fans) = (hub.create_tenant().await, open_ids(&hub, &account));
            tenant.bind(&account).await;
            join_all(fans.iter().map(|fan| hub.say(&account, fan, "hello"))).await;
            hub.wechat.configure(|habits| habits.latency_ms = 100);
            let path = format!("/v1/accounts/{}/messages", account.app_id);
            let all = (0..5).flat_map(|round| fans.iter().map(move |fan| (round, fan)));
            let sends = all.map(async |(round, fan)| {
                let message = json!({"to": fan, "content": text_content(&format!("{round} {fan}"))});
                let sent = tenant.api.post(&path, &message).await.expect(202);
                sent["id"].as_str().unwrap().to_owned()
            });
            let ids = join_all(sends).await;
            oahub_tests::wait::until("the middle", async || {
                (deliveries(&hub, &account).len() > 5).then_some(())
            })
            .await;
            (tenant.api.clone(), tenant.id.clone(), ids)
        };
        hub.kill();
        hub.start_program().await;
        let tenant = Tenant { hub: &hub, api, id };
        let mut ended: Vec<Value> = Vec::new();
        for id in &ids {
            ended.push(
                until_within(REDELIVERY_TIMEOUT, format!("an end of {id}"), async || {
                    let message = tenant.api.get(&format!("/v1/messages/{id}")).await.expect(200);
                    (!matches!(message["status"].as_str(), Some("queued" | "sending"))).then_some(message)
                })
                .await,
            );
        }
        let got = deliveries(&hub, &account);
        assert!(got.values().all(|times| *times == 1), "somebody got one twice: {got:?}");
        let sent = ended.iter().filter(|message| message["status"] == "sent").count();
        let unknown = ended.iter().filter(|message| message["error"]["code"] == "outcome_unknown").count();
        assert_eq!(sent + unknown, ids.len(), "each was sent, or may have been: {ended:?}");
        assert!(sent <= got.len() && got.len() <= sent + unknown, "{sent} {unknown} {}", got.len());
    });
}

#[test]
fn an_answer_that_is_lost_sends_nothing_twice() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub, 1).await;
        let fan = hub.newest_follower(&account).openid;
        hub.say(&account, &fan, "hello").await;
        hub.wechat.inject_fault(
            InjectedFault::once(CUSTOM_SEND_PATH, FaultKind::LostResponse).for_account(&account.app_id),
        );
        let ended = tenant
            .send_and_await(&account.app_id, &json!({"to": fan, "content": text_content("perhaps")}))
            .await;
        assert_eq!(ended["error"]["code"], "outcome_unknown", "{ended}");
        hub.wechat.inject_fault(
            InjectedFault::once(CUSTOM_SEND_PATH, FaultKind::Error { errcode: -1 })
                .for_account(&account.app_id),
        );
        let ended = tenant
            .send_and_await(&account.app_id, &json!({"to": fan, "content": text_content("surely")}))
            .await;
        assert_eq!(ended["status"], "sent", "a busy WeChat is asked again: {ended}");
        assert!(deliveries(hub, &account).values().all(|times| *times == 1));
    });
}

#[test]
fn what_the_account_may_not_do_fails_before_wechat_is_asked() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let subscription = hub.add_subscription_account(1);
        tenant.bind(&subscription).await;
        let not_granted = hub.add_service_account(1);
        let (_, binding) = tenant.bind_granting(&not_granted.app_id, &[2]).await;
        assert_eq!(binding["status"], "bound");
        for (what, account, message) in [
            ("a template of a subscription account", &subscription, json!({"template": template("Latte")})),
            ("a template that was not granted", &not_granted, json!({"template": template("Latte")})),
            ("content that was not granted", &not_granted, json!({"content": text_content("hi")})),
        ] {
            let mut message = message;
            message["to"] = json!(hub.newest_follower(account).openid);
            // so that a call to WeChat would show, as another error
            for path in [CUSTOM_SEND_PATH, "/cgi-bin/message/template/send"] {
                let refuse = InjectedFault::once(path, FaultKind::Error { errcode: 40037 });
                hub.wechat.inject_fault(refuse.for_account(&account.app_id));
            }
            let ended = tenant.send_and_await(&account.app_id, &message).await;
            assert_eq!(
                (&ended["status"], &ended["error"]["code"]),
                (&json!("failed"), &json!("capability_missing")),
                "{what}"
            );
            assert_eq!(ended["error"]["errcode"], Value::Null, "{what}");
        }
    });
}

#[test]
fn an_idempotency_key_sends_once() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub, 1).await;
        let fan = hub.newest_follower(&account).openid;
        hub.say(&account, &fan, "hello").await;
        let path = format!("/v1/accounts/{}/messages", account.app_id);
        let message = json!({"to": fan, "content": text_content("once")});
        let answers = join_all((0..5).map(|_| tenant.api.post_once(&path, "key-1", &message))).await;
        let mut ids = Vec::new();
        for answer in answers {
            match answer.status.as_u16() {
                409 => answer.expect_problem(409, "request_in_progress"),
                _ => ids.push(answer.expect(202)["id"].as_str().unwrap().to_owned()),
            }
        }
        ids.push(
            tenant.api.post_once(&path, "key-1", &message).await.expect(202)["id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
        assert_eq!(tenant.await_message(&ids[0]).await["status"], "sent");
        let other = json!({"to": fan, "content": text_content("another")});
        tenant.api.post_once(&path, "key-1", &other).await.expect_problem(422, "idempotency_key_reused");
        assert_eq!(deliveries(hub, &account), BTreeMap::from([("once".to_owned(), 1)]));
        // the key is scoped to tenant and route
        let (stranger, theirs) = bind_account(hub, 1).await;
        let path = format!("/v1/accounts/{}/messages", theirs.app_id);
        let sent = stranger.api.post_once(&path, "key-1", &other).await.expect(202);
        assert_ne!(sent["id"].as_str(), Some(ids[0].as_str()));
    });
}
