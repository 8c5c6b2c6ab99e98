//! Timers fire when they are due, whatever happens to the tick that hands them over.

use jiff::Timestamp;
use serde_json::{Value, json};
use shared::{
    ids,
    queue::jobs::{ImportJob, SendJob},
    store::timers::StoredTimer,
    timers::{self, Job, PAGE, PASSED, TURN},
};

use crate::{
    on_paused_time,
    world::{World, chaos::Fate, dynamo},
};

const HOUR: i64 = 3600;

async fn world() -> std::sync::Arc<World> {
    let world = World::new(1);
    world.create_tables().await;
    world.has_ticked();
    world
}

fn at(unix: i64) -> Timestamp {
    Timestamp::from_second(unix).unwrap()
}

fn resume(import: &str) -> ImportJob {
    ImportJob::ResumeV1 { import_id: import.into(), app_id: "wx1".into(), tenant_id: "ten_1".into() }
}

/// A message to `o1`, whose FIFO group is [`FAN_GROUP`].
fn message(id: &str) -> SendJob {
    message_to("o1", id)
}

const LINE: &str = "wx1#o1";

/// Another group in the shard of [`FAN_GROUP`] that is sorted after it when both are due at the same time.
fn beside() -> String {
    let mark = |line: &str| (ids::shard(line, 16), ids::fingerprint(&[line]));
    let (shard, first) = mark(LINE);
    let lines = (2..).map(|n| format!("wx1#o{n}"));
    lines.into_iter().find(|line| mark(line).0 == shard && mark(line).1 > first).unwrap()
}

fn message_to(to: &str, id: &str) -> SendJob {
    SendJob::MessageV1 {
        message_id: id.into(),
        tenant_id: "ten_1".into(),
        app_id: "wx1".into(),
        to: to.into(),
        content: None,
        template: None,
        created_at: 0,
    }
}

async fn seconds(seconds: i64) {
    tokio::time::sleep(std::time::Duration::from_secs(seconds.unsigned_abs())).await;
}

/// Receives and deletes everything that a queue has, in order.
async fn received(world: &World, queue: &str) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let url = local::sqs::Sqs::queue_url(queue);
        let call = async |action: &str, body: Value| -> Value {
            let (sqs, target) = (&world.base.sqs, format!("AmazonSQS.{action}"));
            let (_, _, answer) =
                local::sqs::protocol::handle(sqs, &target, body.to_string().as_bytes()).await;
            serde_json::from_slice(&answer).unwrap()
        };
        let got =
            call("ReceiveMessage", json!({"QueueUrl": url, "WaitTimeSeconds": 0, "MaxNumberOfMessages": 10}))
                .await;
        let Some(messages) = got["Messages"].as_array().filter(|m| !m.is_empty()).cloned() else {
            return all;
        };
        for message in messages {
            let done = json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]});
            call("DeleteMessage", done).await;
            all.push(serde_json::from_str(message["Body"].as_str().unwrap()).unwrap());
        }
    }
}

#[test]
fn a_timer_is_handed_over_at_its_minute_however_often_the_tick_dies() {
    for (what, strikes, once) in [
        ("nothing goes wrong", &[][..], true),
        ("the hand-over is lost", &[("resume_v1", Fate::Lost)], true),
        ("its answer is lost", &[("resume_v1", Fate::Unanswered)], false),
        ("the tick dies at it", &[("resume_v1", Fate::Crash)], false),
        ("the deletion is lost", &[("DeleteRequest", Fate::Lost)], false),
        ("its answer is lost too", &[("DeleteRequest", Fate::Unanswered)], true),
        ("the tick dies at it too", &[("DeleteRequest", Fate::Crash)], false),
        ("nobody gets the shard", &[("lease_owner", Fate::Lost)], true),
        ("the tick dies with the shard", &[("lease_owner", Fate::Crash)], true),
    ] {
        on_paused_time(async {
            let world = world().await;
            let due = at(world.now() + HOUR);
            for _ in 0..2 {
                timers::set(&world.app(), "imp_1", due, Job::Import(&resume("imp_1"))).await.unwrap();
            }
            seconds(HOUR - 60).await;
            world.tick().await;
            assert!(received(&world, "ImportQueue").await.is_empty(), "{what}: too early");
            seconds(61).await;
            for (text, fate) in strikes {
                world.base.chaos.strike(text, *fate);
            }
            let mut came = Vec::new();
            for _ in 0..3 {
                world.tick().await;
                came.extend(received(&world, "ImportQueue").await);
                seconds(60).await;
            }
            assert!(!came.is_empty(), "{what}: it never comes");
            assert!(came.iter().all(|job| job["import_id"] == "imp_1"), "{what}: {came:?}");
            assert!(if once { came.len() == 1 } else { came.len() <= 2 }, "{what}: {came:?}");
        });
    }
}

