//! The function against an embedded database and a scripted WeChat.

#[cfg(test)]
mod harness;
#[cfg(test)]
mod waiting;

use futures::future::join_all;
use harness::{
    ACCOUNT, CUSTOM, REFRESH, SendHarness, TEMPLATE, TENANT, errcode, json_response, lost_response, not_sent,
};
use serde_json::json;
use shared::{
    clock::Clock,
    model::{
        account::AccountType,
        failure_code::FailureCode,
        message::{Channel, MessageStatus},
    },
    queue::jobs::SendJob,
    secret::Secret,
};

#[tokio::test]
async fn a_message_goes_by_the_window_else_by_its_template() {
    let w = SendHarness::new().await;
    for fan in ["o1", "o4", "o5"] {
        w.fan_writes(fan).await;
    }
    let jobs = [
        w.accept("msg_window", "o1", true, true).await,
        w.accept("msg_template", "o2", true, true).await,
        w.accept("msg_outside", "o3", true, false).await,
        w.accept("msg_closed", "o4", true, true).await,
        w.accept("msg_used_up", "o5", true, false).await,
    ];
    w.wechat.script(CUSTOM, [errcode(0), errcode(45015), errcode(45047)]);
    assert!(w.deliver(&jobs, 1).await.is_empty());

    let sent = w.message("msg_window").await;
    assert_eq!((sent.status, sent.channel), (MessageStatus::Sent, Some(Channel::CustomerService)));
    assert!(sent.sent_at.is_some() && sent.wechat_msg_id.is_none() && sent.content.is_some());
    assert_eq!(w.window_sends_used("o1").await, 1);
    for id in ["msg_template", "msg_closed"] {
        let sent = w.message(id).await;
        assert_eq!((sent.status, sent.channel), (MessageStatus::Sent, Some(Channel::Template)), "{id}");
        assert!(sent.wechat_msg_id.is_some(), "{id}");
    }
    assert_eq!(w.failure_code("msg_outside").await, "recipient_unreachable", "nobody here knows them");
    let used_up = w.message("msg_used_up").await.error.unwrap();
    assert_eq!((used_up.code, used_up.errcode), (FailureCode::OutsideReplyWindow, Some(45047)));
    assert_eq!((w.wechat.bodies(CUSTOM).len(), w.wechat.bodies(TEMPLATE).len()), (3, 2));

    let events = w.events("o1").await;
    let event = events.first().unwrap();
    assert_eq!((event.kind.as_str(), event.identity.as_str()), ("message_sent", "Smsg_window"));
    assert_eq!(event.detail()["channel"], "customer_service");
    assert_eq!(event.detail()["content"]["text"]["content"], "msg_window");
    assert!(w.events("o2").await.first().unwrap().detail().contains_key("template"));
    assert!(w.events("o3").await.is_empty());

    // The same jobs again, as if a crash prevented their deletion: nothing more is sent.
    assert!(w.deliver(&jobs, 1).await.is_empty());
    assert_eq!((w.wechat.bodies(CUSTOM).len(), w.wechat.bodies(TEMPLATE).len()), (3, 2));
    assert_eq!(w.message("msg_window").await.status, MessageStatus::Sent);
}

