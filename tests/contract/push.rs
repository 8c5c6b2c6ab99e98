//! Followers' pushes: stored once, whole, and under the right account.

use futures::future::join_all;
use oahub_tests::{
    hub::{self, Hub},
    push::{
        ENVELOPE, ENVELOPE_PREVIOUS, event_members, now, open_reply, push_xml, seal_push, text_members,
        unique_number,
    },
    run,
    tenant::{Tenant, text_content},
    wait::until,
};
use serde_json::{Value, json};
use wechat_simulator::{AccountKind, FollowerAction, NewAccount, PushOverrides, SimulatedAccount};

/// A tenant with a bound account.
async fn bind_account(hub: &Hub) -> (Tenant<'_>, SimulatedAccount) {
    let tenant = hub.create_tenant().await;
    let account = hub.add_service_account(0);
    tenant.bind(&account).await;
    (tenant, account)
}

/// All items of a list, fetched in pages of `limit`.
async fn list_in_pages(tenant: &Tenant<'_>, path: &str, limit: usize) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = tenant.api.get(&format!("{path}&limit={limit}{cursor}")).await.expect(200);
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= limit, "{page}");
        found.extend(data.iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { return found };
        cursor = format!("&cursor={next}");
    }
}

fn event_types(timeline: &[Value]) -> Vec<&str> {
    timeline.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[test]
fn the_same_push_three_times_at_once_is_one_event_with_one_reply() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub).await;
        tenant.set_reply_rules(&account.app_id, &json!({"default": text_content("once")})).await;
        for round in 0..5 {
            let sender = format!("oThreeTimes{round}");
            let push =
                push_xml(&account.original_id, &sender, now(), &text_members("hello", unique_number()));
            let answers = join_all((0..3).map(|_| hub.push(&account.app_id, &push))).await;
            let replies: Vec<String> = answers.iter().map(|answer| open_reply(&ENVELOPE, answer)).collect();
            assert!(replies.windows(2).all(|pair| pair[0] == pair[1]), "{replies:?}");
            assert_eq!(open_reply(&ENVELOPE, &hub.push(&account.app_id, &push).await), replies[0], "later");
            let timeline = tenant.timeline(&account.app_id, &sender).await;
            assert_eq!(event_types(&timeline), ["message_sent", "message_received"]);
        }
    });
}

#[test]
fn a_retried_push_gets_the_reply_of_then_although_the_rules_changed() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub).await;
        tenant.set_reply_rules(&account.app_id, &json!({"default": text_content("before")})).await;
        let push = push_xml(&account.original_id, "oRetried", now(), &text_members("hello", unique_number()));
        let first = open_reply(&ENVELOPE, &hub.push(&account.app_id, &push).await);
        tenant.set_reply_rules(&account.app_id, &json!({"default": text_content("after")})).await;
        assert_eq!(open_reply(&ENVELOPE, &hub.push(&account.app_id, &push).await), first);
    });
}

#[test]
fn pushes_are_the_same_only_by_message_id_and_sender_or_by_the_whole_event() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub).await;
        let (at, id) = (now(), unique_number());
        let card =
            |code: &str| event_members("user_get_card", &format!("<UserCardCode>{code}</UserCardCode>"));
        for (what, sender, pushes, events) in [
            ("one message", "oSame", vec![text_members("a", id)], 1),
            ("the same id of another sender", "oOther", vec![text_members("a", id)], 1),
            (
                "two messages in a second",
                "oTwo",
                vec![text_members("a", unique_number()), text_members("a", unique_number())],
                2,
            ),
            ("two coupons in a second", "oCards", vec![card("1"), card("2")], 2),
            ("one coupon, told twice", "oCard", vec![card("1"), card("1")], 1),
        ] {
            for rest in pushes {
                let answer =
                    hub.push(&account.app_id, &push_xml(&account.original_id, sender, at, &rest)).await;
                assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "success"), "{what}");
            }
            assert_eq!(tenant.timeline(&account.app_id, sender).await.len(), events, "{what}");
        }
    });
}

