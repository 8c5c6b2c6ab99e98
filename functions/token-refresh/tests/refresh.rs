//! Ticks and jobs as Lambda hands them over.

#[cfg(test)]
mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::clock::Clock;
use support::TestApp;

#[tokio::test]
async fn a_tick_queues_the_accounts_that_are_due_and_their_job_refreshes_them() {
    let app = TestApp::new(&["wx1", "wx2"]).await;
    app.tick().await;
    let jobs = app.jobs();
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    let app_ids: BTreeSet<_> =
        job["app_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!((&job["type"], app_ids), (&json!("authorizers_v1"), BTreeSet::from(["wx1", "wx2"])));
    for _ in 0..2 {
        assert!(!app.deliver(job).await, "a second delivery is harmless");
    }
    assert_eq!((app.token("wx1").await, app.token("wx2").await), ("new of wx1".into(), "new of wx2".into()));
    // nothing is due any more
    app.clock.advance(60);
    app.tick().await;
    assert_eq!(app.jobs().len(), 1);
}

#[tokio::test]
async fn an_account_that_fails_hinders_no_other_and_is_tried_again_by_its_age() {
    let app = TestApp::new(&["wx1", "wx2", "wx3"]).await;
    app.wechat.refusals.lock().unwrap().insert("wx2".into(), -1);
    let all = json!({"type": "authorizers_v1", "app_ids": ["wx1", "wx2", "wx3"]});
    assert!(!app.deliver(&all).await);
    assert_eq!((app.token("wx1").await, app.token("wx3").await), ("new of wx1".into(), "new of wx3".into()));
    assert_eq!(app.token("wx2").await, "old");
    let since = app.clock.unix();
    let again = json!({"type": "authorizers_again_v1", "app_ids": ["wx2"], "since": since});
    assert_eq!(app.jobs(), std::slice::from_ref(&again));
    // as long as it fails, whatever the number of tries
    app.clock.advance(109 * 60);
    assert!(!app.deliver(&again).await);
    assert_eq!(app.jobs(), [again.clone(), again.clone()]);
    // until the wheel has come round to it
    app.clock.advance(60);
    assert!(!app.deliver(&again).await);
    assert_eq!(app.jobs().len(), 2);
    app.wechat.refusals.lock().unwrap().clear();
    app.clock.advance(3_600);
    assert!(!app.deliver(&all).await);
    assert_eq!(app.token("wx2").await, "new of wx2");
}

#[tokio::test]
async fn an_account_that_must_be_authorized_again_is_unbound() {
    for (what, errcode) in [
        ("it was withdrawn", 61003),
        ("its owner changed the password", 42007),
        ("a token that is none", 40030),
    ] {
        let app = TestApp::new(&["wx1", "wx2"]).await;
        app.wechat.refusals.lock().unwrap().insert("wx1".into(), errcode);
        assert!(!app.deliver(&json!({"type": "authorizers_v1", "app_ids": ["wx1", "wx2"]})).await, "{what}");
        assert_eq!((app.is_bound("wx1").await, app.is_bound("wx2").await), (false, true), "{what}");
        assert_eq!(app.jobs(), [Value::Null; 0], "{what}: nothing is tried again");
    }
}

#[tokio::test]
async fn a_job_whose_failures_cannot_be_queued_comes_again_as_a_whole() {
    let app = TestApp::new(&["wx1", "wx2"]).await;
    app.wechat.refusals.lock().unwrap().insert("wx2".into(), -1);
    app.sqs.fail(true);
    assert!(app.deliver(&json!({"type": "authorizers_v1", "app_ids": ["wx1", "wx2"]})).await);
    assert_eq!(app.token("wx1").await, "new of wx1", "what was refreshed is kept");
}
