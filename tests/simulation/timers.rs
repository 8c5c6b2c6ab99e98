//! Timers fire when they are due, whatever happens to the tick that hands them over.

use jiff::Timestamp;
use oahub_harness::{deployment::SimulatedDeployment, dynamo, faults::Fault};
use serde_json::{Value, json};
use shared::{
    ids,
    model::timer::StoredTimer,
    queue::jobs::{ImportJob, ImportRef, SendJob},
    timers::{self, MAX_PAGES_QUICK_SWEEP, TIMERS_PER_PAGE, TIMERS_PER_TURN, TimerJob},
};

use crate::on_paused_time;

const HOUR_SECONDS: i64 = 3600;

async fn new_deployment() -> std::sync::Arc<SimulatedDeployment> {
    let world = SimulatedDeployment::new(1);
    world.create_tables().await;
    world.mark_ticked();
    world
}

fn timestamp(unix: i64) -> Timestamp {
    Timestamp::from_second(unix).unwrap()
}

fn resume_job(import: &str) -> ImportJob {
    let (app_id, tenant_id) = ("wx1".into(), "ten_1".into());
    ImportJob::ResumeV1 { import: ImportRef { import_id: import.into(), app_id, tenant_id } }
}

/// A message to `o1`, whose FIFO group is [`FAN_GROUP`].
fn message_job(id: &str) -> SendJob {
    message_job_to("o1", id)
}

const FAN_GROUP: &str = "wx1#o1";

/// Another group in the shard of [`FAN_GROUP`] that is sorted after it when both are due at the same time.
fn later_group_in_shard() -> String {
    let mark = |line: &str| (ids::shard(line, 16), ids::fingerprint(&[line]));
    let (shard, first) = mark(FAN_GROUP);
    let lines = (2..).map(|n| format!("wx1#o{n}"));
    lines.into_iter().find(|line| mark(line).0 == shard && mark(line).1 > first).unwrap()
}

