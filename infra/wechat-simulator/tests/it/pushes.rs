use wechat_simulator::xml::XmlDocument;
use wechat_simulator::{FaultKind, FollowerAction, InjectedFault, PushOutcome, PushOverrides, Sender};

use crate::support::{PlannedResponse, SERVICE, SimulatorFixture};

fn text(content: &str) -> FollowerAction {
    FollowerAction::Text { content: content.into(), bizmsgmenuid: None }
}

async fn bound_follower(world: &SimulatorFixture) -> String {
    world.bind(SERVICE).await;
    world.simulator.deliver_pending().await;
    world.hub.requests.lock().unwrap().clear();
    world.simulator.add_follower(SERVICE, Some("oNew".into()), None, None).unwrap();
    world
        .simulator
        .act(SERVICE, "oNew", FollowerAction::Follow { scene: None }, PushOverrides::default())
        .await
        .unwrap();
    "oNew".into()
}

#[tokio::test(start_paused = true)]
async fn a_push_is_tried_three_times_sealed_anew_each_time() {
    let world = SimulatorFixture::new().await;
    let openid = bound_follower(&world).await;
    world.hub.respond_next(PlannedResponse::Hang);
    world.hub.respond_next(PlannedResponse::Answer(502, "<html>".into()));
    let started = tokio::time::Instant::now();
    let delivery = world.simulator.act(SERVICE, &openid, text("hi"), PushOverrides::default()).await.unwrap();
    assert!(started.elapsed().as_secs() >= 5, "it waits five seconds for the one that hangs");
    assert_eq!(delivery.outcome, PushOutcome::Accepted);
    let statuses: Vec<_> = delivery.attempts.iter().map(|a| a.status).collect();
    assert_eq!(statuses, [None, Some(502), Some(200)]);
    let seen = world.hub.requests.lock().unwrap().clone();
    let tail: Vec<_> = seen.iter().rev().take(3).collect();
    assert_ne!(tail[0].0, tail[1].0, "another nonce");
    assert_ne!(tail[0].1, tail[1].1, "other random bytes");
    assert!(tail[0].0.starts_with(&format!("http://hub.example/wechat/accounts/{SERVICE}?signature=")));
    assert!(tail[0].0.contains("&openid=oNew&"));
    let opened = world.hub.decrypted_pushes();
    assert_eq!(opened[opened.len() - 1], opened[opened.len() - 2], "the same message inside");
}

#[tokio::test(start_paused = true)]
async fn after_three_failures_the_follower_sees_a_notice_for_messages_only() {
    let world = SimulatorFixture::new().await;
    let openid = bound_follower(&world).await;
    for _ in 0..6 {
        world.hub.respond_next(PlannedResponse::Refuse);
    }
    let delivery = world.simulator.act(SERVICE, &openid, text("hi"), PushOverrides::default()).await.unwrap();
    assert_eq!((delivery.outcome, delivery.attempts.len()), (PushOutcome::Failed, 3));
    world
        .simulator
        .act(SERVICE, &openid, FollowerAction::Click { key: "K".into() }, PushOverrides::default())
        .await
        .unwrap();
    let notices =
        world.simulator.chat(SERVICE, &openid).into_iter().filter(|i| i.side == Sender::System).count();
    assert_eq!(notices, 1);
}

#[tokio::test]
async fn a_passive_reply_is_opened_and_shown() {
    let world = SimulatorFixture::new().await;
    let openid = bound_follower(&world).await;
    let gh = world.simulator.account(SERVICE).unwrap().original_id;
    let reply = format!(
        "<xml><ToUserName>{openid}</ToUserName><FromUserName>{gh}</FromUserName><CreateTime>1</CreateTime>\
         <MsgType>text</MsgType><Content><![CDATA[we open at <9>]]></Content></xml>"
    );
    world.hub.respond_next(PlannedResponse::Reply(reply.clone()));
    let delivery =
        world.simulator.act(SERVICE, &openid, text("hours?"), PushOverrides::default()).await.unwrap();
    assert_eq!((delivery.outcome, delivery.reply), (PushOutcome::Replied, Some(reply)));
    let received = world.simulator.received(SERVICE, &openid);
    assert_eq!((received[0].channel.as_str(), received[0].text.as_str()), ("passive", "we open at <9>"));
    world.hub.respond_next(PlannedResponse::Answer(200, "{\"msg\":1}".into()));
    let delivery =
        world.simulator.act(SERVICE, &openid, text("hours?"), PushOverrides::default()).await.unwrap();
    assert_eq!((delivery.outcome, delivery.attempts.len()), (PushOutcome::Malformed, 1), "not tried again");
}

