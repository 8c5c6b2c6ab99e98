//! Lambda between queues and functions: chains that end, throttled invocations, results that name failed messages.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as the tests do"
)]

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use local::{
    database::Database,
    functions::Code,
    lambda::{Target, concurrency::Room},
    mapping::{self, Mapping},
    rights::{Right, Rights, guard},
    sqs::{Sqs, protocol},
    wire::Wire,
};
use serde_json::{Value, json};
use shared::{
    aws::AwsClients, clock::SystemClock, config::Resources, deadline::Deadline, function::FunctionError,
    random::Rand,
};
use tokio::{sync::watch, task::JoinSet};

const PATIENCE: Duration = Duration::from_secs(30);

/// A queue `Jobs` with a dead-letter queue, and an event source mapping.
struct Stage {
    folder: PathBuf,
    sqs: Sqs,
    aws: AwsClients,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Stage {
    /// `most` receives, and a visibility timeout of a second.
    fn new(name: &str, most: u32) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("lambda-{name}"));
        let _ = std::fs::remove_dir_all(&folder); // there may be none
        std::fs::create_dir_all(&folder).unwrap();
        let sqs = Sqs::open(None, Arc::new(SystemClock), Arc::new(Rand::from_system().unwrap())).unwrap();
        sqs.create_queue("Dead", [("MessageRetentionPeriod", "1209600")]).unwrap();
        let policy = json!({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:Dead", "maxReceiveCount": most});
        let attributes = [("VisibilityTimeout", "1".to_owned()), ("RedrivePolicy", policy.to_string())];
        sqs.create_queue("Jobs", attributes).unwrap();
        let database = Database::open(&folder).unwrap();
        let wire = Wire::new(&database, &sqs);
        let resources = Resources { region: "us-east-1".into(), ..Resources::default() };
        let right = |action: &str| Right { action: format!("sqs:{action}"), resource: "Jobs".into() };
        let rights = Rights(["SendMessage", "ReceiveMessage", "DeleteMessage"].map(right).into());
        let aws = guard::clients("Loop", &rights, &wire, &wire.clients(&resources));
        Self { folder, sqs, aws, stop: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    fn call(&mut self, code: impl Code + 'static, recursive: bool, room: &Room) {
        let target = Target {
            name: "Loop".into(),
            code: Arc::new(code),
            timeout: Duration::from_secs(5),
            clock: Arc::new(SystemClock),
            recursive,
            room: room.clone(),
        };
        let mapping = Mapping {
            sqs: self.aws.sqs.clone(),
            queue_url: Sqs::queue_url("Jobs"),
            visibility: Duration::from_secs(1),
            batch_size: 10,
            concurrency: 1,
            item_failures: true,
            target,
        };
        mapping::start(mapping, &self.stop.subscribe(), &mut self.tasks);
    }

    async fn send(&self, body: &str) {
        self.aws
            .sqs
            .send_message()
            .queue_url(Sqs::queue_url("Jobs"))
            .message_body(body)
            .send()
            .await
            .unwrap();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.tasks.abort_all();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Code that remembers the messages of each of its invocations.
#[derive(Clone)]
struct Script {
    seen: Arc<Mutex<Vec<Vec<String>>>>,
    sqs: aws_sdk_sqs::Client,
    /// Whether it sends each message on, with the next number.
    again: bool,
    /// What it returns.
    answer: Value,
}

impl Script {
    fn new(stage: &Stage) -> Self {
        Self { seen: Arc::default(), sqs: stage.aws.sqs.clone(), again: false, answer: json!({}) }
    }

    fn seen(&self) -> Vec<Vec<String>> {
        self.seen.lock().unwrap().clone()
    }
}

impl Code for Script {
    fn call(&self, event: Value, _: Deadline) -> BoxFuture<'static, Result<Value, FunctionError>> {
        let script = self.clone();
        Box::pin(async move {
            let records = event["Records"].as_array().unwrap();
            let bodies: Vec<String> =
                records.iter().map(|r| r["body"].as_str().unwrap().to_owned()).collect();
            script.seen.lock().unwrap().push(bodies.clone());
            for body in bodies.iter().filter(|_| script.again) {
                let next = (body.parse::<u32>().unwrap() + 1).to_string();
                let send = script.sqs.send_message().queue_url(Sqs::queue_url("Jobs")).message_body(next);
                send.send().await.unwrap();
            }
            Ok(script.answer)
        })
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            match look().await {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("never came: {what}"))
}

#[tokio::test]
async fn a_chain_ends_after_sixteen_invocations_and_its_message_is_a_dead_letter() {
    let mut stage = Stage::new("ends", 2);
    let script = Script { again: true, ..Script::new(&stage) };
    stage.send("1").await;
    stage.call(script.clone(), false, &Room::of(1));
    let body = until("the dead letter", async || dead_letters(&stage).await.into_iter().next()).await;
    assert_eq!(body, "17", "the message of the invocation that was refused");
    assert_eq!(script.seen().len(), 16);
}

#[tokio::test]
async fn a_chain_that_is_meant_goes_on() {
    let mut stage = Stage::new("goes-on", 2);
    let script = Script { again: true, ..Script::new(&stage) };
    stage.send("1").await;
    stage.call(script.clone(), true, &Room::of(1));
    until("the fortieth invocation", async || (script.seen().len() >= 40).then_some(())).await;
}

#[tokio::test]
async fn many_messages_of_one_sender_are_no_chain() {
    let mut stage = Stage::new("no-chain", 2);
    let script = Script::new(&stage);
    for n in 0..40 {
        stage.send(&n.to_string()).await;
    }
    stage.call(script.clone(), false, &Room::of(1));
    until("all of them", async || (script.seen().concat().len() == 40).then_some(())).await;
}

#[tokio::test]
async fn a_throttled_message_is_received_again_and_again_until_it_is_a_dead_letter() {
    let mut stage = Stage::new("throttled", 2);
    let script = Script::new(&stage);
    stage.send("1").await;
    stage.call(script.clone(), false, &Room::of(0));
    let body = until("the dead letter", async || dead_letters(&stage).await.into_iter().next()).await;
    assert_eq!((body.as_str(), script.seen().len()), ("1", 0), "it never ran");
}

#[tokio::test]
async fn a_throttled_message_runs_when_there_is_room_again() {
    let mut stage = Stage::new("room-again", 1);
    let (script, room) = (Script::new(&stage), Room::of(1));
    let other = room.enter().unwrap();
    stage.send("1").await;
    stage.call(script.clone(), false, &room);
    until("the message to be in flight", async || (in_flight(&stage).await == 1).then_some(())).await;
    drop(other);
    until("its invocation", async || (script.seen().len() == 1).then_some(())).await;
}

#[tokio::test]
async fn an_answer_that_names_a_strange_message_brings_the_whole_batch_again() {
    let mut stage = Stage::new("strange", 2);
    let answer = json!({"batchItemFailures": [{"itemIdentifier": "somebody else"}]});
    let script = Script { answer, ..Script::new(&stage) };
    stage.send("1").await;
    stage.send("2").await;
    stage.call(script.clone(), false, &Room::of(1));
    let mut dead = until("both dead letters", async || {
        let dead = dead_letters(&stage).await;
        (dead.len() == 2).then_some(dead)
    })
    .await;
    dead.sort();
    assert_eq!(dead, ["1", "2"]);
}

/// The bodies in the dead-letter queue; the messages stay there.
async fn dead_letters(stage: &Stage) -> Vec<String> {
    let request =
        json!({"QueueUrl": Sqs::queue_url("Dead"), "MaxNumberOfMessages": 10, "VisibilityTimeout": 0});
    let answer = ask(stage, "ReceiveMessage", &request).await;
    let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
    messages.iter().map(|m| m["Body"].as_str().unwrap().to_owned()).collect()
}

async fn in_flight(stage: &Stage) -> u32 {
    let request = json!({"QueueUrl": Sqs::queue_url("Jobs"), "AttributeNames": ["All"]});
    let answer = ask(stage, "GetQueueAttributes", &request).await;
    answer["Attributes"]["ApproximateNumberOfMessagesNotVisible"].as_str().unwrap().parse().unwrap()
}

async fn ask(stage: &Stage, action: &str, request: &Value) -> Value {
    let (target, body) = (format!("AmazonSQS.{action}"), request.to_string());
    let (_, _, answer) = protocol::handle(&stage.sqs, &target, body.as_bytes()).await;
    serde_json::from_slice(&answer).unwrap()
}
