//! Messages that wait, and messages that must not wait for them.

use std::{collections::VecDeque, time::Duration};

use shared::{
    clock::Clock,
    model::{
        account::AccountType,
        fan::FanId,
        message::{Channel, MessageStatus},
    },
    queue::jobs::SendJob,
    store::send_context::SendContextRequest,
};

use crate::harness::{ACCOUNT, CUSTOM, SendHarness, TEMPLATE, TENANT, errcode, lost_response};

const OTHER: &str = "wx00000000000000bb";
const GRANTED: [u32; 8] = [1, 15, 4, 7, 2, 3, 11, 8];

#[tokio::test]
async fn an_answer_in_an_open_window_does_not_wait_for_the_templates_quota() {
    let w = SendHarness::new().await;
    let template = w.accept("msg_template", "o1", false, true).await;
    w.wechat.script(TEMPLATE, [errcode(45009)]);
    assert!(w.deliver([&template], 1).await.is_empty());
    w.fan_writes("o1").await;
    w.clock.advance(1);
    let both = w.accept("msg_both", "o1", true, true).await;
    let answer = w.accept("msg_answer", "o1", true, false).await;
    assert!(w.deliver([&both, &answer], 1).await.is_empty());
    assert_eq!(w.wechat.sent_texts(), ["msg_both", "msg_answer"]);
    w.clock.advance(1);
    let late = w.accept("msg_late", "o1", false, true).await;
    assert!(w.deliver([&late], 1).await.is_empty());
    assert_eq!(w.template_message_ids(), ["msg_template"], "the others wait for the quota, in their order");
    w.clock.advance(17 * 3600);
    let due = w.take_due_jobs().await;
    assert!(w.deliver(&due, 1).await.is_empty());
    assert_eq!(w.template_message_ids()[1..], ["msg_template", "msg_late"]);
}

#[tokio::test]
async fn answers_to_one_fan_stay_in_order_and_nobody_waits_beyond_the_window() {
    let w = SendHarness::new().await;
    w.fan_writes("o1").await;
    w.clock.advance(47 * 3600);
    let first = w.accept("msg_0", "o1", true, false).await;
    w.wechat.script(CUSTOM, [errcode(45009)]);
    assert!(w.deliver([&first], 1).await.is_empty());
    w.clock.advance(1);
    let (second, both) =
        (w.accept("msg_1", "o1", true, false).await, w.accept("msg_2", "o1", true, true).await);
    assert!(w.deliver([&second, &both], 1).await.is_empty());
    assert_eq!(w.wechat.sent_texts(), ["msg_0"], "one came first");
    w.clock.advance(3600);
    let due = w.take_due_jobs().await;
    assert_eq!(due.len(), 3, "until midnight, though the window closes before");
    assert!(w.deliver(&due, 1).await.is_empty());
    assert_eq!(w.failure_code("msg_0").await, "outside_reply_window");
    assert_eq!(w.failure_code("msg_1").await, "outside_reply_window");
    assert_eq!(w.template_message_ids(), ["msg_2"], "it goes by its template");
}

#[tokio::test]
async fn a_job_that_is_queued_again_does_not_end_the_line_of_others() {
    let w = SendHarness::new().await;
    let first = w.accept("msg_1", "o1", false, true).await;
    w.wechat.script(TEMPLATE, [errcode(45009)]);
    assert!(w.deliver([&first], 1).await.is_empty());
    w.clock.advance(1);
    let second = w.accept("msg_2", "o1", false, true).await;
    assert!(w.deliver([&second], 1).await.is_empty());
    // the API request of the first is repeated, which queues its job again
    w.clock.advance(400);
    assert!(w.deliver([&first], 1).await.is_empty());
    w.clock.advance(17 * 3600);
    let due = w.take_due_jobs().await;
    let (ones, twos): (Vec<&SendJob>, Vec<&SendJob>) = due.iter().partition(|job| is_message(job, "msg_1"));
    assert!(w.deliver(ones, 1).await.is_empty());
    let third = w.accept("msg_3", "o1", false, true).await;
    assert!(w.deliver([&third], 1).await.is_empty());
    assert_eq!(w.template_message_ids(), ["msg_1", "msg_1"], "the third passed the second, which waits");
    assert!(w.deliver(twos, 1).await.is_empty());
    for job in w.take_due_jobs().await {
        assert!(w.deliver([&job], 1).await.is_empty());
    }
    assert_eq!(w.template_message_ids()[2..], ["msg_2", "msg_3"]);
}

fn is_message(job: &SendJob, id: &str) -> bool {
    matches!(job, SendJob::WaitedV1 { message_id, .. } if message_id == id)
}