#[test]
fn two_ticks_at_once_and_a_late_one_hand_over_everything_in_order() {
    on_paused_time(async {
        let world = world().await;
        let (app, due) = (world.app(), at(world.now() + HOUR));
        // one fan's messages, more than a page of them, set in reverse order
        for n in (0..250).rev() {
            let id = format!("msg_{n:03}");
            timers::set(&app, &id, due, Job::Send(&message(&id))).await.unwrap();
        }
        seconds(5 * HOUR).await; // no tick for four hours
        futures::join!(world.tick(), world.tick());
        world.tick().await;
        let sweeps = received(&world, "RefreshQueue").await;
        assert!(
            sweeps.iter().any(|job| job["type"] == "timers_v1"),
            "nobody is to sweep the rest: {sweeps:?}"
        );
        world.tick().await;
        let came: Vec<_> = received(&world, "SendQueue.fifo").await;
        let came: Vec<_> = came.iter().map(|job| job["message_id"].as_str().unwrap()).collect();
        let all: Vec<_> = (0..250).map(|n| format!("msg_{n:03}")).collect();
        assert_eq!(came, all);
    });
}

/// Timers in the shard of [`FAN_GROUP`], all due at `due`, in the order of their ids.
async fn put(world: &World, due: i64, ids: impl IntoIterator<Item = String>, queue: &str) {
    for id in ids {
        let body = serde_json::to_string(&resume(&id)).unwrap();
        let timer = StoredTimer { queue: queue.into(), body, group: "ten_1".into(), once: String::new() };
        world.app().store.put_timer(&beside(), due * 1000, &id, &timer).await.unwrap();
    }
}

/// The keys of all stored timers.
fn waiting(world: &World) -> Vec<(String, String)> {
    let keys = dynamo::scan(&world.base.db, "WorkTable").into_keys();
    keys.filter(|(pk, sk)| pk.starts_with("TIMER#") && sk != "SWEEP").collect()
}

/// Invokes the function with one job.
async fn work(world: &World, job: &Value) {
    let record = json!({"messageId": "m", "receiptHandle": "r", "body": job.to_string(), "attributes": {}});
    let (answer, _) = world.invoke("TokenRefresh", json!({"Records": [record]})).await.expect("an answer");
    assert_eq!(answer["batchItemFailures"], json!([]));
}

#[test]
fn a_timer_that_cannot_be_handed_over_keeps_none_behind_it_waiting_and_is_not_lost() {
    let (page, passed) = (PAGE.unsigned_abs() as usize, PASSED);
    for (what, queue, readable, count, sweeps) in [
        ("a page and more for a queue of a later release", "later", true, page + 20, 0),
        ("a page and more that cannot be read", "import", false, page + 20, 0),
        ("more than the tick passes", "later", true, page * passed + 20, 1),
        ("more than the tick passes that cannot be read", "import", false, page * passed + 20, 1),
    ] {
        on_paused_time(async {
            let world = world().await;
            world.base.chaos.take_no_time();
            let due = world.now() + HOUR;
            put(&world, due, (0..count).map(|n| format!("a{n:05}")), queue).await;
            let stuck = waiting(&world);
            assert_eq!(stuck.len(), count);
            if !readable {
                for (pk, sk) in &stuck {
                    let item = json!({"pk": {"S": pk}, "sk": {"S": sk}, "queues": {"L": []}});
                    dynamo::raw(&world.base.db, "PutItem", &json!({"TableName": "WorkTable", "Item": item}));
                }
            }
            put(&world, due, ["b".to_owned()], "import").await;
            seconds(HOUR + 1).await;
            world.tick().await;
            let jobs: Vec<_> = received(&world, "RefreshQueue").await;
            let jobs: Vec<_> = jobs.iter().filter(|job| job["type"] == "timers_v1").collect();
            assert_eq!(jobs.len(), sweeps, "{what}: {jobs:?}");
            for job in jobs {
                work(&world, job).await;
            }
            let came: Vec<_> = received(&world, "ImportQueue").await;
            let came: Vec<_> = came.iter().map(|job| job["import_id"].as_str().unwrap()).collect();
            assert_eq!(came, ["b"], "{what}");
            assert_eq!(waiting(&world), stuck, "{what}: they stay for the release that knows them");
        });
    }
}

