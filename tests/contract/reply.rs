//! Reply rules.

use oahub_tests::{hub, run, tenant::text_content, wait::until};
use serde_json::{Value, json};
use wechat_simulator::{FollowerAction, PushOutcome};

/// Every kind of message that a passive reply carries, and what the follower sees.
fn passive_replies() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("words", text_content("你好 <&> ]]> \u{1F600}"), "你好 <&> ]]> \u{1F600}"),
        ("picture", json!({"msgtype": "image", "image": {"media_id": "m-1"}}), "[picture m-1]"),
        ("voice", json!({"msgtype": "voice", "voice": {"media_id": "m-2"}}), "[voice m-2]"),
        ("video", json!({"msgtype": "video", "video": {"media_id": "m-3", "title": "T"}}), "[video m-3]"),
        (
            "music",
            json!({"msgtype": "music", "music": {"title": "Song", "musicurl": "https://m.example/1",
                "hqmusicurl": "https://m.example/2", "thumb_media_id": "m-4"}}),
            "[music Song]",
        ),
        (
            "link",
            json!({"msgtype": "news", "news": {"articles": [{"title": "Menu", "description": "D",
                "url": "https://cafe.example/menu?a=1&b=2", "picurl": "https://cafe.example/p.png"}]}}),
            "Menu\nhttps://cafe.example/menu?a=1&b=2",
        ),
    ]
}

#[test]
fn every_passive_type_answers_a_keyword_and_a_follow() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        tenant.bind(&account).await;
        let open_id = hub.newest_follower(&account).openid;
        let keywords: Vec<Value> = passive_replies()
            .iter()
            .map(|(word, reply, _)| json!({"keyword": word, "match": "exact", "reply": reply}))
            .collect();
        tenant.set_reply_rules(&account.app_id, &json!({"keywords": keywords})).await;
        for (word, _, shown) in passive_replies() {
            let delivery = hub.say(&account, &open_id, word).await;
            assert_eq!(delivery.outcome, PushOutcome::Replied, "{word}: {delivery:?}");
            let seen = hub.wechat.received(&account.app_id, &open_id).pop().unwrap();
            assert_eq!((seen.channel.as_str(), seen.text.as_str()), ("passive", shown), "{word}");
        }
        for (word, reply, shown) in passive_replies() {
            let account = hub.add_service_account(0);
            tenant.bind(&account).await;
            tenant.set_reply_rules(&account.app_id, &json!({"on_subscribe": reply})).await;
            let fan = hub.wechat.add_follower(&account.app_id, None, None, None).unwrap().openid;
            hub.act(&account, &fan, FollowerAction::Follow { scene: None }).await;
            let seen = hub.wechat.received(&account.app_id, &fan).pop().unwrap();
            assert_eq!(seen.text, shown, "{word} to a follow");
        }
    });
}

#[test]
fn the_rule_that_fits_best_answers() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        tenant.bind(&account).await;
        let open_id = hub.newest_follower(&account).openid;
        let rules = json!({
            "on_subscribe": text_content("welcome"),
            "keywords": [
                {"keyword": "price", "match": "contains", "reply": text_content("contains")},
                {"keyword": "Price", "match": "exact", "reply": text_content("exact")},
                {"keyword": "human", "match": "exact", "reply": {"msgtype": "transfer_customer_service"}},
                {"keyword": "anna", "match": "exact",
                    "reply": {"msgtype": "transfer_customer_service", "kf_account": "anna@cafe"}},
            ],
            "default": text_content("default"),
        });
        tenant.set_reply_rules(&account.app_id, &rules).await;
        let kept = tenant.api.get(&format!("/v1/accounts/{}/reply-rules", account.app_id)).await.expect(200);
        assert_eq!(kept, rules);
        for (words, expected) in [
            ("PRICE", "<![CDATA[exact]]>"),
            ("the price, please", "<![CDATA[contains]]>"),
            ("hello", "<![CDATA[default]]>"),
            ("human", "<![CDATA[transfer_customer_service]]>"),
            ("anna", "<TransInfo><KfAccount><![CDATA[anna@cafe]]></KfAccount></TransInfo>"),
        ] {
            let reply = hub.say(&account, &open_id, words).await.reply.unwrap_or_default();
            assert!(reply.contains(expected), "{words}: {reply}");
        }
        let picture =
            hub.act(&account, &open_id, FollowerAction::Image { pic_url: None, media_id: None }).await;
        assert!(picture.reply.is_some_and(|reply| reply.contains("default")), "a picture");
        let click = hub.act(&account, &open_id, FollowerAction::Click { key: "price".into() }).await;
        assert_eq!(click.reply, None, "a click");
        tenant.set_reply_rules(&account.app_id, &json!({})).await;
        // an instance may cache the old rules for a few seconds
        until("no reply", async || hub.say(&account, &open_id, "hello").await.reply.is_none().then_some(()))
            .await;
    });
}

#[test]
fn what_no_passive_reply_carries_is_sent_as_a_customer_service_message_once() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        tenant.bind(&account).await;
        let open_id = hub.newest_follower(&account).openid;
        let menu = json!({"msgtype": "msgmenu", "msgmenu": {"head_content": "Well?",
            "list": [{"id": "1", "content": "Yes"}, {"id": "2", "content": "No"}], "tail_content": "Thanks"}});
        tenant.set_reply_rules(&account.app_id, &json!({"default": menu})).await;
        let delivery = hub.say(&account, &open_id, "hello").await;
        assert_eq!((delivery.outcome, delivery.reply.as_deref()), (PushOutcome::Accepted, None));
        let seen = until("the menu", async || hub.wechat.received(&account.app_id, &open_id).pop()).await;
        assert_eq!((seen.channel.as_str(), seen.kind.as_str()), ("customer_service", "msgmenu"));
    });
}

#[test]
fn rules_that_are_wrong_are_refused_whole() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(0);
        tenant.bind(&account).await;
        let path = format!("/v1/accounts/{}/reply-rules", account.app_id);
        let right = json!({"on_subscribe": text_content("hi"), "keywords": [], "default": null});
        tenant.set_reply_rules(&account.app_id, &right).await;
        for wrong in [
            Value::Null,
            json!([]),
            json!({}),
            json!({"on_subscribe": null, "keywords": []}),
            json!({"on_subscribe": null, "keywords": null, "default": null}),
            json!({"on_subscribe": null, "keywords": [], "default": {"msgtype": "hologram"}}),
            json!({"on_subscribe": null, "keywords": [], "default": text_content("")}),
            json!({"on_subscribe": null, "default": null, "keywords": [{"keyword": "", "match": "exact", "reply": text_content("a")}]}),
            json!({"on_subscribe": null, "default": null, "keywords": [{"keyword": "a", "match": "regex", "reply": text_content("a")}]}),
        ] {
            tenant.api.put(&path, &wrong).await.expect_problem(422, "invalid_request");
            assert_eq!(tenant.api.get(&path).await.expect(200), right, "{wrong}");
        }
    });
}