#[tokio::test]
async fn what_the_account_may_not_send_never_reaches_wechat() {
    let w = SendHarness::new().await;
    w.bind("wx00000000000000bb", AccountType::Subscription, &[1, 7]).await;
    w.bind("wx00000000000000cc", AccountType::Service, &[7]).await;
    w.bind("wx00000000000000dd", AccountType::Service, &[1, 7]).await;
    w.app.store.accounts().unbind("wx00000000000000dd", w.clock.unix(), w.clock.unix()).await.unwrap();
    let jobs = [
        w.accept_for("wx00000000000000bb", "msg_b", "o1", false, true).await,
        w.accept_for("wx00000000000000cc", "msg_c", "o1", true, false).await,
        w.accept_for("wx00000000000000dd", "msg_d", "o1", true, true).await,
        w.accept_for("wx00000000000000ee", "msg_e", "o1", true, true).await,
    ];
    assert!(w.deliver(&jobs, 1).await.is_empty());
    for (id, code) in [
        ("msg_b", "capability_missing"),
        ("msg_c", "capability_missing"),
        ("msg_d", "account_not_bound"),
        ("msg_e", "account_not_bound"),
    ] {
        assert_eq!(w.failure_code(id).await, code, "{id}");
    }
    assert!(w.wechat.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn one_fans_messages_stay_in_order_and_stop_at_one_that_failed() {
    let w = SendHarness::new().await;
    w.fan_writes("o1").await;
    w.fan_writes("o2").await;
    let mut jobs = Vec::new();
    for n in 0..5 {
        jobs.push(w.accept(&format!("msg_{n}"), "o1", true, false).await);
    }
    jobs.push(w.accept("msg_other", "o2", true, false).await);
    w.wechat.script(CUSTOM, [errcode(0), errcode(0), errcode(0), errcode(-1)]);
    assert_eq!(w.deliver(&jobs, 1).await, [2, 3, 4]);
    assert_eq!(w.wechat.sent_texts(), ["msg_0", "msg_other", "msg_1", "msg_2"]);
    assert_eq!(w.message("msg_2").await.status, MessageStatus::Queued);

    assert!(w.deliver([&jobs[2], &jobs[3], &jobs[4]], 2).await.is_empty());
    assert_eq!(w.wechat.sent_texts()[4..], ["msg_2", "msg_3", "msg_4"]);
    assert_eq!(w.window_sends_used("o1").await, 5, "the try that was refused counts once");
}

#[tokio::test]
async fn messages_of_one_fan_in_two_workers_both_use_the_window() {
    let w = SendHarness::new().await;
    w.fan_writes("o1").await;
    let (a, b) = (w.accept("msg_a", "o1", true, false).await, w.accept("msg_b", "o1", true, false).await);
    futures::join!(w.deliver([&a], 1), w.deliver([&b], 1));
    assert_eq!(w.window_sends_used("o1").await, 2);
    assert_eq!(w.wechat.sent_texts().len(), 2);
}

#[tokio::test]
async fn after_a_crash_nobody_is_reached_twice() {
    let w = SendHarness::new().await;
    w.fan_writes("o1").await;
    let (service, template) = (Some(Channel::CustomerService), Some(Channel::Template));
    let jobs = [
        w.accept("msg_service", "o1", true, true).await,
        w.accept("msg_template", "o2", false, true).await,
        w.accept("msg_refused", "o3", true, false).await,
    ];
    let claims = [("msg_service", service), ("msg_template", template), ("msg_refused", None)];
    assert_eq!(w.lease_and_die(&claims).await, 3);
    assert_eq!(w.deliver(&jobs, 2).await, [0, 1, 2], "somebody may be at it");
    w.clock.advance(35);
    assert!(w.deliver(&jobs, 3).await.is_empty());
    assert_eq!(w.failure_code("msg_service").await, "outcome_unknown");
    assert_eq!(w.failure_code("msg_refused").await, "recipient_unreachable");
    assert_eq!(w.message("msg_template").await.status, MessageStatus::Sent);
    assert_eq!(w.wechat.bodies(CUSTOM).len(), 0);
    assert_eq!(w.wechat.bodies(TEMPLATE)[0]["client_msg_id"], "msg_template");

    let late = w.accept("msg_late", "o4", false, true).await;
    assert_eq!(w.lease_and_die(&[("msg_late", template)]).await, 1);
    w.clock.advance(540);
    assert!(w.deliver([&late], 2).await.is_empty());
    assert_eq!(w.failure_code("msg_late").await, "outcome_unknown");
    assert_eq!(w.wechat.bodies(TEMPLATE).len(), 1);
}

/// The status, the event and WeChat's id go out in one request that is not atomic: a worker whose event was throttled
/// died, and nobody wrote it any more.
#[tokio::test]
async fn a_message_that_is_sent_gets_the_event_that_its_worker_did_not_write() {
    let w = SendHarness::new().await;
    w.fan_writes("o1").await;
    let jobs = [
        w.accept("msg_1", "o1", true, false).await,
        w.accept("msg_2", "o2", false, true).await,
        w.accept("msg_3", "o3", true, false).await, // it fails, and has no event
    ];
    assert!(w.deliver(&jobs, 1).await.is_empty());
    let wechat_id = w.message("msg_2").await.wechat_msg_id.unwrap();
    let records = [
        ("TimelineTable", format!("FAN#{TENANT}#{ACCOUNT}#o1"), "Smsg_1"),
        ("TimelineTable", format!("FAN#{TENANT}#{ACCOUNT}#o2"), "Smsg_2"),
        ("WorkTable", format!("WECHAT#{ACCOUNT}#{wechat_id}"), "MESSAGE"),
    ];
    let mut written = Vec::new();
    for (table, pk, sk) in &records {
        written.push(w.take_item(table, pk, sk).await.unwrap());
    }
    for receives in [2, 1] {
        assert!(w.deliver(&jobs, receives).await.is_empty());
        for ((table, pk, sk), before) in records.iter().zip(&written) {
            let again = w.take_item(table, pk, sk).await;
            assert_eq!(again.as_ref(), Some(before), "{sk}, received {receives} times");
        }
    }
    assert!(w.events("o3").await.is_empty());
    let calls = (w.wechat.bodies(CUSTOM).len(), w.wechat.bodies(TEMPLATE).len());
    assert_eq!(calls, (1, 1), "and nothing is sent again");
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_again_only_where_wechat_deduplicates() {
    let w = SendHarness::new().await;
    w.fan_writes("o1").await;
    w.fan_writes("o3").await;
    let jobs = [
        w.accept("msg_service", "o1", true, true).await,
        w.accept("msg_template", "o2", false, true).await,
        w.accept("msg_unsent", "o3", true, false).await,
    ];
    w.wechat.script(CUSTOM, [lost_response(), not_sent()]);
    w.wechat.script(TEMPLATE, [lost_response()]);
    assert_eq!(w.deliver(&jobs, 1).await, [1, 2]);
    assert_eq!(w.failure_code("msg_service").await, "outcome_unknown");
    assert!(w.deliver(&jobs, 2).await.is_empty());
    let ids: Vec<_> = w.wechat.bodies(TEMPLATE).iter().map(|b| b["client_msg_id"].clone()).collect();
    assert_eq!(ids, ["msg_template", "msg_template"]);
    assert_eq!(w.wechat.sent_texts(), ["msg_service", "msg_unsent", "msg_unsent"]);
    assert_eq!(w.message("msg_unsent").await.status, MessageStatus::Sent);
    assert!(w.events("o1").await.is_empty());
}

#[tokio::test]
async fn what_a_later_try_is_answered_says_nothing_of_one_whose_answer_was_lost() {
    for (what, code) in [("left", 43004), ("a wrong parameter", 47003), ("busy", -1), ("the quota", 45009)] {
        let w = SendHarness::new().await;
        let job = w.accept("msg_1", "o1", false, true).await;
        w.wechat.script(TEMPLATE, [lost_response(), errcode(code)]);
        assert_eq!(w.deliver([&job], 1).await, [0], "{what}");
        w.deliver([&job], 2).await;
        w.clock.advance(24 * 3600);
        for late in w.take_due_jobs().await {
            assert!(w.deliver([&late], 1).await.is_empty(), "{what}");
        }
        assert!(w.deliver([&job], 3).await.is_empty(), "{what}");
        let failed = w.message("msg_1").await.error.unwrap();
        assert_eq!(failed.code, FailureCode::OutcomeUnknown, "{what}");
        assert_eq!(w.wechat.bodies(TEMPLATE).len(), 2, "{what}: asked when WeChat would deliver it twice");
    }
    // the account was unbound meanwhile, or another tenant has it
    for tenant in [None, Some("ten_2")] {
        let w = SendHarness::new().await;
        let job = w.accept("msg_1", "o1", false, true).await;
        w.wechat.script(TEMPLATE, [lost_response()]);
        assert_eq!(w.deliver([&job], 1).await, [0]);
        w.app.store.accounts().unbind(ACCOUNT, w.clock.unix(), w.clock.unix()).await.unwrap();
        if let Some(tenant) = tenant {
            w.app.store.accounts().delete(TENANT, ACCOUNT).await.unwrap();
            w.bind_for_tenant(tenant, ACCOUNT, AccountType::Service, &[1, 15, 4, 7, 2, 3, 11, 8]).await;
        }
        assert!(w.deliver([&job], 2).await.is_empty());
        assert_eq!(w.failure_code("msg_1").await, "outcome_unknown", "{tenant:?}");
        assert_eq!(w.wechat.bodies(TEMPLATE).len(), 1, "sent by another tenant's authorization");
    }
}

#[tokio::test]
async fn a_used_up_quota_costs_one_call_and_its_messages_wait_in_timers_for_a_day() {
    let w = SendHarness::new().await;
    let mut jobs = Vec::new();
    for n in 0..30 {
        jobs.push(w.accept(&format!("msg_{n:02}"), &format!("o{n}"), false, true).await);
    }
    w.wechat.script(TEMPLATE, [errcode(45009)]);
    assert!(w.deliver([&jobs[0]], 1).await.is_empty(), "a timer has it");
    for batch in jobs[1..].chunks(10) {
        assert!(w.deliver(batch, 1).await.is_empty());
    }
    assert_eq!(w.wechat.bodies(TEMPLATE).len(), 1, "WeChat said so already");
    assert_eq!(w.message("msg_29").await.status, MessageStatus::Queued);
    // until midnight in Beijing
    w.clock.advance(16 * 3600 - 1);
    assert!(w.take_due_jobs().await.is_empty());
    w.clock.advance(601); // one after the other, for ten minutes
    let due = w.take_due_jobs().await;
    assert_eq!(due.len(), 30);
    w.wechat.script(TEMPLATE, [errcode(45009)]);
    assert!(w.deliver([&due[0]], 1).await.is_empty());
    assert!(w.deliver(&due[1..10], 1).await.is_empty());
    assert_eq!(w.wechat.bodies(TEMPLATE).len(), 2);
    w.clock.advance(8 * 3600 - 600);
    let due = w.take_due_jobs().await;
    assert_eq!(due.len(), 10, "at the end of their day, not at the next midnight");
    assert!(w.deliver(&due, 1).await.is_empty());
    for job in &due {
        let SendJob::WaitedV1 { message_id, .. } = job else { panic!("{job:?}") };
        let failed = w.message(message_id).await.error.unwrap();
        assert_eq!((failed.code, failed.errcode), (FailureCode::QuotaExceeded, Some(45009)));
    }
    assert_eq!(w.wechat.bodies(TEMPLATE).len(), 2);
}

#[tokio::test]
async fn an_outage_is_waited_for_by_age_and_not_by_tries() {
    let w = SendHarness::new().await;
    let job = w.accept("msg_1", "o1", false, true).await;
    w.wechat.script(TEMPLATE, (0..200).map(|n| if n % 2 == 0 { not_sent() } else { errcode(-1) }));
    for receive in 1..=3 {
        assert_eq!(w.deliver([&job], receive).await, [0], "{receive}");
        w.clock.advance(1 << receive);
    }
    assert!(w.deliver([&job], 4).await.is_empty(), "a timer has it");
    let mut looks = 0;
    while w.message("msg_1").await.status == MessageStatus::Queued {
        w.clock.advance(300);
        for late in w.take_due_jobs().await {
            assert!(w.deliver([&late], 1).await.is_empty());
            looks += 1;
        }
    }
    assert_eq!(w.failure_code("msg_1").await, "wechat_busy");
    let day = w.message("msg_1").await.created_at / 1000 + 24 * 3600;
    assert!((day..day + 301).contains(&w.clock.unix()), "given up {} s after the day", w.clock.unix() - day);
    assert!((50..110).contains(&looks), "{looks} looks in a day");
}

#[tokio::test]
async fn later_messages_to_one_fan_wait_behind_one_that_waits() {
    let w = SendHarness::new().await;
    let first = w.accept("msg_0", "o1", false, true).await;
    w.wechat.script(TEMPLATE, [errcode(45011)]);
    assert!(w.deliver([&first], 1).await.is_empty());
    let mut later = Vec::new();
    for n in 1..4 {
        w.clock.advance(1);
        later.push(w.accept(&format!("msg_{n}"), "o1", false, true).await);
    }
    assert!(w.deliver(&later, 1).await.is_empty());
    let other = w.accept("msg_other", "o2", false, true).await;
    assert!(w.deliver([&other], 1).await.is_empty(), "the minute's quota is the account's");
    assert_eq!(w.template_message_ids(), ["msg_0"], "one came first");
    w.clock.advance(95);
    let due: Vec<_> =
        w.take_due_jobs().await.into_iter().filter(|job| !format!("{job:?}").contains("msg_other")).collect();
    assert_eq!(due.len(), 4);
    // the first has to wait again, and the others with it
    w.wechat.script(TEMPLATE, [errcode(45011)]);
    assert!(w.deliver(&due, 1).await.is_empty());
    assert_eq!(w.template_message_ids()[1..], ["msg_0"]);
    w.clock.advance(200);
    let due: Vec<_> = w.take_due_jobs().await;
    assert_eq!(due.len(), 4);
    let last = w.accept("msg_4", "o1", false, true).await;
    assert!(w.deliver([&last], 1).await.is_empty(), "while they go, it waits");
    assert_eq!(w.template_message_ids().len(), 2);
    assert!(w.deliver(&due, 1).await.is_empty());
    assert_eq!(w.template_message_ids()[2..], ["msg_0", "msg_1", "msg_2", "msg_3"]);
    let due: Vec<_> = w.take_due_jobs().await;
    assert!(w.deliver(&due, 1).await.is_empty());
    assert_eq!(w.template_message_ids()[6..], ["msg_4"]);
    // nobody waits any more
    let free = w.accept("msg_5", "o1", false, true).await;
    assert!(w.deliver([&free], 1).await.is_empty());
    assert_eq!(w.template_message_ids()[7..], ["msg_5"]);
}

#[tokio::test]
async fn nothing_is_sent_for_a_suspended_tenant() {
    let w = SendHarness::new().await;
    w.fan_writes("o1").await;
    let job = w.accept("msg_1", "o1", true, true).await;
    w.suspend().await;
    assert!(w.deliver([&job], 1).await.is_empty());
    assert_eq!(w.failure_code("msg_1").await, "tenant_suspended");
    assert!(w.wechat.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn reasons_are_true() {
    let w = SendHarness::new().await;
    for fan in ["o_left", "o_back"] {
        w.fan_writes(fan).await;
        w.clock.advance(1);
        w.fan_leaves(fan).await;
    }
    w.clock.advance(1);
    w.fan_writes("o_back").await;
    let jobs = [
        w.accept("msg_left", "o_left", true, true).await,
        w.accept("msg_back", "o_back", true, false).await,
        w.accept("msg_customer", "cus_01jd3v6m5s8qk2x9w4r7t0y1za", true, false).await,
        w.accept("msg_stranger", "o_stranger", false, true).await,
        w.accept("msg_refuses", "o_refuses", false, true).await,
    ];
    w.wechat.script(TEMPLATE, [errcode(40003), errcode(43101)]);
    assert!(w.deliver(&jobs, 1).await.is_empty());
    for id in ["msg_left", "msg_customer", "msg_stranger", "msg_refuses"] {
        assert_eq!(w.failure_code(id).await, "recipient_unreachable", "{id}");
    }
    assert_eq!(w.message("msg_back").await.status, MessageStatus::Sent);
    assert_eq!(w.wechat.bodies(TEMPLATE).len(), 2, "who left is not asked for");
}

#[tokio::test]
async fn two_hundred_sends_with_a_dead_token_refresh_it_once() {
    let w = SendHarness::new().await;
    let mut jobs = Vec::new();
    for n in 0..200 {
        jobs.push(w.accept(&format!("msg_{n}"), &format!("o{n}"), false, true).await);
    }
    w.wechat.replace_token();
    let batches = jobs.chunks(10).map(|batch| {
        let w = &w;
        async move { w.deliver(batch, 1).await }
    });
    assert!(join_all(batches).await.concat().is_empty());
    assert_eq!(w.wechat.bodies(REFRESH).len(), 1);
    for n in 0..200 {
        assert_eq!(w.message(&format!("msg_{n}")).await.status, MessageStatus::Sent);
    }
    w.clock.advance(7200);
    let late = w.accept("msg_late", "o1", false, true).await;
    assert!(w.deliver([&late], 1).await.is_empty());
    assert_eq!(w.wechat.bodies(REFRESH).len(), 2, "an expired one is replaced before it is used");
}

#[tokio::test]
async fn wechat_tells_what_became_of_a_template_message() {
    let w = SendHarness::new().await;
    let mut jobs = Vec::new();
    for n in 0..3 {
        jobs.push(w.accept(&format!("msg_{n}"), &format!("o{n}"), false, true).await);
    }
    assert!(w.deliver(&jobs, 1).await.is_empty());
    let result = |id: String, status: &str| SendJob::TemplateResultV1 {
        tenant_id: TENANT.into(),
        app_id: ACCOUNT.into(),
        wechat_msg_id: id,
        status: status.into(),
    };
    let mut results = Vec::new();
    for (n, status) in ["success", "failed:user block", "failed: system failed"].into_iter().enumerate() {
        let id = w.message(&format!("msg_{n}")).await.wechat_msg_id.unwrap();
        results.push(result(id, status));
    }
    results.push(result("404".into(), "success"));
    assert_eq!(w.deliver(&results, 1).await, [3]);
    assert!(w.deliver(&results, 11).await.is_empty());
    assert_eq!(w.message("msg_0").await.status, MessageStatus::Delivered);
    assert_eq!(
        (w.failure_code("msg_1").await, w.failure_code("msg_2").await),
        ("user_blocked".into(), "system_failed".into())
    );
}

#[tokio::test]
async fn the_release_check_is_answered_with_the_token_that_its_code_gives() {
    let w = SendHarness::new().await;
    w.wechat.script(
        "/cgi-bin/component/api_query_auth",
        [json_response(&json!({ "authorization_info": {
            "authorizer_appid": "wx570bc396a51b8ff8", "authorizer_access_token": "token-0", "expires_in": 7200,
            "authorizer_refresh_token": "r", "func_info": []
        } }))],
    );
    let check = SendJob::ReleaseCheckV1 {
        app_id: "wx570bc396a51b8ff8".into(),
        code: Secret::new("queryauthcode@@@1"),
        open_id: "o1".into(),
    };
    assert!(w.deliver([&check], 1).await.is_empty());
    assert_eq!(w.wechat.sent_texts(), ["queryauthcode@@@1_from_api"]);
    assert_eq!(w.wechat.bodies(CUSTOM)[0]["touser"], "o1");
}