#[test]
fn a_queue_that_takes_nothing_keeps_no_other_waiting_and_its_order_is_kept() {
    on_paused_time(async {
        let world = world().await;
        let (app, due) = (world.app(), at(world.now() + HOUR));
        for n in 0..150 {
            let id = format!("msg_{n:03}");
            timers::set(&app, &id, due, Job::Send(&message(&id))).await.unwrap();
        }
        put(&world, world.now() + HOUR, ["~".to_owned()], "import").await;
        seconds(HOUR + 1).await;
        world.base.chaos.strike("msg_000", Fate::Lost);
        world.tick().await;
        let came: Vec<_> = received(&world, "ImportQueue").await;
        assert_eq!(came.len(), 1, "it waits for another queue's: {came:?}");
        assert!(received(&world, "SendQueue.fifo").await.is_empty(), "a later one went before the first");
        let mut came: Vec<String> = Vec::new();
        for _ in 0..3 {
            world.tick().await;
            let jobs = received(&world, "SendQueue.fifo").await;
            came.extend(jobs.iter().map(|job| job["message_id"].as_str().unwrap().to_owned()));
        }
        assert_eq!(came, (0..150).map(|n| format!("msg_{n:03}")).collect::<Vec<_>>());
    });
}

#[test]
fn a_long_line_keeps_no_other_waiting_and_what_went_is_gone_where_a_sweep_dies() {
    on_paused_time(async {
        let world = world().await;
        world.base.chaos.take_no_time();
        let (app, due) = (world.app(), world.now() + HOUR);
        let all: Vec<_> = (0..PAGE * 12).map(|n| format!("msg_{n:04}")).collect();
        for id in &all {
            timers::set(&app, id, at(due), Job::Send(&message(id))).await.unwrap();
        }
        let beside = beside();
        let other = message_to(beside.split_once('#').unwrap().1, "other");
        timers::set(&app, "other", at(due + 1), Job::Send(&other)).await.unwrap();
        seconds(HOUR + 2).await;
        world.base.chaos.strike("msg_0050", Fate::Crash);
        world.tick().await;
        assert!(world.base.chaos.has_struck(), "the tick came not so far");
        let ids = |jobs: Vec<Value>| -> Vec<String> {
            jobs.iter().map(|job| job["message_id"].as_str().unwrap().to_owned()).collect()
        };
        let mut came = ids(received(&world, "SendQueue.fifo").await);
        assert_eq!(
            came.iter().position(|id| id == "other"),
            Some(TURN),
            "behind the line's first turn: {came:?}"
        );
        // the request before the one in which it died was not yet deleted
        let left = waiting(&world).len();
        assert!((all.len() - 50..=all.len() - 49).contains(&left), "what went is there still: {left}");
        let mut sweeps = 0;
        while !waiting(&world).is_empty() {
            sweeps += 1;
            assert!(sweeps < 5, "it takes for ever");
            seconds(60).await;
            world.tick().await;
            for job in received(&world, "RefreshQueue").await {
                if job["type"] == "timers_v1" {
                    work(&world, &job).await;
                }
            }
            came.extend(ids(received(&world, "SendQueue.fifo").await));
        }
        came.retain(|id| id != "other");
        assert_eq!(came, all);
    });
}

#[test]
fn a_message_that_no_queue_takes_is_passed_and_stays() {
    let good = serde_json::to_string(&message("msg_0")).unwrap();
    for (what, group, body) in [
        ("of a group that is none", "no group", good.clone()),
        ("whose text is none", LINE, format!("{good}\u{ffff}")),
    ] {
        on_paused_time(async {
            let world = world().await;
            let (app, due) = (world.app(), world.now() + HOUR);
            let odd = StoredTimer {
                queue: "send".into(),
                body: body.clone(),
                group: group.into(),
                once: "1".into(),
            };
            app.store.put_timer(LINE, due * 1000, "a", &odd).await.unwrap();
            let stuck = waiting(&world);
            for id in ["msg_1", "msg_2"] {
                timers::set(&app, id, at(due), Job::Send(&message(id))).await.unwrap();
            }
            put(&world, due, ["b".to_owned()], "import").await;
            seconds(HOUR + 1).await;
            world.tick().await;
            let came = received(&world, "SendQueue.fifo").await;
            let came: Vec<_> = came.iter().map(|job| job["message_id"].as_str().unwrap()).collect();
            assert_eq!(came, ["msg_1", "msg_2"], "{what}");
            assert_eq!(received(&world, "ImportQueue").await.len(), 1, "{what}");
            world.tick().await;
            assert_eq!(waiting(&world), stuck, "{what}");
        });
    }
}

#[test]
fn a_short_wait_of_a_standard_queue_is_its_own_to_the_second() {
    on_paused_time(async {
        let world = world().await;
        timers::set(&world.app(), "imp_1", at(world.now() + 900), Job::Import(&resume("imp_1")))
            .await
            .unwrap();
        seconds(899).await;
        assert!(received(&world, "ImportQueue").await.is_empty());
        seconds(2).await;
        assert_eq!(received(&world, "ImportQueue").await.len(), 1, "it takes no tick");
    });
}
