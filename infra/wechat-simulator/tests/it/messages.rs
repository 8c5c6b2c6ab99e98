use serde_json::{Value, json};
use wechat_simulator::{FollowerAction, PushOverrides};

use crate::support::{SERVICE, SimulatorFixture, errcode};

async fn bound_follower(world: &SimulatorFixture) -> (String, String) {
    // These tests walk through days; tokens are another test's matter.
    world.simulator.configure(|s| s.authorizer_token_lifetime = 30 * 86_400);
    let (token, _) = world.bind(SERVICE).await;
    world.simulator.deliver_pending().await;
    let page = world.get(&format!("/cgi-bin/user/get?access_token={token}")).await;
    (token, page["data"]["openid"][0].as_str().unwrap().to_owned())
}

async fn send(world: &SimulatorFixture, token: &str, openid: &str) -> i64 {
    let body = json!({"touser": openid, "msgtype": "text", "text": {"content": "hello"}});
    errcode(&world.post(&format!("/cgi-bin/message/custom/send?access_token={token}"), &body).await)
}

async fn act(world: &SimulatorFixture, openid: &str, act: FollowerAction) {
    world.simulator.act(SERVICE, openid, act, PushOverrides::default()).await.unwrap();
}

fn text(content: &str) -> FollowerAction {
    FollowerAction::Text { content: content.into(), bizmsgmenuid: None }
}

#[tokio::test]
async fn customer_service_messages_keep_to_the_windows() {
    let world = SimulatorFixture::new().await;
    let (token, openid) = bound_follower(&world).await;
    assert_eq!(send(&world, &token, &openid).await, 45015, "nothing was said yet");
    act(&world, &openid, text("hi")).await;
    for n in 1..=6 {
        assert_eq!(send(&world, &token, &openid).await, if n <= 5 { 0 } else { 45047 }, "message {n}");
    }
    act(&world, &openid, FollowerAction::View { url: "https://example.com".into() }).await;
    assert_eq!(send(&world, &token, &openid).await, 45047, "a view opens nothing");
    world.clock.advance(48 * 3600);
    assert_eq!(send(&world, &token, &openid).await, 45015, "48 hours later");
    act(&world, &openid, FollowerAction::Click { key: "HELP".into() }).await;
    for n in 1..=4 {
        assert_eq!(
            send(&world, &token, &openid).await,
            if n <= 3 { 0 } else { 45047 },
            "after a click, message {n}"
        );
    }
    act(&world, &openid, text("again")).await;
    act(&world, &openid, FollowerAction::Unfollow).await;
    assert_eq!(send(&world, &token, &openid).await, 45015, "after unfollowing");
    assert_eq!(send(&world, &token, "nobody").await, 40003);
    assert_eq!(world.simulator.received(SERVICE, &openid).len(), 8);
}

#[tokio::test]
async fn content_is_checked() {
    let world = SimulatorFixture::new().await;
    let (token, openid) = bound_follower(&world).await;
    act(&world, &openid, text("hi")).await;
    let article = json!({"title": "t", "url": "https://example.com"});
    for (what, body, code) in [
        ("no receiver", json!({"msgtype": "text", "text": {"content": "x"}}), 40003),
        ("no type", json!({"touser": openid}), 40008),
        ("an unknown type", json!({"touser": openid, "msgtype": "smell"}), 40008),
        ("an empty text", json!({"touser": openid, "msgtype": "text", "text": {"content": ""}}), 44004),
        (
            "a long text",
            json!({"touser": openid, "msgtype": "text", "text": {"content": "x".repeat(2049)}}),
            45002,
        ),
        (
            "two articles",
            json!({"touser": openid, "msgtype": "news", "news": {"articles": [article, article]}}),
            45008,
        ),
        ("one article", json!({"touser": openid, "msgtype": "news", "news": {"articles": [article]}}), 0),
    ] {
        let answer = world.post(&format!("/cgi-bin/message/custom/send?access_token={token}"), &body).await;
        assert_eq!(errcode(&answer), code, "{what}");
    }
    let target = format!("/cgi-bin/message/custom/send?access_token={token}");
    for (what, body, code) in [("no body", "", 44002), ("no JSON", "{", 47001)] {
        let answer = world.simulator.request("POST", &target, body).await.unwrap();
        assert_eq!(errcode(&serde_json::from_str::<Value>(&answer.body).unwrap()), code, "{what}");
    }
}

#[tokio::test]
async fn typing_needs_a_fresh_interaction() {
    let world = SimulatorFixture::new().await;
    let (token, openid) = bound_follower(&world).await;
    let typing = async |command: &str| {
        let body = json!({"touser": openid, "command": command});
        errcode(&world.post(&format!("/cgi-bin/message/custom/typing?access_token={token}"), &body).await)
    };
    assert_eq!(typing("Typing").await, 45080);
    act(&world, &openid, text("hi")).await;
    assert_eq!(typing("Typing").await, 0);
    assert_eq!(typing("Typing").await, 45081);
    assert_eq!(typing("CancelTyping").await, 0);
    assert_eq!(typing("Sleeping").await, 45072);
    world.clock.advance(30);
    assert_eq!(typing("Typing").await, 45080);
}

#[tokio::test]
async fn template_messages_are_sent_once_per_client_id_and_their_result_is_pushed() {
    let world = SimulatorFixture::new().await;
    let (token, openid) = bound_follower(&world).await;
    let list = world.get(&format!("/cgi-bin/template/get_all_private_template?access_token={token}")).await;
    let template_id = list["template_list"][0]["template_id"].as_str().unwrap().to_owned();
    let data = json!({"thing1": {"value": "Latte"}, "time2": {"value": "09:00"}, "amount3": {"value": "18"}});
    let send = async |body: Value| {
        world.post(&format!("/cgi-bin/message/template/send?access_token={token}"), &body).await
    };
    let right = json!({"touser": openid, "template_id": template_id, "client_msg_id": "a", "data": data});
    let first = send(right.clone()).await;
    assert_eq!(errcode(&first), 0);
    assert_eq!(send(right.clone()).await["msgid"], first["msgid"], "the same within ten minutes");
    assert_eq!(world.simulator.received(SERVICE, &openid).len(), 1);
    let pushed = world.simulator.deliver_pending().await;
    assert_eq!(pushed.len(), 1);
    let xml = &pushed.first().unwrap().plaintext;
    assert!(xml.contains("TEMPLATESENDJOBFINISH") && xml.contains(&first["msgid"].to_string()), "{xml}");
    world.clock.advance(600);
    assert_ne!(send(right.clone()).await["msgid"], first["msgid"], "ten minutes later it is another one");
    let mut empty = right.clone();
    empty["data"]["time2"]["value"] = json!("");
    let refused = send(empty).await;
    assert_eq!(errcode(&refused), 47003);
    assert!(refused["errmsg"].as_str().unwrap().contains("time2"));
    let mut unknown = right.clone();
    unknown["template_id"] = json!("TM0");
    assert_eq!(errcode(&send(unknown).await), 40037);
    act(&world, &openid, FollowerAction::Unfollow).await;
    assert_eq!(errcode(&send(right).await), 43004);
}
