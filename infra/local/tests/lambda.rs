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
    event_source_mapping::{self, EventSourceMapping},
    functions::Handler,
    iam::{
        authorizing_client,
        permission::{Permission, Permissions},
    },
    in_process_http::InProcessHttp,
    lambda::{FunctionTarget, concurrency::ConcurrencyPool},
};
use local_sqs::{Sqs, protocol};
use serde_json::{Value, json};
use shared::{
    aws::AwsClients, clock::SystemClock, config::Resources, deadline::Deadline, function::FunctionError,
    random::StdRandom,
};
use tokio::{sync::watch, task::JoinSet};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A queue `Jobs` with a dead-letter queue, and an event source mapping.
struct TestMapping {
    folder: PathBuf,
    sqs: Sqs,
    aws: AwsClients,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl TestMapping {
    /// `most` receives, and a visibility timeout of a second.
    fn new(name: &str, most: u32) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("lambda-{name}"));
        let _ = std::fs::remove_dir_all(&folder); // there may be none
        std::fs::create_dir_all(&folder).unwrap();
        let sqs =
            Sqs::open(None, Arc::new(SystemClock), Arc::new(StdRandom::from_system().unwrap())).unwrap();
        sqs.create_queue("Dead", [("MessageRetentionPeriod", "1209600")]).unwrap();
        let policy = json!({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:Dead", "maxReceiveCount": most});
        let attributes = [("VisibilityTimeout", "1".to_owned()), ("RedrivePolicy", policy.to_string())];
        sqs.create_queue("Jobs", attributes).unwrap();
        let database = Database::open(&folder).unwrap();
        let wire = InProcessHttp::new(&database, &sqs);
        let resources = Resources { region: "us-east-1".into(), ..Resources::default() };
        let right = |action: &str| Permission::new(format!("sqs:{action}"), "Jobs");
        let rights = Permissions(["SendMessage", "ReceiveMessage", "DeleteMessage"].map(right).into());
        let aws = authorizing_client::clients("Loop", &rights, &wire, &wire.clients(&resources));
        Self { folder, sqs, aws, stop: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    fn start_mapping(&mut self, code: impl Handler + 'static, recursive: bool, room: &ConcurrencyPool) {
        let target = FunctionTarget {
            name: "Loop".into(),
            handler: Arc::new(code),
            timeout: Duration::from_secs(5),
            clock: Arc::new(SystemClock),
            recursive,
            concurrency: room.clone(),
        };
        let mapping = EventSourceMapping {
            sqs: self.aws.sqs.clone(),
            queue_url: Sqs::queue_url("Jobs"),
            visibility_timeout: Duration::from_secs(1),
            batch_size: 10,
            concurrency: 1,
            item_failures: true,
            target,
        };
        event_source_mapping::start(mapping, &self.stop.subscribe(), &mut self.tasks);
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

impl Drop for TestMapping {
    fn drop(&mut self) {
        self.tasks.abort_all();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Code that remembers the messages of each of its invocations.
#[derive(Clone)]
struct ScriptedHandler {
    invocations: Arc<Mutex<Vec<Vec<String>>>>,
    sqs: aws_sdk_sqs::Client,
    /// Whether it sends each message on, with the next number.
    resends: bool,
    /// What it returns.
    answer: Value,
}

impl ScriptedHandler {
    fn new(stage: &TestMapping) -> Self {
        Self { invocations: Arc::default(), sqs: stage.aws.sqs.clone(), resends: false, answer: json!({}) }
    }

    fn invocations(&self) -> Vec<Vec<String>> {
        self.invocations.lock().unwrap().clone()
    }
}

impl Handler for ScriptedHandler {
    fn call(&self, event: Value, _: Deadline) -> BoxFuture<'static, Result<Value, FunctionError>> {
        let script = self.clone();
        Box::pin(async move {
            let records = event["Records"].as_array().unwrap();
            let bodies: Vec<String> =
                records.iter().map(|r| r["body"].as_str().unwrap().to_owned()).collect();
            script.invocations.lock().unwrap().push(bodies.clone());
            for body in bodies.iter().filter(|_| script.resends) {
                let next = (body.parse::<u32>().unwrap() + 1).to_string();
                let send = script.sqs.send_message().queue_url(Sqs::queue_url("Jobs")).message_body(next);
                send.send().await.unwrap();
            }
            Ok(script.answer)
        })
    }
}

async fn wait_until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(TIMEOUT, async {
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
    let mut stage = TestMapping::new("ends", 2);
    let script = ScriptedHandler { resends: true, ..ScriptedHandler::new(&stage) };
    stage.send("1").await;
    stage.start_mapping(script.clone(), false, &ConcurrencyPool::with_limit(1));
    let body = wait_until("the dead letter", async || dead_letters(&stage).await.into_iter().next()).await;
    assert_eq!(body, "17", "the message of the invocation that was refused");
    assert_eq!(script.invocations().len(), 16);
}

#[tokio::test]
async fn a_chain_that_is_meant_goes_on() {
    let mut stage = TestMapping::new("goes-on", 2);
    let script = ScriptedHandler { resends: true, ..ScriptedHandler::new(&stage) };
    stage.send("1").await;
    stage.start_mapping(script.clone(), true, &ConcurrencyPool::with_limit(1));
    wait_until("the fortieth invocation", async || (script.invocations().len() >= 40).then_some(())).await;
}

#[tokio::test]
async fn many_messages_of_one_sender_are_no_chain() {
    let mut stage = TestMapping::new("no-chain", 2);
    let script = ScriptedHandler::new(&stage);
    for n in 0..40 {
        stage.send(&n.to_string()).await;
    }
    stage.start_mapping(script.clone(), false, &ConcurrencyPool::with_limit(1));
    wait_until("all of them", async || (script.invocations().concat().len() == 40).then_some(())).await;
}

#[tokio::test]
async fn a_throttled_message_is_received_again_and_again_until_it_is_a_dead_letter() {
    let mut stage = TestMapping::new("throttled", 2);
    let script = ScriptedHandler::new(&stage);
    stage.send("1").await;
    stage.start_mapping(script.clone(), false, &ConcurrencyPool::with_limit(0));
    let body = wait_until("the dead letter", async || dead_letters(&stage).await.into_iter().next()).await;
    assert_eq!((body.as_str(), script.invocations().len()), ("1", 0), "it never ran");
}

#[tokio::test]
async fn a_throttled_message_runs_when_there_is_room_again() {
    let mut stage = TestMapping::new("room-again", 1);
    let (script, room) = (ScriptedHandler::new(&stage), ConcurrencyPool::with_limit(1));
    let other = room.try_acquire().unwrap();
    stage.send("1").await;
    stage.start_mapping(script.clone(), false, &room);
    wait_until("the message to be in flight", async || (in_flight(&stage).await == 1).then_some(())).await;
    drop(other);
    wait_until("its invocation", async || (script.invocations().len() == 1).then_some(())).await;
}

#[tokio::test]
async fn an_answer_that_names_a_strange_message_brings_the_whole_batch_again() {
    let mut stage = TestMapping::new("strange", 2);
    let answer = json!({"batchItemFailures": [{"itemIdentifier": "somebody else"}]});
    let script = ScriptedHandler { answer, ..ScriptedHandler::new(&stage) };
    stage.send("1").await;
    stage.send("2").await;
    stage.start_mapping(script.clone(), false, &ConcurrencyPool::with_limit(1));
    let mut dead = wait_until("both dead letters", async || {
        let dead = dead_letters(&stage).await;
        (dead.len() == 2).then_some(dead)
    })
    .await;
    dead.sort();
    assert_eq!(dead, ["1", "2"]);
}

/// The bodies in the dead-letter queue; the messages stay there.
async fn dead_letters(stage: &TestMapping) -> Vec<String> {
    let request =
        json!({"QueueUrl": Sqs::queue_url("Dead"), "MaxNumberOfMessages": 10, "VisibilityTimeout": 0});
    let answer = call_sqs(stage, "ReceiveMessage", &request).await;
    let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
    messages.iter().map(|m| m["Body"].as_str().unwrap().to_owned()).collect()
}

async fn in_flight(stage: &TestMapping) -> u32 {
    let request = json!({"QueueUrl": Sqs::queue_url("Jobs"), "AttributeNames": ["All"]});
    let answer = call_sqs(stage, "GetQueueAttributes", &request).await;
    answer["Attributes"]["ApproximateNumberOfMessagesNotVisible"].as_str().unwrap().parse().unwrap()
}

async fn call_sqs(stage: &TestMapping, action: &str, request: &Value) -> Value {
    let (target, body) = (format!("AmazonSQS.{action}"), request.to_string());
    let (_, _, answer) = protocol::handle(&stage.sqs, &target, body.as_bytes()).await;
    serde_json::from_slice(&answer).unwrap()
}