#[tokio::test]
async fn what_a_follower_does_is_told_as_wechat_tells_it() {
    let world = SimulatorFixture::new().await;
    let openid = bound_follower(&world).await;
    let s = |text: &str| text.to_owned();
    for (what, act, expected) in [
        ("unfollows", FollowerAction::Unfollow, vec![("Event", "unsubscribe"), ("EventKey", "")]),
        (
            "scans as a stranger",
            FollowerAction::Scan { scene: s("shelf7") },
            vec![("Event", "subscribe"), ("EventKey", "qrscene_shelf7")],
        ),
        (
            "scans as a follower",
            FollowerAction::Scan { scene: s("42") },
            vec![("Event", "SCAN"), ("EventKey", "42")],
        ),
        ("taps", FollowerAction::Click { key: s("HELP") }, vec![("Event", "CLICK"), ("EventKey", "HELP")]),
        (
            "opens",
            FollowerAction::View { url: s("https://e.com/?a=1&b=2") },
            vec![("Event", "VIEW"), ("EventKey", "https://e.com/?a=1&b=2")],
        ),
        ("writes", text("a ]]> b 中"), vec![("MsgType", "text"), ("Content", "a ]]> b 中")]),
        (
            "sends a place",
            FollowerAction::Location { latitude: 22.5, longitude: 114.0, label: s("here") },
            vec![("MsgType", "location"), ("Location_X", "22.5"), ("Label", "here")],
        ),
        (
            "sends a picture",
            FollowerAction::Image { pic_url: None, media_id: Some(s("m1")) },
            vec![("MsgType", "image"), ("MediaId", "m1")],
        ),
        (
            "reports",
            FollowerAction::ReportLocation { latitude: 1.5, longitude: 2.5 },
            vec![("Event", "LOCATION"), ("Latitude", "1.5")],
        ),
    ] {
        let delivery = world
            .simulator
            .act(SERVICE, &openid, act, PushOverrides { msg_id: Some(7), create_time: Some(99) })
            .await
            .unwrap();
        let read = XmlDocument::parse(&delivery.plaintext).unwrap();
        for (name, value) in expected {
            assert_eq!(read.get(name), Some(value), "{what}: {name}");
        }
        assert_eq!(read.get("CreateTime"), Some("99"), "{what}");
        assert_eq!(read.get("MsgId"), (read.get("MsgType") != Some("event")).then_some("7"), "{what}");
    }
}

#[tokio::test]
async fn nothing_is_pushed_for_an_account_that_is_not_bound() {
    let world = SimulatorFixture::new().await;
    let person = world.simulator.add_follower(SERVICE, None, None, None).unwrap();
    let refused = world.simulator.act(SERVICE, &person.openid, text("hi"), PushOverrides::default()).await;
    assert_eq!(refused.unwrap_err().errcode, 43004, "strangers cannot write");
    let delivery = world
        .simulator
        .act(SERVICE, &person.openid, FollowerAction::Follow { scene: None }, PushOverrides::default())
        .await
        .unwrap();
    assert_eq!(delivery.outcome, PushOutcome::NotSent);
    world.bind_with(SERVICE, Some(vec![2])).await;
    let delivery =
        world.simulator.act(SERVICE, &person.openid, text("hi"), PushOverrides::default()).await.unwrap();
    assert_eq!(delivery.outcome, PushOutcome::NotSent, "message management was not granted");
}

#[tokio::test]
async fn pushes_can_be_lost_and_repeated() {
    let world = SimulatorFixture::new().await;
    let openid = bound_follower(&world).await;
    let before = world.hub.requests.lock().unwrap().len();
    world.simulator.inject_fault(InjectedFault::once("push/message", FaultKind::DropPush));
    world.simulator.inject_fault(InjectedFault::once("push/message", FaultKind::RepeatPush));
    let lost = world.simulator.act(SERVICE, &openid, text("1"), PushOverrides::default()).await.unwrap();
    assert_eq!(lost.outcome, PushOutcome::NotSent);
    world.simulator.act(SERVICE, &openid, text("2"), PushOverrides::default()).await.unwrap();
    assert_eq!(world.hub.requests.lock().unwrap().len() - before, 2);
}
