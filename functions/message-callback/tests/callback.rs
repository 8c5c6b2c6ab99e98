//! Pushes as WeChat sends them: Lambda events in, responses out, over an embedded DynamoDB with the tables of
//! `template.yaml`. Which push leaves what is decided in `shared/src/model/push_decision.rs`; here it is written.

#[cfg(test)]
mod support;

use serde_json::{Value, json};
use shared::{envelope::CallbackQuery, model::release_check::TEST_ACCOUNTS};
use support::{ACCOUNT, FAN, ORIGINAL_ID, PushAnswer, START, TENANT, TestApp};

const FOLLOW: &str = "<MsgType>event</MsgType><Event>subscribe</Event>";

fn text(content: &str) -> String {
    format!("<MsgType>text</MsgType><Content>{content}</Content><MsgId>9</MsgId>")
}

fn rules() -> Value {
    let menu = json!({"msgtype": "msgmenu", "msgmenu": {"list": [{"id": "1", "content": "Prices"}]}});
    json!({
        "on_subscribe": {"msgtype": "text", "text": {"content": "welcome"}},
        "keywords": [{"keyword": "menu", "match": "exact", "reply": menu}],
        "default": null,
    })
}

fn success() -> PushAnswer {
    PushAnswer { status: 200, body: "success".into() }
}

#[tokio::test]
async fn a_push_stores_its_event_and_its_sender_and_queues_its_job() {
    let app = TestApp::new(rules()).await;
    let answer = app.push(FOLLOW).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("welcome") && answer.body.contains(FAN), "{answer:?}");
    let (events, fans) = (app.items("TimelineTable"), app.items("CustomersTable"));
    assert_eq!((events.len(), fans.len()), (1, 1));
    assert_eq!((&events[0]["type"]["S"], &events[0]["open_id"]["S"]), (&json!("subscribed"), &json!(FAN)));
    assert_eq!(fans[0]["subscribed"]["BOOL"], true);
    let job = json!({
        "type": "fan_v1", "app_id": ACCOUNT, "tenant_id": TENANT, "open_id": FAN, "at": START,
    });
    assert_eq!(app.jobs(), [("OAHUB_FOLLOWER_QUEUE".to_owned(), job)]);
}

/// The group by which SQS shares a standard queue fairly: without it one tenant's jobs go before all others'.
#[tokio::test]
async fn a_job_in_a_queue_that_tenants_share_is_in_its_tenants_group() {
    let app = TestApp::new(rules()).await;
    let delivered = "<MsgType>event</MsgType><Event>TEMPLATESENDJOBFINISH</Event><MsgID>200163836</MsgID>\
                     <Status>success</Status>";
    for (what, members, queue) in [
        ("somebody follows, whose details are fetched", FOLLOW, "OAHUB_FOLLOWER_QUEUE"),
        ("WeChat reports how a template message ended", delivered, "OAHUB_RESULT_QUEUE"),
    ] {
        let before = app.groups().len();
        assert_eq!(app.push(members).await.status, 200, "{what}");
        assert_eq!(app.groups()[before..], [(queue.to_owned(), json!(TENANT))], "{what}");
    }
}

#[tokio::test]
async fn what_happens_to_the_account_leaves_an_event_and_nobody() {
    let app = TestApp::new(rules()).await;
    let members = "<MsgType>event</MsgType><Event>MASSSENDJOBFINISH</Event><MsgID>1</MsgID>";
    assert_eq!(app.push(members).await, success());
    let events = app.items("TimelineTable");
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0]["pk"]["S"], &events[0]["open_id"]["S"]),
        (&json!(format!("ACCOUNT#{TENANT}#{ACCOUNT}")), &json!(""))
    );
    assert_eq!((app.items("CustomersTable").len(), app.jobs().len()), (0, 0));
}

#[tokio::test]
async fn a_reply_that_cannot_be_passive_is_queued_as_the_same_message_however_often_the_push_comes() {
    let app = TestApp::new(rules()).await;
    for _ in 0..2 {
        assert_eq!(app.push(&text("menu")).await, success());
    }
    let jobs = app.jobs();
    assert_eq!((jobs.len(), &jobs[0]), (2, &jobs[1]));
    let (queue, job) = &jobs[0];
    assert_eq!(
        (queue.as_str(), &job["type"], &job["to"]),
        ("OAHUB_SEND_QUEUE", &json!("message_v1"), &json!(FAN))
    );
    assert_eq!(job["content"]["msgmenu"]["list"][0]["content"], "Prices");
    assert_eq!(app.items("TimelineTable").len(), 1);
}

#[tokio::test]
async fn a_push_whose_job_was_not_queued_is_asked_for_again_and_then_queues_it() {
    let app = TestApp::new(rules()).await;
    for (what, members) in [("a follow", FOLLOW.to_owned()), ("a rule's message", text("menu"))] {
        app.fail_queue(true);
        let queued = app.jobs().len();
        assert_eq!(app.push(&members).await.status, 503, "{what}");
        app.fail_queue(false);
        assert_eq!(app.push(&members).await.status, 200, "{what}");
        assert_eq!(app.jobs().len(), queued + 1, "{what}");
    }
    assert_eq!(app.items("TimelineTable").len(), 2, "each is stored once");
}

#[tokio::test]
async fn the_release_check_is_answered_at_once_and_stores_nothing() {
    let app = TestApp::new(rules()).await;
    let (app_id, original_id) = TEST_ACCOUNTS[0];
    let answer = app.push_to(app_id, original_id, &text("TESTCOMPONENT_MSG_TYPE_TEXT")).await;
    assert!(answer.body.contains("TESTCOMPONENT_MSG_TYPE_TEXT_callback"), "{answer:?}");
    let answer = app.push_to(app_id, original_id, &text("QUERY_AUTH_CODE:code1")).await;
    assert_eq!(answer, PushAnswer { status: 200, body: String::new() });
    let job = json!({"type": "release_check_v1", "app_id": app_id, "code": "code1", "open_id": FAN});
    assert_eq!(app.jobs(), [("OAHUB_RESULT_QUEUE".to_owned(), job)]);
    assert_eq!(app.items("TimelineTable").len(), 0);
}

#[tokio::test]
async fn a_push_that_is_not_for_a_bound_account_is_answered_by_what_is_wrong_and_stores_nothing() {
    let app = TestApp::new(rules()).await;
    app.services.store.consents().mark_binding_in_progress("wx_being_bound").await.unwrap();
    let hi = text("hi");
    for (what, app_id, original_id, status, body) in [
        ("bound by nobody", "wx_nobodys", "gh_2", 200, "success"),
        ("being bound", "wx_being_bound", "gh_2", 503, "the account is being bound; push again"),
        ("a body for another account", ACCOUNT, "gh_2", 400, "the body is for another account"),
        ("no possible app id", &"x".repeat(65), ORIGINAL_ID, 404, "no such account"),
    ] {
        let answer = app.push_to(app_id, original_id, &hi).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{what}");
    }
    let unsigned = app.post(ACCOUNT, &CallbackQuery::default(), "<xml><Encrypt>x</Encrypt></xml>").await;
    assert_eq!((unsigned.status, unsigned.body.as_str()), (403, "the signature does not match"));
    assert_eq!((app.items("TimelineTable").len(), app.jobs().len()), (0, 0));
}