fn message_job_to(to: &str, id: &str) -> SendJob {
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

async fn sleep_seconds(seconds: i64) {
    tokio::time::sleep(std::time::Duration::from_secs(seconds.unsigned_abs())).await;
}

/// Receives and deletes everything that a queue has, in order.
async fn drain_queue(world: &SimulatedDeployment, queue: &str) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let url = local_sqs::Sqs::queue_url(queue);
        let call = async |action: &str, body: Value| -> Value {
            let (sqs, target) = (&world.backends.sqs, format!("AmazonSQS.{action}"));
            let (_, _, answer) = local_sqs::protocol::handle(sqs, &target, body.to_string().as_bytes()).await;
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
        ("the hand-over is lost", &[("resume_v1", Fault::Lost)], true),
        ("its answer is lost", &[("resume_v1", Fault::Unanswered)], false),
        ("the tick dies at it", &[("resume_v1", Fault::Crash)], false),
        ("the deletion is lost", &[("DeleteRequest", Fault::Lost)], false),
        ("its answer is lost too", &[("DeleteRequest", Fault::Unanswered)], true),
        ("the tick dies at it too", &[("DeleteRequest", Fault::Crash)], false),
        ("nobody gets the shard", &[("lease_owner", Fault::Lost)], true),
        ("the tick dies with the shard", &[("lease_owner", Fault::Crash)], true),
    ] {
        on_paused_time(async {
            let world = new_deployment().await;
            let due = timestamp(world.now() + HOUR_SECONDS);
            for _ in 0..2 {
                timers::set(&world.services(), "imp_1", due, TimerJob::Import(&resume_job("imp_1")))
                    .await
                    .unwrap();
            }
            sleep_seconds(HOUR_SECONDS - 60).await;
            world.tick().await;
            assert!(drain_queue(&world, "ImportQueue").await.is_empty(), "{what}: too early");
            sleep_seconds(61).await;
            for (text, fate) in strikes {
                world.backends.faults.inject_next(text, *fate);
            }
            let mut came = Vec::new();
            for _ in 0..3 {
                world.tick().await;
                came.extend(drain_queue(&world, "ImportQueue").await);
                sleep_seconds(60).await;
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
        let world = new_deployment().await;
        let (app, due) = (world.services(), timestamp(world.now() + HOUR_SECONDS));
        // one fan's messages, more than a page of them, set in reverse order
        for n in (0..250).rev() {
            let id = format!("msg_{n:03}");
            timers::set(&app, &id, due, TimerJob::Send(&message_job(&id))).await.unwrap();
        }
        sleep_seconds(5 * HOUR_SECONDS).await; // no tick for four hours
        futures::join!(world.tick(), world.tick());
        world.tick().await;
        let sweeps = drain_queue(&world, "RefreshQueue").await;
        assert!(
            sweeps.iter().any(|job| job["type"] == "timers_v1"),
            "nobody is to sweep the rest: {sweeps:?}"
        );
        world.tick().await;
        let came: Vec<_> = drain_queue(&world, "SendQueue.fifo").await;
        let came: Vec<_> = came.iter().map(|job| job["message_id"].as_str().unwrap()).collect();
        let all: Vec<_> = (0..250).map(|n| format!("msg_{n:03}")).collect();
        assert_eq!(came, all);
    });
}

/// Timers in the shard of [`FAN_GROUP`], all due at `due`, in the order of their ids.
async fn put_timers(
    world: &SimulatedDeployment,
    due: i64,
    ids: impl IntoIterator<Item = String>,
    queue: &str,
) {
    for id in ids {
        let body = serde_json::to_string(&resume_job(&id)).unwrap();
        let timer = StoredTimer { queue: queue.into(), body, group: "ten_1".into(), once: String::new() };
        world
            .services()
            .store
            .timers()
            .create(&later_group_in_shard(), due * 1000, &id, &timer)
            .await
            .unwrap();
    }
}

/// The keys of all stored timers.
fn stored_timers(world: &SimulatedDeployment) -> Vec<(String, String)> {
    let keys = dynamo::scan(&world.backends.db, "WorkTable").into_keys();
    keys.filter(|(pk, sk)| pk.starts_with("TIMER#") && sk != "SWEEP").collect()
}

/// Invokes the function with one job.
async fn run_refresh_job(world: &SimulatedDeployment, job: &Value) {
    let record = json!({"messageId": "m", "receiptHandle": "r", "body": job.to_string(), "attributes": {}});
    let (answer, _) = world.invoke("TokenRefresh", json!({"Records": [record]})).await.expect("an answer");
    assert_eq!(answer["batchItemFailures"], json!([]));
}

#[test]
fn a_timer_that_cannot_be_handed_over_keeps_none_behind_it_waiting_and_is_not_lost() {
    let (page, passed) = (TIMERS_PER_PAGE.unsigned_abs() as usize, MAX_PAGES_QUICK_SWEEP);
    for (what, queue, readable, count, sweeps) in [
        ("a page and more for a queue of a later release", "later", true, page + 20, 0),
        ("a page and more that cannot be read", "import", false, page + 20, 0),
        ("more than the tick passes", "later", true, page * passed + 20, 1),
        ("more than the tick passes that cannot be read", "import", false, page * passed + 20, 1),
    ] {
        on_paused_time(async {
            let world = new_deployment().await;
            world.backends.faults.disable_latency();
            let due = world.now() + HOUR_SECONDS;
            put_timers(&world, due, (0..count).map(|n| format!("a{n:05}")), queue).await;
            let stuck = stored_timers(&world);
            assert_eq!(stuck.len(), count);
            if !readable {
                for (pk, sk) in &stuck {
                    let item = json!({"pk": {"S": pk}, "sk": {"S": sk}, "queues": {"L": []}});
                    dynamo::call_ok(
                        &world.backends.db,
                        "PutItem",
                        &json!({"TableName": "WorkTable", "Item": item}),
                    );
                }
            }
            put_timers(&world, due, ["b".to_owned()], "import").await;
            sleep_seconds(HOUR_SECONDS + 1).await;
            world.tick().await;
            let jobs: Vec<_> = drain_queue(&world, "RefreshQueue").await;
            let jobs: Vec<_> = jobs.iter().filter(|job| job["type"] == "timers_v1").collect();
            assert_eq!(jobs.len(), sweeps, "{what}: {jobs:?}");
            for job in jobs {
                run_refresh_job(&world, job).await;
            }
            let came: Vec<_> = drain_queue(&world, "ImportQueue").await;
            let came: Vec<_> = came.iter().map(|job| job["import_id"].as_str().unwrap()).collect();
            assert_eq!(came, ["b"], "{what}");
            assert_eq!(stored_timers(&world), stuck, "{what}: they stay for the release that knows them");
        });
    }
}

#[test]
fn a_queue_that_takes_nothing_keeps_no_other_waiting_and_its_order_is_kept() {
    on_paused_time(async {
        let world = new_deployment().await;
        let (app, due) = (world.services(), timestamp(world.now() + HOUR_SECONDS));
        for n in 0..150 {
            let id = format!("msg_{n:03}");
            timers::set(&app, &id, due, TimerJob::Send(&message_job(&id))).await.unwrap();
        }
        put_timers(&world, world.now() + HOUR_SECONDS, ["~".to_owned()], "import").await;
        sleep_seconds(HOUR_SECONDS + 1).await;
        world.backends.faults.inject_next("msg_000", Fault::Lost);
        world.tick().await;
        let came: Vec<_> = drain_queue(&world, "ImportQueue").await;
        assert_eq!(came.len(), 1, "it waits for another queue's: {came:?}");
        assert!(drain_queue(&world, "SendQueue.fifo").await.is_empty(), "a later one went before the first");
        let mut came: Vec<String> = Vec::new();
        for _ in 0..3 {
            world.tick().await;
            let jobs = drain_queue(&world, "SendQueue.fifo").await;
            came.extend(jobs.iter().map(|job| job["message_id"].as_str().unwrap().to_owned()));
        }
        assert_eq!(came, (0..150).map(|n| format!("msg_{n:03}")).collect::<Vec<_>>());
    });
}

#[test]
fn a_long_line_keeps_no_other_waiting_and_what_went_is_gone_where_a_sweep_dies() {
    on_paused_time(async {
        let world = new_deployment().await;
        world.backends.faults.disable_latency();
        let (app, due) = (world.services(), world.now() + HOUR_SECONDS);
        let all: Vec<_> = (0..TIMERS_PER_PAGE * 12).map(|n| format!("msg_{n:04}")).collect();
        for id in &all {
            timers::set(&app, id, timestamp(due), TimerJob::Send(&message_job(id))).await.unwrap();
        }
        let beside = later_group_in_shard();
        let other = message_job_to(beside.split_once('#').unwrap().1, "other");
        timers::set(&app, "other", timestamp(due + 1), TimerJob::Send(&other)).await.unwrap();
        sleep_seconds(HOUR_SECONDS + 2).await;
        world.backends.faults.inject_next("msg_0050", Fault::Crash);
        world.tick().await;
        assert!(world.backends.faults.was_injected(), "the tick came not so far");
        let ids = |jobs: Vec<Value>| -> Vec<String> {
            jobs.iter().map(|job| job["message_id"].as_str().unwrap().to_owned()).collect()
        };
        let mut came = ids(drain_queue(&world, "SendQueue.fifo").await);
        assert_eq!(
            came.iter().position(|id| id == "other"),
            Some(TIMERS_PER_TURN),
            "behind the line's first turn: {came:?}"
        );
        // the request before the one in which it died was not yet deleted
        let left = stored_timers(&world).len();
        assert!((all.len() - 50..=all.len() - 49).contains(&left), "what went is there still: {left}");
        let mut sweeps = 0;
        while !stored_timers(&world).is_empty() {
            sweeps += 1;
            assert!(sweeps < 5, "it takes for ever");
            sleep_seconds(60).await;
            world.tick().await;
            for job in drain_queue(&world, "RefreshQueue").await {
                if job["type"] == "timers_v1" {
                    run_refresh_job(&world, &job).await;
                }
            }
            came.extend(ids(drain_queue(&world, "SendQueue.fifo").await));
        }
        came.retain(|id| id != "other");
        assert_eq!(came, all);
    });
}

#[test]
fn a_message_that_no_queue_takes_is_passed_and_stays() {
    let good = serde_json::to_string(&message_job("msg_0")).unwrap();
    for (what, group, body) in [
        ("of a group that is none", "no group", good.clone()),
        ("whose text is none", FAN_GROUP, format!("{good}\u{ffff}")),
    ] {
        on_paused_time(async {
            let world = new_deployment().await;
            let (app, due) = (world.services(), world.now() + HOUR_SECONDS);
            let odd = StoredTimer {
                queue: "send".into(),
                body: body.clone(),
                group: group.into(),
                once: "1".into(),
            };
            app.store.timers().create(FAN_GROUP, due * 1000, "a", &odd).await.unwrap();
            let stuck = stored_timers(&world);
            for id in ["msg_1", "msg_2"] {
                timers::set(&app, id, timestamp(due), TimerJob::Send(&message_job(id))).await.unwrap();
            }
            put_timers(&world, due, ["b".to_owned()], "import").await;
            sleep_seconds(HOUR_SECONDS + 1).await;
            world.tick().await;
            let came = drain_queue(&world, "SendQueue.fifo").await;
            let came: Vec<_> = came.iter().map(|job| job["message_id"].as_str().unwrap()).collect();
            assert_eq!(came, ["msg_1", "msg_2"], "{what}");
            assert_eq!(drain_queue(&world, "ImportQueue").await.len(), 1, "{what}");
            world.tick().await;
            assert_eq!(stored_timers(&world), stuck, "{what}");
        });
    }
}

#[test]
fn a_short_wait_of_a_standard_queue_is_its_own_to_the_second() {
    on_paused_time(async {
        let world = new_deployment().await;
        timers::set(
            &world.services(),
            "imp_1",
            timestamp(world.now() + 900),
            TimerJob::Import(&resume_job("imp_1")),
        )
        .await
        .unwrap();
        sleep_seconds(899).await;
        assert!(drain_queue(&world, "ImportQueue").await.is_empty());
        sleep_seconds(2).await;
        assert_eq!(drain_queue(&world, "ImportQueue").await.len(), 1, "it takes no tick");
    });
}
