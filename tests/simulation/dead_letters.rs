//! What the operator sees of dead letters, and moving them back.

use std::time::Duration;

use oahub_harness::{deployment::SimulatedDeployment, settings::ADMIN_KEY};
use serde_json::{Value, json};
use shared::{
    queue::{JobQueue, jobs::AuthorizationJob},
    secret::Secret,
};
use wechat_simulator::{FaultKind, InjectedFault};

use crate::{on_paused_time, regressions::run_with_bound_account};

/// A queue, and a job for it that has no effect.
pub fn harmless_jobs() -> [(&'static str, &'static str, Value); 6] {
    [
        (
            "authorization",
            "Authorization",
            json!({"type": "unauthorized_v1", "app_id": "wx0000000000000000", "at": 1}),
        ),
        ("refresh", "Refresh", json!({"type": "authorizers_v1", "app_ids": []})),
        (
            "import",
            "Import",
            json!({"type": "resume_v1", "import_id": "imp_0", "app_id": "wx0000000000000000", "tenant_id": "ten_0"}),
        ),
        (
            "follower",
            "Follower",
            json!({"type": "fan_v1", "app_id": "wx0000000000000000", "tenant_id": "ten_0", "open_id": "o0", "at": 1}),
        ),
        (
            "send",
            "Send",
            json!({
                "type": "template_result_v1", "tenant_id": "ten_0", "app_id": "wx0000000000000000",
                "wechat_msg_id": "1", "status": "success",
            }),
        ),
        (
            "result",
            "Result",
            json!({
                "type": "template_result_v1", "tenant_id": "ten_0", "app_id": "wx0000000000000000",
                "wechat_msg_id": "1", "status": "success",
            }),
        ),
    ]
}

/// Puts a job into the dead-letter queue of a queue.
pub async fn add_dead_letter(world: &SimulatedDeployment, queue: &str, job: &Value, number: usize) {
    let mut message =
        json!({"QueueUrl": world.queue_url(&format!("{queue}DeadLetters")), "MessageBody": job.to_string()});
    if queue == "Send" {
        message["MessageGroupId"] = format!("wx1#o{number}").into();
        message["MessageDeduplicationId"] = number.to_string().into();
    }
    world.sqs("SendMessage", message).await;
}