#[tokio::test]
async fn a_clock_that_is_behind_loses_no_message_that_waits() {
    let w = SendHarness::new().await;
    let jobs = [w.accept("msg_0", "o1", false, true).await, w.accept("msg_1", "o1", false, true).await];
    w.wechat.script(TEMPLATE, [errcode(45009)]);
    assert!(w.deliver(&jobs, 1).await.is_empty());
    // the sweeper's clock is five seconds ahead of the sender's
    let midnight = w.clock.now().as_millisecond() + 17 * 3_600_000;
    let swept = w.due_timers(midnight).await;
    assert_eq!(swept.len(), 2);
    let line = (FanId { tenant: TENANT, app_id: ACCOUNT, open_id: "o1" }, Channel::Template);
    let context = w
        .app
        .store
        .send_contexts()
        .read(&SendContextRequest { waiting_lines: vec![line], ..SendContextRequest::default() })
        .await
        .unwrap();
    let until = context.waiting_line(line.0, line.1).unwrap().unwrap().until;
    w.clock.advance_ms(until - w.clock.now().as_millisecond() - 5_000);
    let handed: Vec<SendJob> =
        swept.iter().map(|due| serde_json::from_str(&due.timer.body).unwrap()).collect();
    let second: Vec<&SendJob> = handed.iter().filter(|job| is_message(job, "msg_1")).collect();
    assert!(w.deliver(second, 1).await.is_empty());
    // the sweeper deletes only then what it delivered
    w.app.store.timers().delete(&swept).await.unwrap();
    let again = w.due_timers(midnight).await;
    assert_eq!(again.len(), 1, "the second waits, and nobody comes for it");
    assert!(
        swept.iter().all(|due| due.timer.once != again[0].timer.once),
        "the queue takes it for the first"
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_not_taken_for_absent() {
    let w = SendHarness::new().await;
    let jobs = [w.accept("msg_odd", "o1", false, true).await, w.accept("msg_1", "o2", false, true).await];
    w.wechat.script(TEMPLATE, [errcode(45009)]);
    for job in &jobs {
        assert!(w.deliver([job], 1).await.is_empty());
    }
    w.clock.advance(17 * 3600);
    let due = w.take_due_jobs().await;
    w.corrupt_item("WorkTable", "#msg_odd").await;
    let odd = due.iter().position(|job| is_message(job, "msg_odd")).unwrap();
    assert_eq!(w.deliver(&due, 1).await, [odd], "its job is all that is left of it");
    assert_eq!(w.message("msg_1").await.status, MessageStatus::Sent);
    // the same where a lease finds it, in a batch with others
    let fresh = SendJob::MessageV1 {
        message_id: "msg_odd".into(),
        tenant_id: TENANT.into(),
        app_id: ACCOUNT.into(),
        to: "o3".into(),
        content: None,
        template: Some(serde_json::json!({"template_id": "t1", "data": {}})),
        created_at: w.clock.now().as_millisecond(),
    };
    let beside = w.accept("msg_beside", "o4", false, true).await;
    assert_eq!(w.deliver([&fresh, &beside], 1).await, [0]);
    assert_eq!(w.message("msg_beside").await.status, MessageStatus::Sent);
    // and with a fan whose windows are unreadable
    w.fan_writes("o5").await;
    w.corrupt_item("CustomersTable", "o5").await;
    let (to_them, to_another) =
        (w.accept("msg_5", "o5", true, false).await, w.accept("msg_6", "o6", false, true).await);
    assert_eq!(w.deliver([&to_them, &to_another], 1).await, [0]);
    assert_eq!(w.message("msg_6").await.status, MessageStatus::Sent);
}

#[tokio::test]
async fn an_account_whose_token_takes_long_keeps_no_other_waiting() {
    let w = SendHarness::new().await;
    w.bind(OTHER, AccountType::Service, &GRANTED).await;
    w.clock.advance(7200);
    // another worker is refreshing the first account's token for long
    let version = w.app.store.authorizers().get(ACCOUNT).await.unwrap().unwrap().version;
    assert!(w.app.store.authorizers().lease(ACCOUNT, version, "lse_1".into()).await.unwrap().is_some());
    let slow = w.accept_for(ACCOUNT, "msg_slow", "o1", false, true).await;
    let other = w.accept_for(OTHER, "msg_other", "o1", false, true).await;
    let jobs = [&slow, &other];
    let sent = async {
        while w.message("msg_other").await.status != MessageStatus::Sent {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        w.clock.advance(28);
    };
    let both = futures::future::join(w.deliver(jobs, 1), sent);
    let (undone, ()) =
        tokio::time::timeout(Duration::from_secs(60), both).await.expect("they wait for each other");
    assert_eq!(undone, [0], "it comes again, when the token may be there");
}

#[tokio::test]
async fn a_lost_answer_to_a_template_that_waited_is_asked_for_again() {
    let w = SendHarness::new().await;
    let job = w.accept("msg_1", "o1", false, true).await;
    w.wechat.script(TEMPLATE, [errcode(45009), lost_response(), lost_response()]);
    assert!(w.deliver([&job], 1).await.is_empty());
    w.clock.advance(17 * 3600);
    let due = w.take_due_jobs().await;
    assert_eq!(w.deliver([&due[0]], 1).await, [0], "WeChat deduplicates for ten minutes");
    w.clock.advance(2);
    assert_eq!(w.deliver([&due[0]], 2).await, [0]);
    w.clock.advance(4);
    assert!(w.deliver([&due[0]], 3).await.is_empty());
    assert_eq!(w.message("msg_1").await.status, MessageStatus::Sent);
    assert_eq!(w.template_message_ids(), ["msg_1"; 4]);
}

/// One of many instances receives its part of thousands of messages that one tenant posts at once, and then
/// another tenant's message. WeChat takes a second for a batch, deferring it a twentieth. Returns after
/// how many seconds the other tenant's message was sent.
async fn seconds_behind_a_flood(w: &SendHarness) -> i64 {
    w.bind_for_tenant("ten_2", OTHER, AccountType::Service, &GRANTED).await;
    let mut queue = VecDeque::new();
    for n in 0..300 {
        queue.push_back(w.accept(&format!("msg_{n:03}"), &format!("o{n}"), false, true).await);
    }
    queue.push_back(w.accept_for_tenant("ten_2", OTHER, "msg_other", "o1", false, true).await);
    let begun = w.clock.now().as_millisecond();
    let since = || w.clock.now().as_millisecond() - begun;
    while !w.template_message_ids().iter().any(|id| id == "msg_other") {
        let batch: Vec<_> = queue.drain(..queue.len().min(10)).collect();
        assert!(!batch.is_empty(), "it was not sent");
        let asked = w.template_message_ids().len();
        assert!(w.deliver_late(&batch, 1, since()).await.is_empty());
        w.clock.advance_ms(if w.template_message_ids().len() > asked { 1_000 } else { 50 });
    }
    since() / 1000
}

#[tokio::test]
async fn a_flood_keeps_another_tenant_waiting_for_one_turn_however_slow_wechat_is() {
    let w = SendHarness::new().await;
    w.create_tenant(TENANT, "active").await;
    w.create_tenant("ten_2", "active").await;
    let waited = seconds_behind_a_flood(&w).await;
    assert!((5..=10).contains(&waited), "{waited} s");
    // deferred messages come in bunches and late, may be deferred again, and are each sent once
    for _ in 0..60 {
        w.clock.advance(60);
        let due = w.take_due_jobs().await;
        for batch in due.chunks(10) {
            assert!(w.deliver_late(batch, 1, 3_000).await.is_empty());
            w.clock.advance(1);
        }
    }
    let mut sent = w.template_message_ids();
    sent.sort();
    sent.dedup();
    assert_eq!((sent.len(), w.template_message_ids().len()), (301, 301));
}

#[tokio::test]
async fn a_tenant_that_is_alone_takes_all_there_is() {
    let w = SendHarness::new().await;
    w.create_tenant(TENANT, "active").await;
    assert_eq!(seconds_behind_a_flood(&w).await, 31);
    w.clock.advance(400);
    assert!(w.take_due_jobs().await.is_empty());
}

#[tokio::test]
async fn a_flood_puts_off_no_message_whose_window_may_close_meanwhile() {
    let w = SendHarness::new().await;
    w.create_tenant(TENANT, "active").await;
    w.create_tenant("ten_2", "active").await;
    w.fan_writes("o_soon").await;
    w.clock.advance(48 * 3600 - 55); // others' turn
    w.fan_writes("o_open").await;
    for batch in 0..2 {
        let mut jobs = Vec::new();
        for n in 0..10 {
            jobs.push(w.accept(&format!("msg_{batch}{n}"), &format!("o{batch}{n}"), false, true).await);
        }
        assert!(w.deliver_late(&jobs, 1, 3_000).await.is_empty());
    }
    let sent = w.template_message_ids().len();
    let jobs = [
        w.accept("msg_soon", "o_soon", true, false).await,
        w.accept("msg_open", "o_open", true, false).await,
    ];
    assert!(w.deliver_late(&jobs, 1, 3_000).await.is_empty());
    assert_eq!(sent, 10, "the second batch is put off");
    assert_eq!(w.wechat.sent_texts(), ["msg_soon"]);
    assert_eq!(w.message("msg_soon").await.channel, Some(Channel::CustomerService));
}
