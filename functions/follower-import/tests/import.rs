//! An import is exact, even if its jobs come twice, late and in any order, or die at any step.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test says so by failing")]

mod requeue;
mod support;

use std::{collections::BTreeMap, time::Duration};

use follower_import::{
    dispatch::run_job,
    new_fans,
    types::{Budget, ImportJobOutcome, JobDelivery},
};
use shared::{
    clock::Clock,
    deadline::Deadline,
    model::{fan::unionid_customer_id, import::ImportStatus, push_decision::FanActivity},
    queue::jobs::{FollowerJob, ImportJob},
    random::{Random, StdRandom},
    store::{fans::FanDetails, imports::ResumedBy, keys::CUSTOMER_SHARDS},
    wechat::user::UserInfo,
};
use support::{
    APP, ImportHarness, START, TENANT, fan_id, fan_job, import_ref, open_ids, queue::UnreliableQueue,
};

async fn follow(harness: &ImportHarness, open_id: &str, at: i64) {
    let touch = FanActivity::Followed { scene: None };
    harness.app.store.fans().record_activity(fan_id(open_id), &touch, at, "E1").await.unwrap();
}

async fn no_op(_: usize) {}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_is_exact_whatever_happens_to_its_jobs() {
    for seed in 0..4 {
        let followers = open_ids(730);
        let harness = ImportHarness::new(seed, &followers).await;
        // followers who left without a push; one is still listed
        for lost in ["lost1", "lost2", "o00001"] {
            follow(&harness, lost, START - 5_000).await;
        }
        {
            let mut faults = harness.wechat.faults.lock().unwrap();
            faults.percent = 10;
            faults.quota = Some((4, START + 4_000));
            faults.unknown = ["o00100".to_owned(), "o00700".to_owned()].into();
        }
        let (id, first) = harness.start().await;
        harness.clock.advance(1);
        let queue = UnreliableQueue::new(&harness, seed, 25, first);
        let random = StdRandom::seeded(seed);
        let mut truth: BTreeMap<String, bool> = BTreeMap::new();
        let mut paused = false;
        queue
            .drain(async |step| {
                let import = harness.import(&id).await;
                if import.status == ImportStatus::Paused {
                    paused = true;
                    let until = import.paused_until.unwrap();
                    assert!(until <= harness.clock.unix() + 3_600 && import.error.unwrap().contains("45009"));
                }
                // somebody unsubscribes or subscribes, and WeChat pushes it
                if step % 7 == 0 && truth.len() < 8 {
                    let joins = random.below(2) == 0;
                    let who =
                        if joins { format!("p{step:05}") } else { format!("o{:05}", random.below(730)) };
                    let touch =
                        if joins { FanActivity::Followed { scene: None } } else { FanActivity::Unfollowed };
                    harness.wechat.fans.lock().unwrap().insert(who.clone(), joins);
                    let at = harness.clock.unix();
                    harness
                        .app
                        .store
                        .fans()
                        .record_activity(fan_id(&who), &touch, at, &format!("E{step}"))
                        .await
                        .unwrap();
                    truth.insert(who, joins);
                }
            })
            .await;
        assert!(paused, "seed {seed}: the quota was never met");
        let import = harness.completed_import(&id).await;
        assert_eq!(import.followers_imported(), import.followers_listed, "seed {seed}");
        let mut expected: Vec<_> = followers.iter().chain(truth.keys()).cloned().collect();
        expected.extend(["lost1".to_owned(), "lost2".to_owned()]);
        expected.sort();
        expected.dedup();
        assert_eq!(harness.all_open_ids().await, expected, "seed {seed}");
        for open_id in &followers {
            let fan = harness.fan(open_id).await;
            let follows = truth.get(open_id).copied().unwrap_or(true);
            assert_eq!(fan.subscribed, follows, "seed {seed}: {open_id}");
            assert!(
                harness.events(open_id).await.is_empty(),
                "seed {seed}: an event was made up for {open_id}"
            );
        }
        for (open_id, follows) in &truth {
            assert_eq!(harness.fan(open_id).await.subscribed, *follows, "seed {seed}: {open_id}");
        }
        for lost in ["lost1", "lost2"] {
            assert!(!harness.fan(lost).await.subscribed, "seed {seed}: {lost} left");
            assert_eq!(harness.events(lost).await, ["unsubscribed"], "seed {seed}");
        }
        assert_eq!(harness.fan("o00005").await.remark.as_deref(), Some("known"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_count_as_wechat_lists_them_and_an_empty_account_is_done_at_once() {
    for count in [0, 1, 100, 101, 250, 251, 500] {
        let harness = ImportHarness::new(1, &open_ids(count)).await;
        let (id, first) = harness.start().await;
        UnreliableQueue::new(&harness, 1, 0, first).drain(no_op).await;
        let import = harness.completed_import(&id).await;
        let counts = (import.followers_total, import.followers_listed, import.followers_imported());
        assert_eq!(counts, (Some(count as u64), count as u64, count as u64));
        assert_eq!(harness.all_open_ids().await, open_ids(count));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_cut_short_takes_nobody_for_gone() {
    for (what, repeats_page, null_from) in
        [("one page comes again and again", true, None), ("null in place of the second page", false, Some(2))]
    {
        let harness = ImportHarness::new(1, &open_ids(600)).await;
        follow(&harness, "o00599", START - 5_000).await;
        {
            let mut faults = harness.wechat.faults.lock().unwrap();
            (faults.repeats_page, faults.null_from) = (repeats_page, null_from);
        }
        let (id, first) = harness.start().await;
        UnreliableQueue::new(&harness, 1, 0, first).drain(no_op).await;
        let import = harness.import(&id).await;
        assert_eq!((import.status, import.followers_imported()), (ImportStatus::Failed, 250), "{what}");
        assert!(import.error.unwrap().contains("nobody was marked as gone"), "{what}");
        assert!(harness.fan("o00599").await.subscribed, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_may_not_ask_for_details_imports_openids() {
    for (what, details, batch) in [
        ("no right to any details", Some(48001), None),
        ("an openid in the batch is wrong", None, Some(40003)),
        ("so is the batch", None, Some(40031)),
    ] {
        let harness = ImportHarness::new(1, &open_ids(120)).await;
        follow(&harness, "o00007", START - 5_000).await;
        {
            let mut faults = harness.wechat.faults.lock().unwrap();
            (faults.details, faults.batch) = (details, batch);
        }
        let (id, first) = harness.start().await;
        UnreliableQueue::new(&harness, 1, 0, first).drain(no_op).await;
        assert_eq!(harness.completed_import(&id).await.followers_imported(), 120, "{what}");
        let fan = harness.fan("o00007").await;
        assert!(fan.subscribed && fan.seen_import == Some(id), "{what}");
        assert_eq!(fan.remark.as_deref(), details.is_none().then_some("known"), "{what}");
    }
}

/// WeChat does not escape followers' names. One bad name makes the whole batch unreadable, so they are
/// fetched one by one, and only those whose own response is unreadable get no details.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn details_that_are_no_json_cost_one_follower_theirs_and_no_other() {
    for (what, name, readable) in [
        ("a plain name", &b"Lin"[..], true),
        ("a quotation mark", b"a\"b", false),
        ("a quotation mark at the end", b"a\"", false),
        ("a member more", b"a\",\"openid\":\"o00001", false),
        ("a backslash at the end", b"a\\", false),
        ("a backslash before a letter", b"a\\x", false),
        ("a backslash before an apostrophe", b"it\\'s", false),
        ("half a pair of surrogates", br"\ud83d", false),
        ("the other half", br"\ude00", false),
        ("two first halves", br"\ud83d\ud83d", false),
        ("half a pair as bytes", b"\xed\xa0\xbd", true),
        ("an escape that ends early", br"\u12", false),
        ("a line break", b"a\nb", true),
        ("NUL", b"a\0b", true),
        ("bytes that are no UTF-8", b"a\xff", true),
        ("a brace", b"}", true),
    ] {
        let harness = ImportHarness::new(1, &open_ids(101)).await;
        {
            let mut faults = harness.wechat.faults.lock().unwrap();
            faults.raw_names.insert("o00007".into(), name.to_vec());
            faults.raw_names.insert("o00100".into(), name.to_vec()); // alone in its chunk
        }
        let (id, first) = harness.start().await;
        UnreliableQueue::new(&harness, 1, 0, first).drain(no_op).await;
        let import = harness.completed_import(&id).await;
        assert_eq!((import.followers_imported(), import.error), (101, None), "{what}");
        for open_id in open_ids(101) {
            let fan = harness.fan(&open_id).await;
            assert!(fan.subscribed, "{what}: {open_id}");
            let has_details = readable || !["o00007", "o00100"].contains(&open_id.as_str());
            assert_eq!(fan.remark.as_deref(), has_details.then_some("known"), "{what}: {open_id}");
        }
        UnreliableQueue::with_new_fan(&harness, 0, fan_job("o00007", START)).drain(no_op).await; // it ends
    }
}

/// With one unreadable name and a slow WeChat, a hundred single calls took longer than the function may run:
/// it was killed without a receipt, and the next delivery started from the beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_wechat_is_asked_for_the_rest_when_the_job_comes_again() {
    let harness = ImportHarness::new(1, &open_ids(100)).await;
    {
        let mut faults = harness.wechat.faults.lock().unwrap();
        faults.raw_names.insert("o00099".into(), b"a\"b".to_vec());
        faults.info_call_seconds = 2;
    }
    let (id, first) = harness.start().await;
    let mut queue = UnreliableQueue::new(&harness, 1, 0, first);
    queue.time_limit = Some(Duration::from_secs(55));
    queue.drain(no_op).await;
    let import = harness.completed_import(&id).await;
    assert_eq!((import.followers_imported(), import.error), (100, None));
    let singles = harness.wechat.calls.lock().unwrap().iter().filter(|call| *call == "user/info").count();
    assert!((100..120).contains(&singles), "{singles} calls for a hundred followers");
    for open_id in open_ids(100) {
        let known = (open_id != "o00099").then_some("known");
        assert_eq!(harness.fan(&open_id).await.remark.as_deref(), known, "{open_id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_order_mark_before_an_answer_hides_nothing() {
    let harness = ImportHarness::new(1, &open_ids(101)).await;
    harness.wechat.faults.lock().unwrap().prefix = b"\xef\xbb\xbf".to_vec();
    let (id, first) = harness.start().await;
    UnreliableQueue::new(&harness, 1, 0, first).drain(no_op).await;
    harness.completed_import(&id).await;
    assert_eq!(harness.fan("o00100").await.remark.as_deref(), Some("known"));
    let calls = harness.wechat.calls.lock().unwrap();
    assert_eq!(calls.iter().filter(|call| *call == "user/info").count(), 1, "none but the last one, alone");
}

/// The QR scene is that of the last follow, and user/info overrides it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scene_is_the_last_follows_and_what_user_info_says_now() {
    let harness = ImportHarness::new(1, &open_ids(1)).await;
    let fan_of = async || {
        let fan = harness.fan("o00000").await;
        (fan.qr_scene, fan.qr_scene_str)
    };
    let text = |text: &str| Some(text.to_owned());
    let mut at = START;
    for (what, pushed, (number, words), after_push, after_details) in [
        ("a number", Some("12"), (12, ""), (Some(12), None), (Some(12), None)),
        ("then a text", Some("shelf"), (0, "shelf"), (None, text("shelf")), (None, text("shelf"))),
        ("then a number", Some("12"), (12, ""), (Some(12), None), (Some(12), None)),
        ("then a search", None, (0, ""), (None, None), (None, None)),
        ("digits that are a text", Some("123"), (0, "123"), (Some(123), None), (None, text("123"))),
        ("digits after zeros", Some("00123"), (0, "00123"), (None, text("00123")), (None, text("00123"))),
        (
            "a telephone number",
            Some("+8613800000000"),
            (0, "+8613800000000"),
            (None, text("+8613800000000")),
            (None, text("+8613800000000")),
        ),
        ("a negative number", Some("-5"), (0, "-5"), (None, text("-5")), (None, text("-5"))),
        ("what only WeChat knows", None, (7, ""), (None, None), (Some(7), None)),
        ("what WeChat forgot", Some("12"), (0, ""), (Some(12), None), (None, None)),
    ] {
        at += 100;
        harness.clock.advance(100);
        let leave = FanActivity::Unfollowed;
        harness.app.store.fans().record_activity(fan_id("o00000"), &leave, at - 50, "E2").await.unwrap();
        let follow = FanActivity::Followed { scene: pushed.map(str::to_owned) };
        harness.app.store.fans().record_activity(fan_id("o00000"), &follow, at, "E3").await.unwrap();
        assert_eq!(fan_of().await, after_push, "{what}: after the push");
        *harness.wechat.scene.lock().unwrap() = (number, words.to_owned());
        UnreliableQueue::with_new_fan(&harness, 0, fan_job("o00000", at)).drain(no_op).await;
        assert_eq!(fan_of().await, after_details, "{what}: after user/info");
    }
    for (number, words) in [(12, ""), (0, "shelf"), (12, ""), (0, "")] {
        harness.clock.advance(100);
        *harness.wechat.scene.lock().unwrap() = (number, words.to_owned());
        let (id, first) = harness.start().await;
        UnreliableQueue::new(&harness, 1, 0, first).drain(no_op).await;
        harness.completed_import(&id).await;
        let expected = (Some(number).filter(|n| *n != 0), text(words).filter(|t| !t.is_empty()));
        assert_eq!(fan_of().await, expected, "after an import");
    }
}

/// A new follower may not be listed yet, and whoever writes is a follower, whatever a list says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_missing_on_the_list_is_gone_unless_they_followed_just_now_or_write() {
    let harness = ImportHarness::new(1, &open_ids(1)).await;
    for (open_id, before) in [("long", 601), ("lately", 600), ("now", 2)] {
        follow(&harness, open_id, START - before).await;
    }
    follow(&harness, "quits", START - 5_000).await;
    harness
        .app
        .store
        .fans()
        .record_activity(fan_id("quits"), &FanActivity::Unfollowed, START - 4_000, "E4")
        .await
        .unwrap();
    let (id, first) = harness.start().await;
    UnreliableQueue::new(&harness, 1, 0, first).drain(no_op).await;
    harness.completed_import(&id).await;
    for (open_id, follows) in [("long", false), ("lately", true), ("now", true), ("quits", false)] {
        assert_eq!(harness.fan(open_id).await.subscribed, follows, "{open_id}");
        let events = if open_id == "long" { vec!["unsubscribed"] } else { vec![] };
        assert_eq!(harness.events(open_id).await, events, "{open_id}");
    }
    let now = harness.clock.unix() + 10;
    for (open_id, touch, follows) in [
        ("long", FanActivity::Message, true),
        ("quits", FanActivity::Message, false), // they said so themselves
        ("quits", FanActivity::Menu, false),
    ] {
        harness.app.store.fans().record_activity(fan_id(open_id), &touch, now, "E5").await.unwrap();
        assert_eq!(harness.fan(open_id).await.subscribed, follows, "{open_id} after {touch:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_cannot_go_on_says_what_to_do() {
    for (what, errcode, step) in [
        ("an account that is not verified", 48001, "verified"),
        ("an account that withdrew", 61003, "bind it again"),
        ("a permission that was not granted", 61007, "User Management"),
        ("an account that WeChat restricts", 50002, "restricted"),
    ] {
        let harness = ImportHarness::new(1, &open_ids(10)).await;
        harness.wechat.faults.lock().unwrap().list = Some(errcode);
        let (id, first) = harness.start().await;
        UnreliableQueue::new(&harness, 1, 0, first).drain(no_op).await;
        let import = harness.import(&id).await;
        assert_eq!(import.status, ImportStatus::Failed, "{what}");
        let error = import.error.unwrap();
        assert!(error.contains(step) && error.contains(&errcode.to_string()), "{what}: {error}");
        assert!(harness.app.store.imports().running(APP).await.unwrap().is_none(), "{what}");
    }
}

/// A job that met "not authorized" used to end the import that a simultaneous consent relied on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_does_not_end_for_what_was_before_a_consent() {
    let harness = ImportHarness::new(1, &open_ids(10)).await;
    harness.wechat.faults.lock().unwrap().list = Some(61003);
    let (id, first) = harness.start().await;
    let queue = UnreliableQueue::new(&harness, 1, 0, first.clone());
    harness.bind(harness.clock.unix()).await;
    let budget = Budget::of(Duration::from_secs(60));
    let delivery = JobDelivery { message_id: "m", receive_count: 1, budget, until: Deadline::NEVER };
    let outcome = run_job(&harness.app, &first, delivery, &queue).await;
    assert!(matches!(outcome, ImportJobOutcome::Retry(..)), "{outcome:?}");
    assert_eq!(harness.import(&id).await.status, ImportStatus::Running);
    harness.clock.advance(2);
    let outcome = run_job(&harness.app, &first, delivery, &queue).await;
    assert_eq!(outcome, ImportJobOutcome::Done);
    assert_eq!(harness.import(&id).await.status, ImportStatus::Failed, "it is refused since");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_can_resume_before_the_pause_is_over() {
    let harness = ImportHarness::new(1, &open_ids(300)).await;
    harness.wechat.faults.lock().unwrap().quota = Some((1, i64::MAX));
    let (id, first) = harness.start().await;
    let queue = UnreliableQueue::new(&harness, 1, 0, first);
    while harness.import(&id).await.status != ImportStatus::Paused {
        assert!(queue.step().await);
    }
    harness.wechat.faults.lock().unwrap().quota = None;
    let by_hand = harness.clock.unix();
    assert!(harness.app.store.imports().resume(APP, &id, ResumedBy::Api).await.unwrap());
    queue.push(ImportJob::ResumeV1 { import: import_ref(&id) }, 0);
    queue.drain(no_op).await;
    let import = harness.completed_import(&id).await;
    assert_eq!(import.followers_imported(), 300);
    assert!(import.finished_at.unwrap() < by_hand + 300, "it waited for its pause to end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_import_updates_and_a_union_id_makes_another_customer() {
    let harness = ImportHarness::new(1, &open_ids(3)).await;
    let (_, first) = harness.start().await;
    UnreliableQueue::new(&harness, 1, 0, first).drain(no_op).await;
    let own = harness.fan("o00001").await.customer_id;
    harness.wechat.unions.lock().unwrap().insert("o00001".into(), "u1".into());
    harness.wechat.fans.lock().unwrap().insert("o00002".into(), false);
    harness.clock.advance(100);
    let (id, first) = harness.start().await;
    UnreliableQueue::new(&harness, 2, 30, first).drain(no_op).await;
    harness.completed_import(&id).await;
    let customer = unionid_customer_id(TENANT, "u1");
    assert_eq!(harness.fan("o00001").await.customer_id, customer);
    assert_eq!(harness.app.store.customers().get(TENANT, &own).await.unwrap().unwrap().id, customer);
    assert!(!harness.fan("o00002").await.subscribed);
    assert_eq!(harness.events("o00002").await, ["unsubscribed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_just_followed_gets_details_and_keeps_the_pushs_status() {
    let harness = ImportHarness::new(1, &open_ids(1)).await;
    harness.wechat.unions.lock().unwrap().insert("o00000".into(), "u1".into());
    for open_id in ["o00000", "gone"] {
        follow(&harness, open_id, START).await;
        UnreliableQueue::with_new_fan(&harness, 30, fan_job(open_id, START)).drain(no_op).await;
    }
    let fan = harness.fan("o00000").await;
    assert!(fan.subscribed && fan.tag_ids == [2] && fan.union_id.as_deref() == Some("u1"));
    assert_eq!(fan.subscribed_at, Some(START));
    assert!(harness.fan("gone").await.subscribed, "an answer of before the follow overturned it");
}

fn requeue_job(id: &str) -> ImportJob {
    ImportJob::TakeUpV1 { import: import_ref(id) }
}

/// Whichever job is lost, requeueing an import finds the jobs that it still needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_lost_a_job_is_taken_up_where_it_stands() {
    for (what, lost, after, status) in [
        ("the first page", "page_v1", 0, ImportStatus::Running),
        ("a later page", "page_v1", 1, ImportStatus::Running),
        ("a hundred", "chunk_v1", 2, ImportStatus::Running),
        ("every hundred", "chunk_v1", 0, ImportStatus::Running),
        ("a shard", "reconcile_v1", 3, ImportStatus::Running),
        ("every shard", "reconcile_v1", 0, ImportStatus::Running),
        ("the resumption", "resume_v1", 0, ImportStatus::Paused),
        ("what a resumption queues", "fan_out_v1", 0, ImportStatus::Running),
    ] {
        let harness = ImportHarness::new(1, &open_ids(600)).await;
        follow(&harness, "lost", START - 5_000).await;
        if ["resume_v1", "fan_out_v1"].contains(&lost) {
            harness.wechat.faults.lock().unwrap().quota = Some((3, START + 60));
        }
        let (id, first) = harness.start().await;
        let queue = UnreliableQueue::new(&harness, 1, 0, requeue_job(&id)); // too early: it changes nothing
        *queue.lost_jobs.lock().unwrap() = Some((lost, after));
        queue.push(first, 0);
        queue.drain(no_op).await;
        assert_eq!(harness.import(&id).await.status, status, "{what}");
        *queue.lost_jobs.lock().unwrap() = None;
        harness.clock.advance(4_000);
        queue.push(requeue_job(&id), 0);
        queue.push(requeue_job(&id), 1);
        queue.drain(no_op).await;
        let import = harness.completed_import(&id).await;
        assert_eq!((import.followers_listed, import.followers_imported()), (600, 600), "{what}");
        assert!(!harness.fan("lost").await.subscribed, "{what}");
        assert_eq!(harness.events("lost").await, ["unsubscribed"], "{what}");
        assert!(queue.delivered.lock().unwrap()["page_v1"] <= 5, "{what}: two chains of pages");
    }
}

/// Slow jobs meet requeued copies of themselves: only one chain continues.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_up_an_import_that_is_merely_slow_is_harmless() {
    for seed in 0..3 {
        let harness = ImportHarness::new(seed, &open_ids(1_000)).await;
        follow(&harness, "lost", START - 5_000).await;
        let (id, first) = harness.start().await;
        let queue = UnreliableQueue::new(&harness, seed, 10, first);
        queue
            .drain(async |step| {
                if step % 4 == 3 && step < 60 {
                    harness.clock.advance(2_000);
                    queue.push(requeue_job(&id), 0);
                }
            })
            .await;
        let import = harness.completed_import(&id).await;
        assert_eq!((import.followers_listed, import.followers_imported()), (1_000, 1_000), "seed {seed}");
        assert_eq!(harness.events("lost").await, ["unsubscribed"], "seed {seed}");
    }
}

/// A tenant with a large and a small account: each job reads a bounded number of entries, of any account, and
/// runs for a bounded time; the next job continues from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconciling_goes_on_from_job_to_job_however_large_the_tenant_is() {
    let (large, gone) = (8_000, 3_000);
    let harness = ImportHarness::new(1, &open_ids(150)).await;
    for (app_id, name, count) in [("wxlarge", "l", large), (APP, "g", gone)] {
        let infos: Vec<_> = (0..count)
            .map(|n| UserInfo { openid: format!("{name}{n:05}"), subscribe: Some(1), ..UserInfo::default() })
            .collect();
        let details: Vec<_> =
            infos.iter().map(|info| FanDetails { info, as_of: START - 5_000, import_id: None }).collect();
        for some in details.chunks(1_000) {
            harness.app.store.fans().insert(TENANT, app_id, some).await.unwrap();
        }
    }
    harness.clock.advance(10);
    let (id, first) = harness.start().await;
    let mut queue = UnreliableQueue::new(&harness, 1, 0, first);
    // an index page has 400 entries, a shard some 700; of 190 who are gone there, a hundred are marked at a time
    queue.budget = Budget { entries: 400, time: Duration::ZERO };
    queue.drain(no_op).await;
    assert_eq!(harness.completed_import(&id).await.followers_imported(), 150);
    let jobs = queue.delivered.lock().unwrap()["reconcile_v1"];
    assert!((32..=64).contains(&jobs), "{jobs} jobs for 16 shards");
    for n in (0..gone).step_by(100) {
        let open_id = format!("g{n:05}");
        assert!(!harness.fan(&open_id).await.subscribed, "{open_id}");
        assert_eq!(harness.events(&open_id).await, ["unsubscribed"], "{open_id}");
    }
    for shard in 0..CUSTOMER_SHARDS {
        let page = harness.app.store.customers().in_shard(TENANT, shard, None).await.unwrap();
        let large = page.customers.values().flatten().filter(|(app_id, _)| app_id == "wxlarge");
        let open_ids: Vec<_> = large.map(|(_, open_id)| open_id.as_str()).take(20).collect();
        let fans = harness.app.store.fans().get_many(TENANT, "wxlarge", &open_ids).await.unwrap();
        assert!(fans.len() == 20 && fans.iter().all(|fan| fan.subscribed), "shard {shard}");
    }
}

/// A fault of the platform ends no import: it continues after the operator or the next ticket corrected it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_waits_for_the_platform_as_long_as_it_takes() {
    for (what, errcode, says) in [
        ("an address that is not listed", 40164, "IP list"),
        ("the same for the component", 61004, "IP list"),
        ("a wrong secret", 40125, "secret"),
        ("a stale ticket", 61006, "ticket"),
        ("WeChat is busy for long", -1, "failed 8 times"),
    ] {
        let harness = ImportHarness::new(1, &open_ids(10)).await;
        harness.wechat.faults.lock().unwrap().list = Some(errcode);
        let (id, first) = harness.start().await;
        let queue = UnreliableQueue::new(&harness, 1, 0, first);
        let mut said = false;
        for _ in 0..500 {
            assert!(queue.step().await, "{what}: nothing is left to do");
            let import = harness.import(&id).await;
            said |= import.error.is_some_and(|error| error.contains(says));
            assert!(matches!(import.status, ImportStatus::Running | ImportStatus::Paused), "{what}");
        }
        assert!(
            said && harness.clock.unix() > START + 3 * 3_600,
            "{what}: it waits {} s",
            harness.clock.unix() - START
        );
        harness.wechat.faults.lock().unwrap().list = None;
        queue.drain(no_op).await;
        assert_eq!(harness.completed_import(&id).await.followers_imported(), 10, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_followers_who_come_together_are_asked_for_together() {
    let harness = ImportHarness::new(1, &open_ids(5)).await;
    let jobs: Vec<_> = ["o00000", "o00001", "o00001", "o00002", "nobody"]
        .iter()
        .zip(START..)
        .map(|(open_id, at)| (fan_job(open_id, at), at))
        .collect();
    for (job, at) in &jobs {
        let FollowerJob::FanV1 { open_id, .. } = job;
        follow(&harness, open_id, *at).await;
    }
    let delivery = JobDelivery {
        message_id: "m",
        receive_count: 1,
        budget: Budget::of(Duration::from_secs(60)),
        until: Deadline::NEVER,
    };
    let queue = UnreliableQueue::with_new_fan(&harness, 0, fan_job("o00003", START));
    let batch: Vec<_> = jobs.into_iter().map(|(job, _)| (job, delivery)).collect();
    let outcomes = new_fans::run_batch(&harness.app, &batch, &queue).await;
    assert!(
        outcomes.len() == 5 && outcomes.iter().all(|outcome| *outcome == ImportJobOutcome::Done),
        "{outcomes:?}"
    );
    assert_eq!(*harness.wechat.calls.lock().unwrap(), ["user/info/batchget"]);
    for (open_id, at) in [("o00000", START), ("o00001", START + 2), ("o00002", START + 3)] {
        let fan = harness.fan(open_id).await;
        assert_eq!((fan.remark.as_deref(), fan.subscribed_at), (Some("known"), Some(at)), "{open_id}");
    }
    assert!(harness.fan("nobody").await.subscribed, "the push's word stands");
}

/// A push may come before the event of a new authorization, when the old tokens are worth nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_follower_of_an_account_that_is_authorized_again_gets_details() {
    let harness = ImportHarness::new(1, &open_ids(1)).await;
    harness.wechat.faults.lock().unwrap().details = Some(61003);
    follow(&harness, "o00000", START).await;
    let queue = UnreliableQueue::with_new_fan(&harness, 0, fan_job("o00000", START));
    for _ in 0..5 {
        assert!(queue.step().await, "nothing is left to do");
    }
    harness.wechat.faults.lock().unwrap().details = None;
    queue.drain(no_op).await;
    assert_eq!(harness.fan("o00000").await.remark.as_deref(), Some("known"));
    // once the account is unbound, nothing is asked for
    harness.wechat.faults.lock().unwrap().details = Some(61003);
    follow(&harness, "o00000", START + 1).await;
    let queue = UnreliableQueue::with_new_fan(&harness, 0, fan_job("o00000", START + 1));
    assert!(queue.step().await);
    let now = harness.clock.unix();
    assert!(harness.app.store.accounts().unbind(APP, now, now).await.unwrap());
    queue.drain(no_op).await;
}

/// A used-up daily quota costs one call, not one for each new follower, and no new follower is lost by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_followers_wait_for_the_quota_of_the_day() {
    let harness = ImportHarness::new(1, &open_ids(30)).await;
    let midnight = START + 17 * 3_600 + 2_000; // some hours ahead, whenever Beijing's day turns
    harness.wechat.faults.lock().unwrap().quota = Some((0, midnight));
    let queue = UnreliableQueue::with_new_fan(&harness, 0, fan_job("o00000", START));
    follow(&harness, "o00000", START).await;
    assert!(queue.step().await);
    for n in 1..30 {
        let open_id = format!("o{n:05}");
        follow(&harness, &open_id, START).await;
        queue.push_new_fan(fan_job(&open_id, START));
    }
    queue.drain(no_op).await;
    let calls = harness.wechat.calls.lock().unwrap().len();
    assert!(calls < 30 + 60, "{calls} calls for 30 followers");
    for open_id in open_ids(30) {
        assert_eq!(harness.fan(&open_id).await.remark.as_deref(), Some("known"), "{open_id}");
    }
    // a follow that is days old is left to the import
    harness.wechat.faults.lock().unwrap().quota = Some((0, i64::MAX));
    follow(&harness, "o00000", START + 1).await;
    UnreliableQueue::with_new_fan(&harness, 0, fan_job("o00000", START + 1)).drain(no_op).await;
    assert!(harness.clock.unix() < START + 5 * 86_400, "it has an end");
}