#[test]
fn the_key_before_a_rotation_opens_and_seals_the_reply() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub).await;
        tenant.set_reply_rules(&account.app_id, &json!({"default": text_content("still here")})).await;
        let path = format!("/wechat/accounts/{}", account.app_id);
        for (envelope, sender) in [(&*ENVELOPE_PREVIOUS, "oOldKey"), (&*ENVELOPE, "oNewKey")] {
            let push = push_xml(&account.original_id, sender, now(), &text_members("hello", unique_number()));
            let (query, body) = seal_push(envelope, &push);
            let answer = hub.push_sealed(&path, &query, body).await;
            assert!(open_reply(envelope, &answer).contains("still here"), "{sender}");
            assert_eq!(tenant.timeline(&account.app_id, sender).await.len(), 2, "{sender}");
        }
        let (query, body) = seal_push(
            &ENVELOPE,
            &push_xml(&account.original_id, "oX", now(), &text_members("x", unique_number())),
        );
        let answer = hub.push_sealed(&path, &query, body).await;
        assert!(
            ENVELOPE_PREVIOUS.open_reply(answer.text.as_bytes()).is_err(),
            "the old key opens everything"
        );
    });
}

#[test]
fn a_push_for_nobody_here_is_taken_and_forgotten_and_one_of_another_account_is_refused() {
    run(async {
        let hub = hub::Hub::exclusive().await;
        let (tenant, account) = bind_account(&hub).await;
        let refused =
            hub.add_account(NewAccount { kind: Some(AccountKind::MiniProgram), ..NewAccount::default() });
        assert_eq!(tenant.try_bind(&refused).await.1["status"], "refused");
        let message = |to: &str| push_xml(to, "oNobody", now(), &text_members("hello", unique_number()));
        for (what, app_id, push, status) in [
            ("never bound", "wx0123456789abcdef", message("gh_0123456789ab"), 200),
            ("never bound, once more", "wx0123456789abcdef", message("gh_0123456789ab"), 200),
            ("refused", refused.app_id.as_str(), message(&refused.original_id), 200),
            ("a body of another account", account.app_id.as_str(), message("gh_0123456789ab"), 400),
            ("no app id", &"x".repeat(3000), message(&account.original_id), 404),
        ] {
            let answer = hub.push(app_id, &push).await;
            assert_eq!(answer.status.as_u16(), status, "{what}: {answer:?}");
            assert!(status != 200 || answer.text == "success", "{what}: {answer:?}");
        }
        assert_eq!(tenant.customer(&account.app_id, "oNobody").await, None);
        assert_eq!(tenant.api.list_all("/v1/customers").await.len(), 0);
        for (app_id, told) in
            [("wx0123456789abcdef", 1), (refused.app_id.as_str(), 1), (account.app_id.as_str(), 0)]
        {
            let line = format!("followers of {app_id} write to an account that is not bound here");
            assert_eq!(hub.log().matches(&line).count(), told, "{app_id}: {}", hub.log());
        }
    });
}

#[test]
fn an_unbound_accounts_pushes_are_taken_and_forgotten() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub).await;
        tenant.set_reply_rules(&account.app_id, &json!({"default": text_content("never")})).await;
        hub.wechat.unauthorize(&account.app_id, true).unwrap();
        until("unbound", async || {
            let shown = tenant.api.get(&format!("/v1/accounts/{}", account.app_id)).await.expect(200);
            (shown["status"] == "unbound").then_some(())
        })
        .await;
        let push = push_xml(&account.original_id, "oLate", now(), &text_members("hello", unique_number()));
        let answer = hub.push(&account.app_id, &push).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "success"));
        assert_eq!(tenant.customer(&account.app_id, "oLate").await, None);
        let other = push_xml("gh_0123456789ab", "oLate", now(), &text_members("hello", unique_number()));
        assert_eq!(hub.push(&account.app_id, &other).await.status.as_u16(), 400, "a body of another account");
        // cached entries of the unbound account have expired
        tenant.bind(&account).await;
        let push = push_xml(&account.original_id, "oBack", now(), &text_members("hello", unique_number()));
        assert!(open_reply(&ENVELOPE, &hub.push(&account.app_id, &push).await).contains("never"));
        assert_eq!(tenant.timeline(&account.app_id, "oBack").await.len(), 2);
    });
}