/// Puts a job of a later release into every queue, and lets the time pass until each was received too often.
pub async fn give_unknown_jobs_up(world: &SimulatedDeployment) {
    for (_, queue, _) in harmless_jobs() {
        let mut message = json!({"QueueUrl": world.queue_url(&format!("{queue}Queue")), "MessageBody": r#"{"type":"x_v9"}"#});
        if queue == "Send" {
            message["MessageGroupId"] = "wx1#o1".into();
            message["MessageDeduplicationId"] = "1".into();
        }
        world.sqs("SendMessage", message).await;
    }
    for _ in 0..700 {
        world.advance(61).await;
    }
}

#[test]
fn dead_letters_are_shown_without_their_contents_and_moved_back() {
    on_paused_time(async {
        let world = SimulatedDeployment::new(1);
        world.create_tables().await;
        let call = async |method: &str, path: &str| {
            let body = (method == "POST").then(|| json!({}));
            world.api(ADMIN_KEY, method, &format!("/v1/platform/queues{path}"), body, None).await.unwrap()
        };
        let depth = async |queue: &str| -> (u64, u64) {
            let all = call("GET", "").await.1;
            let one =
                all["data"].as_array().unwrap().iter().find(|one| one["name"] == queue).unwrap().clone();
            (one["waiting"].as_u64().unwrap(), one["dead_letters"].as_u64().unwrap())
        };
        for (name, queue, job) in harmless_jobs() {
            for number in 0..25 {
                add_dead_letter(&world, queue, &job, number).await;
            }
            world.advance(7).await;
            assert_eq!(depth(name).await, (0, 25), "{name}");
            let (status, shown) = call("GET", &format!("/{name}/dead-letters")).await;
            let shown = shown["data"].as_array().unwrap().clone();
            assert_eq!((status, shown.len()), (200, 25), "{name}");
            for letter in &shown {
                assert_eq!(letter["job"], job["type"], "{name}");
                assert!(letter["age_seconds"].as_i64().is_some_and(|age| (7..9).contains(&age)), "{letter}");
                assert!(!letter.to_string().contains("wx0"), "{name} shows what is in a job: {letter}");
            }
            let again = call("GET", &format!("/{name}/dead-letters")).await.1;
            assert_eq!(again["data"].as_array().unwrap().len(), 25, "{name}: looking hides nothing");
            assert_eq!(
                call("POST", &format!("/{name}/redrive")).await,
                (200, json!({"moved": 25})),
                "{name}"
            );
            assert_eq!(depth(name).await, (25, 0), "{name}");
            assert_eq!(call("POST", &format!("/{name}/redrive")).await.1, json!({"moved": 0}), "{name}");
        }
        for (method, path, status, code) in [
            ("GET", "/nothing/dead-letters", 404, "not_found"),
            ("POST", "/nothing/redrive", 404, "not_found"),
            ("POST", "/tick/redrive", 409, "not_redrivable"),
        ] {
            let answer = call(method, path).await;
            assert_eq!((answer.0, answer.1["code"].as_str()), (status, Some(code)), "{method} {path}");
        }
        assert_eq!(call("GET", "/tick/dead-letters").await.1["data"], json!([]));
        let audit =
            world.api(ADMIN_KEY, "GET", "/v1/audit?operation=queue.redriven", None, None).await.unwrap().1;
        let targets: Vec<_> = audit["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| (e["target"].clone(), e["outcome"].clone()))
            .collect();
        assert_eq!(targets.len(), 13, "each call is on record: {audit}");
        assert_eq!(targets[0], (json!("tick"), json!("not_redrivable")));
        let looks =
            world.api(ADMIN_KEY, "GET", "/v1/audit?operation=queue.dead_letters_listed", None, None).await;
        let looks = looks.unwrap().1["data"].as_array().unwrap().len();
        assert_eq!(looks, 13, "each look at what a queue has, too");
    });
}

/// SQS does not keep why a job failed: the function that failed it last stores it.
#[test]
fn a_job_that_was_given_up_says_why() {
    on_paused_time(async {
        let run = run_with_bound_account().await;
        let (world, app) = (&run.world, &run.apps[0]);
        let letters = async |queue: &str| {
            let path = format!("/v1/platform/queues/{queue}/dead-letters");
            world.api(ADMIN_KEY, "GET", &path, None, None).await.unwrap().1["data"].clone()
        };
        let ails = FaultKind::Error { errcode: 40164 };
        world
            .sim()
            .inject_fault(InjectedFault::once("/cgi-bin/component/api_query_auth", ails).times(10_000));
        let job = AuthorizationJob::AuthorizedV2 {
            app_id: app.clone(),
            code: Secret::new("queryauthcode@@@secret"),
            pre_auth_code: Secret::new(""),
            at: world.now(),
        };
        let hub = world.services();
        hub.queues.authorization(&job, Duration::ZERO).await.unwrap();
        give_unknown_jobs_up(world).await;
        for (name, _, _) in harmless_jobs() {
            let found = letters(name).await;
            let unknown = found.as_array().unwrap().iter().find(|one| one["job"] == "x_v9").cloned();
            let unknown = unknown.unwrap_or_else(|| panic!("{name}: {found}"));
            assert_eq!(unknown["last_error"], "it is no job that this release knows", "{name}");
            let receives = JobQueue::from_name(name).unwrap().max_receive_count();
            assert_eq!(unknown["receives"], receives, "{name}");
        }
        let found = letters("authorization").await;
        let authorized = found.as_array().unwrap().iter().find(|one| one["job"] == "authorized_v2").unwrap();
        let why = authorized["last_error"].as_str().unwrap();
        assert!(why.contains("40164"), "{why}");
        assert!(authorized["failed_at"].is_string() && !found.to_string().contains("secret"), "{found}");
    });
}