#[test]
fn what_happens_to_the_account_makes_no_customer_and_is_the_accounts_own() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub).await;
        let at = 1_735_689_600;
        for (second, sender, name, rest) in [
            (0, "mphelper", "MASSSENDJOBFINISH", "<MsgID>1</MsgID><Status><![CDATA[send success]]></Status>"),
            (1, "oNoFollower", "card_pass_check", "<CardId><![CDATA[p1]]></CardId>"),
            (1, "oNoFollower", "card_pass_check", "<CardId><![CDATA[p1]]></CardId>"), // once more
            (2, "oNoFollower", "card_pass_check", "<CardId><![CDATA[p2]]></CardId>"),
            (3, "gh_0123456789ab", "brand_new_review", ""),
        ] {
            let push = push_xml(&account.original_id, sender, at + second, &event_members(name, rest));
            assert_eq!(hub.push(&account.app_id, &push).await.text, "success", "{name}");
            assert_eq!(tenant.customer(&account.app_id, sender).await, None, "{sender} is a customer");
        }
        let path = format!("/v1/accounts/{}/events", account.app_id);
        let events = tenant.api.list_all(&path).await;
        let expected = ["brand_new_review", "card_pass_check", "card_pass_check", "broadcast_delivered"];
        assert_eq!(event_types(&events), expected);
        assert_eq!((&events[1]["detail"]["CardId"], &events[1]["open_id"]), (&json!("p2"), &Value::Null));
        assert_eq!(events[3]["at"], "2025-01-01T00:00:00Z");
        assert_eq!(list_in_pages(&tenant, &format!("{path}?type=card_pass_check"), 1).await, events[1..3]);
        assert_eq!(hub.create_tenant().await.api.get(&path).await.status, 404, "another tenant's");
    });
}

#[test]
fn what_a_rule_answered_is_on_the_timeline_once_after_what_it_answers() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub).await;
        tenant.set_reply_rules(&account.app_id, &json!({"default": text_content("We are open.")})).await;
        let at = 1_735_689_600;
        for second in [0, 0, 5] {
            let push =
                push_xml(&account.original_id, "oAsks", at + second, &text_members("open?", unique_number()));
            for _ in 0..2 {
                let _ = open_reply(&ENVELOPE, &hub.push(&account.app_id, &push).await);
            }
        }
        let click = push_xml(
            &account.original_id,
            "oAsks",
            at + 9,
            &event_members("CLICK", "<EventKey>menu</EventKey>"),
        );
        assert_eq!(hub.push(&account.app_id, &click).await.text, "success");
        let timeline = tenant.timeline(&account.app_id, "oAsks").await;
        let pair = ["message_sent", "message_received"];
        assert_eq!(event_types(&timeline), [&["menu_clicked"], pair.as_slice(), &pair, &pair].concat());
        let sent = json!({"channel": "passive", "content": text_content("We are open.")});
        assert_eq!((&timeline[1]["detail"], &timeline[1]["at"]), (&sent, &timeline[2]["at"]));
        let id = tenant.customer(&account.app_id, "oAsks").await.unwrap()["id"].as_str().unwrap().to_owned();
        for kind in ["message_sent", "message_received", "menu_clicked", ""] {
            let of_kind = |event: &&Value| kind.is_empty() || event["type"] == kind;
            let expected: Vec<_> = timeline.iter().filter(of_kind).cloned().collect();
            let filter = if kind.is_empty() { String::new() } else { format!("&type={kind}") };
            for limit in 1..=7 {
                let pages =
                    list_in_pages(&tenant, &format!("/v1/customers/{id}/timeline?{filter}"), limit).await;
                assert_eq!(pages, expected, "pages of {limit} of {kind}");
            }
        }
    });
}

#[test]
fn an_event_of_an_unknown_kind_is_kept_whole() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub).await;
        let rest = event_members(
            "BrandNewEvent",
            "<Depth><Inner><![CDATA[a <b> & c]]></Inner></Depth><Number>007</Number>",
        );
        let answer =
            hub.push(&account.app_id, &push_xml(&account.original_id, "oNew", 1_735_689_600, &rest)).await;
        assert_eq!(answer.text, "success");
        let timeline = tenant.timeline(&account.app_id, "oNew").await;
        assert_eq!(event_types(&timeline), ["brand_new_event"]);
        let event = &timeline[0];
        assert_eq!(event["detail"]["Event"], "BrandNewEvent");
        assert_eq!(event["detail"]["Depth"]["Inner"], "a <b> & c");
        assert_eq!(event["detail"]["Number"], "007");
        assert_eq!(event["at"], "2025-01-01T00:00:00Z");
        assert_eq!((&event["app_id"], &event["open_id"]), (&json!(account.app_id), &json!("oNew")));
    });
}

#[test]
fn what_a_follower_does_is_on_the_timeline_newest_first() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub).await;
        let open_id = hub.wechat.add_follower(&account.app_id, None, None, None).unwrap().openid;
        let began = now() - 1000;
        let acts = [
            (FollowerAction::Follow { scene: Some("shelf-7".into()) }, "subscribed"),
            (FollowerAction::Text { content: "hi".into(), bizmsgmenuid: None }, "message_received"),
            (FollowerAction::Image { pic_url: None, media_id: None }, "message_received"),
            (FollowerAction::Click { key: "MENU".into() }, "menu_clicked"),
            (FollowerAction::View { url: "https://shop.example".into() }, "menu_viewed"),
            (FollowerAction::Scan { scene: "table-2".into() }, "qr_scanned"),
            (FollowerAction::ReportLocation { latitude: 31.2, longitude: 121.5 }, "location_reported"),
            (FollowerAction::Unfollow, "unsubscribed"),
            (FollowerAction::Follow { scene: None }, "subscribed"),
        ];
        for (second, (act, _)) in acts.iter().enumerate() {
            let stamp = PushOverrides { create_time: Some(began + second as i64), msg_id: None };
            hub.wechat.act(&account.app_id, &open_id, act.clone(), stamp).await.unwrap();
        }
        let timeline = tenant.timeline(&account.app_id, &open_id).await;
        let expected: Vec<_> = acts.iter().rev().map(|(_, kind)| *kind).collect();
        assert_eq!(event_types(&timeline), expected);
        assert_eq!(timeline[8]["detail"]["EventKey"], "qrscene_shelf-7");
        let id = tenant.customer(&account.app_id, &open_id).await.unwrap()["id"].as_str().unwrap().to_owned();
        let only = tenant.api.list_all(&format!("/v1/customers/{id}/timeline?type=message_received")).await;
        assert_eq!(only.len(), 2);
    });
}

#[test]
fn following_and_leaving_never_lose_a_customer() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub).await;
        let open_id = hub.wechat.add_follower(&account.app_id, None, None, None).unwrap().openid;
        let fan = async || tenant.customer(&account.app_id, &open_id).await.unwrap()["fans"][0].clone();
        hub.act(&account, &open_id, FollowerAction::Follow { scene: Some("door".into()) }).await;
        // the scene comes with the details that WeChat is asked for
        let followed = until("details", async || {
            let fan = fan().await;
            (fan["subscribe_scene"] == "ADD_SCENE_QR_CODE").then_some(fan)
        })
        .await;
        assert_eq!((&followed["subscribed"], &followed["qr_scene_str"]), (&json!(true), &json!("door")));
        assert!(followed["subscribed_at"].is_string() && followed["unsubscribed_at"].is_null(), "{followed}");
        hub.act(&account, &open_id, FollowerAction::Unfollow).await;
        let left = fan().await;
        assert_eq!(left["subscribed"], false);
        assert!(left["unsubscribed_at"].is_string(), "{left}");
        let gone =
            tenant.api.list_all(&format!("/v1/customers?app_id={}&subscribed=false", account.app_id)).await;
        assert_eq!(gone.len(), 1);
        hub.act(&account, &open_id, FollowerAction::Follow { scene: None }).await;
        assert_eq!(fan().await["subscribed"], true);
    });
}

#[test]
fn a_customers_last_interaction_is_their_newest_push() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, account) = bind_account(hub).await;
        let (newer, older) = (1_735_689_660, 1_735_689_600);
        for (at, expected) in [
            (older, "2025-01-01T00:00:00Z"),
            (newer, "2025-01-01T00:01:00Z"),
            (older, "2025-01-01T00:01:00Z"),
        ] {
            let push = push_xml(&account.original_id, "oClock", at, &text_members("tick", unique_number()));
            assert_eq!(hub.push(&account.app_id, &push).await.text, "success");
            let customer = tenant.customer(&account.app_id, "oClock").await.unwrap();
            assert_eq!(customer["last_interaction_at"], expected);
        }
    });
}
