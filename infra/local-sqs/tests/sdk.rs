//! What the hub needs of SQS, called by the real SDK client over TCP.
//!
//! `OAHUB_SQS_ENDPOINT=http://127.0.0.1:4570` tests another endpoint. The waits of a second are real.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as the tests do")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::operation::receive_message::builders::ReceiveMessageFluentBuilder;
use aws_sdk_sqs::operation::send_message::builders::SendMessageFluentBuilder;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, MessageAttributeValue,
    MessageSystemAttributeName as System, QueueAttributeName as Name, SendMessageBatchRequestEntry,
};
use local_sqs::{Sqs, server};
use shared::clock::SystemClock;
use shared::random::StdRandom;

/// A client, and a prefix so that no two runs share a queue.
struct SqsEndpoint {
    client: Client,
    run: String,
}

impl SqsEndpoint {
    #[expect(clippy::disallowed_methods, reason = "the one setting of this test")]
    async fn start() -> Self {
        let endpoint = match std::env::var("OAHUB_SQS_ENDPOINT") {
            Ok(endpoint) => endpoint,
            Err(_) => {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let endpoint = format!("http://{}", listener.local_addr().unwrap());
                let sqs = Sqs::open(None, Arc::new(SystemClock), Arc::new(StdRandom::from_system().unwrap()))
                    .unwrap();
                tokio::spawn(server::serve(listener, sqs, std::future::pending()));
                endpoint
            }
        };
        let mut bytes = [0; 4];
        shared::random::Random::fill(&StdRandom::from_system().unwrap(), &mut bytes);
        Self { client: client(endpoint), run: format!("t{}", u32::from_le_bytes(bytes)) }
    }

    async fn create_queue(&self, name: &str, attributes: &[(Name, &str)]) -> String {
        let mut request = self.client.create_queue().queue_name(format!("{}-{name}", self.run));
        if name.ends_with(".fifo") {
            request = request.attributes(Name::FifoQueue, "true");
        }
        for (key, value) in attributes {
            request = request.attributes(key.clone(), *value);
        }
        request.send().await.unwrap().queue_url.unwrap()
    }

    fn send(&self, url: &str, body: &str) -> SendMessageFluentBuilder {
        self.client.send_message().queue_url(url).message_body(body)
    }

    async fn receive(&self, url: &str, max: i32) -> Vec<Message> {
        let request = self.client.receive_message().queue_url(url).max_number_of_messages(max);
        let request = request.message_system_attribute_names(System::All).message_attribute_names("All");
        request.send().await.unwrap().messages.unwrap_or_default()
    }

    /// A long poll for a full batch, with SQS's longest wait.
    fn long_poll(&self, url: &str) -> ReceiveMessageFluentBuilder {
        self.client.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(20)
    }

    async fn delete(&self, url: &str, message: &Message) {
        let handle = message.receipt_handle.clone().unwrap();
        self.client.delete_message().queue_url(url).receipt_handle(handle).send().await.unwrap();
    }

    async fn change_visibility(&self, url: &str, message: &Message, secs: i32) {
        let request = self.client.change_message_visibility().queue_url(url).visibility_timeout(secs);
        request.receipt_handle(message.receipt_handle.clone().unwrap()).send().await.unwrap();
    }

    async fn attribute(&self, url: &str, name: Name) -> String {
        let request = self.client.get_queue_attributes().queue_url(url).attribute_names(name.clone());
        let answer = request.send().await.unwrap();
        answer.attributes.and_then(|mut all| all.remove(&name)).unwrap_or_default()
    }

    async fn queue_with_dead_letters(&self, name: &str, most: u32) -> (String, String) {
        let dead = self.create_queue(&format!("dead-{name}"), &[]).await;
        let arn = self.attribute(&dead, Name::QueueArn).await;
        let policy = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":{most}}}"#);
        let url = self.create_queue(name, &[(Name::RedrivePolicy, &policy)]).await;
        (url, dead)
    }
}

fn client(endpoint: String) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys("test", "test", None))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint)
        .build();
    Client::from_conf(config)
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body().unwrap()).collect()
}

fn receive_count(message: &Message) -> &str {
    &message.attributes.as_ref().unwrap()[&System::ApproximateReceiveCount]
}

fn entries(count: usize, body: &str) -> Vec<SendMessageBatchRequestEntry> {
    let entry = |n: usize| SendMessageBatchRequestEntry::builder().id(format!("e{n}")).message_body(body);
    (0..count).map(|n| entry(n).build().unwrap()).collect()
}

/// The error's code, or "none".
macro_rules! code {
    ($request:expr) => {
        $request.send().await.err().and_then(|e| e.code().map(str::to_owned)).unwrap_or("none".into())
    };
}

#[tokio::test]
async fn a_message_comes_back_as_it_was_sent() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("plain", &[]).await;
    let text = MessageAttributeValue::builder().data_type("String").string_value("天地").build().unwrap();
    let raw = MessageAttributeValue::builder()
        .data_type("Binary")
        .binary_value(Blob::new([0, 255]))
        .build()
        .unwrap();
    let request =
        bench.send(&url, "你好\n\"<xml>&amp;").message_attributes("b", text).message_attributes("a", raw);
    let sent = request.send().await.unwrap();
    let found = bench.receive(&url, 10).await;
    assert_eq!(bodies(&found), ["你好\n\"<xml>&amp;"], "the body is the same");
    assert_eq!(found[0].md5_of_body, sent.md5_of_message_body, "both checksums of the body agree");
    assert!(sent.md5_of_message_attributes.is_some(), "attributes have a checksum");
    assert_eq!(found[0].md5_of_message_attributes, sent.md5_of_message_attributes, "and it is the same");
    assert_eq!(found[0].message_attributes.as_ref().unwrap().len(), 2, "both attributes came");
    assert_eq!(found[0].message_id, sent.message_id, "the id is the same");
    assert_eq!(receive_count(&found[0]), "1", "it is received once");
    assert!(bench.receive(&url, 10).await.is_empty(), "a message in flight is hidden");
    bench.delete(&url, &found[0]).await;
    assert_eq!(
        bench.attribute(&url, Name::ApproximateNumberOfMessagesNotVisible).await,
        "0",
        "it is deleted"
    );
    bench.delete(&url, &found[0]).await; // deleting twice is no error
}

#[tokio::test]
async fn visibility_and_delays_end() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("times", &[(Name::VisibilityTimeout, "30")]).await;
    bench.send(&url, "a").send().await.unwrap();
    let first = bench.receive(&url, 1).await.remove(0);
    bench.change_visibility(&url, &first, 0).await;
    let again = bench.receive(&url, 1).await.remove(0);
    assert_eq!(receive_count(&again), "2", "0 gives a message back at once");
    bench.change_visibility(&url, &again, 1).await;
    let start = Instant::now();
    let long = || bench.client.receive_message().queue_url(&url).wait_time_seconds(10);
    let found = long().send().await.unwrap().messages.unwrap_or_default();
    assert_eq!(bodies(&found), ["a"], "a long poll wakes up when a visibility timeout ends");
    assert!((500..4000).contains(&start.elapsed().as_millis()), "after one second: {:?}", start.elapsed());
    bench.delete(&url, &found[0]).await;
    let start = Instant::now();
    bench.send(&url, "late").delay_seconds(1).send().await.unwrap();
    assert!(bench.receive(&url, 1).await.is_empty(), "a delayed message is hidden");
    assert_eq!(bench.attribute(&url, Name::ApproximateNumberOfMessagesDelayed).await, "1", "and counted so");
    let found = long().send().await.unwrap().messages.unwrap_or_default();
    assert_eq!(bodies(&found), ["late"], "a long poll wakes up when a delay ends");
    assert!((500..4000).contains(&start.elapsed().as_millis()), "after one second: {:?}", start.elapsed());
}

#[tokio::test]
async fn a_long_poll_wakes_up_for_a_message() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("poll", &[]).await;
    let start = Instant::now();
    let poll = bench.client.receive_message().queue_url(&url).wait_time_seconds(10).send();
    let send = async {
        tokio::time::sleep(Duration::from_millis(200)).await; // so that the poll most likely waits by then
        bench.send(&url, "now").send().await.unwrap();
    };
    let (found, ()) = tokio::join!(poll, send);
    assert_eq!(bodies(&found.unwrap().messages.unwrap_or_default()), ["now"], "the message came");
    assert!(start.elapsed() < Duration::from_secs(5), "without the full wait: {:?}", start.elapsed());
}

#[tokio::test]
async fn long_polls_miss_nothing_though_one_gathers_and_another_gives_up() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("many", &[]).await;
    let poll = || bench.long_poll(&url).send();
    let quitter = tokio::spawn(poll());
    tokio::time::sleep(Duration::from_millis(100)).await; // so that it most likely waits, before the others
    let mut pollers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        pollers.spawn(poll());
    }
    bench.send(&url, "0").send().await.unwrap();
    quitter.abort();
    let mut found = Vec::new();
    for number in 1..50 {
        bench.send(&url, &number.to_string()).send().await.unwrap();
    }
    let all = async {
        while let Some(answer) = pollers.join_next().await {
            found.extend(answer.unwrap().unwrap().messages.unwrap_or_default());
            if found.len() == 50 {
                return;
            }
            pollers.spawn(poll());
        }
    };
    // long before a long poll ends by itself; what a quitter was sent is hidden, as it is on SQS
    let _ = tokio::time::timeout(Duration::from_secs(5), all).await;
    let hidden = bench.attribute(&url, Name::ApproximateNumberOfMessagesNotVisible).await;
    assert_eq!(hidden, "50", "every message was handed out");
    assert_eq!(bench.attribute(&url, Name::ApproximateNumberOfMessages).await, "0", "none waits");
}

#[tokio::test]
async fn a_long_poll_gets_what_is_due_later_though_another_took_the_rest() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("later", &[]).await;
    let poll = || bench.long_poll(&url).send();
    let pollers = [tokio::spawn(poll()), tokio::spawn(poll())];
    tokio::time::sleep(Duration::from_millis(100)).await; // so that both most likely wait
    let entry = |id: &str| SendMessageBatchRequestEntry::builder().id(id).message_body(id);
    let both = bench.client.send_message_batch().queue_url(&url).entries(entry("now").build().unwrap());
    both.entries(entry("later").delay_seconds(1).build().unwrap()).send().await.unwrap();
    let all = futures::future::join_all(pollers);
    let answers = tokio::time::timeout(Duration::from_secs(10), all).await.expect("long before a poll ends");
    let found = answers.into_iter().flat_map(|answer| answer.unwrap().unwrap().messages.unwrap_or_default());
    let mut bodies: Vec<_> = found.filter_map(|message| message.body).collect();
    bodies.sort();
    assert_eq!(bodies, ["later", "now"]);
}

#[tokio::test]
async fn a_message_received_too_often_is_a_dead_letter() {
    let bench = SqsEndpoint::start().await;
    let (url, dead) = bench.queue_with_dead_letters("jobs", 2).await;
    let id = bench.send(&url, "poison").send().await.unwrap().message_id;
    for turn in ["1", "2"] {
        let found = bench.receive(&url, 1).await.remove(0);
        assert_eq!(receive_count(&found), turn, "it is received twice");
        bench.change_visibility(&url, &found, 0).await;
    }
    assert!(bench.receive(&url, 1).await.is_empty(), "but not a third time");
    let found = bench.receive(&dead, 1).await.remove(0);
    assert_eq!((found.body(), &found.message_id), (Some("poison"), &id), "it is in the dead-letter queue");
    bench.change_visibility(&dead, &found, 0).await;
    let arn = bench.attribute(&dead, Name::QueueArn).await;
    bench.client.start_message_move_task().source_arn(arn).send().await.unwrap();
    let long = bench.client.receive_message().queue_url(&url).wait_time_seconds(5);
    let found = long.send().await.unwrap().messages.unwrap_or_default();
    assert_eq!(bodies(&found), ["poison"], "a move task brings it back to where it came from");
}

#[tokio::test]
async fn a_fifo_queue_keeps_order_and_locks_groups() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("order.fifo", &[(Name::ContentBasedDeduplication, "true")]).await;
    for (group, body) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")] {
        bench.send(&url, body).message_group_id(group).send().await.unwrap();
    }
    let first = bench.receive(&url, 1).await;
    assert_eq!(bodies(&first), ["a1"], "the oldest comes first");
    let second = bench.receive(&url, 10).await;
    assert_eq!(bodies(&second), ["b1"], "a group with a message in flight is locked");
    bench.delete(&url, &first[0]).await;
    let rest = bench.receive(&url, 10).await;
    assert_eq!(bodies(&rest), ["a2", "a3"], "a free group gives several in order");
    bench.change_visibility(&url, &rest[1], 0).await;
    assert!(bench.receive(&url, 10).await.is_empty(), "one in flight is enough to lock");
    bench.change_visibility(&url, &rest[0], 0).await;
    assert_eq!(bodies(&bench.receive(&url, 10).await), ["a2", "a3"], "what is given back keeps its place");
}

#[tokio::test]
async fn a_fifo_queue_takes_an_id_once() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("once.fifo", &[(Name::ContentBasedDeduplication, "true")]).await;
    let send = |body: &str, id: Option<&str>| {
        bench
            .send(&url, body)
            .message_group_id("g")
            .set_message_deduplication_id(id.map(str::to_owned))
            .send()
    };
    let first = send("x", None).await.unwrap();
    let again = send("x", None).await.unwrap();
    assert_eq!(first.message_id, again.message_id, "the same body is the same message");
    assert_eq!(first.sequence_number, again.sequence_number, "with the same sequence number");
    let other = send("x", Some("other")).await.unwrap();
    assert_ne!(first.message_id, other.message_id, "an id of its own makes it another one");
    let found = bench.receive(&url, 10).await;
    assert_eq!(bodies(&found), ["x", "x"], "two are there");
    for message in &found {
        bench.delete(&url, message).await;
    }
    send("y", Some("other")).await.unwrap();
    assert!(bench.receive(&url, 10).await.is_empty(), "an id is remembered after its message is gone");
}

#[tokio::test]
async fn batches_answer_for_each_entry() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("batch", &[]).await;
    let mut mixed = entries(3, "ok");
    mixed[1].delay_seconds = Some(901);
    let answer =
        bench.client.send_message_batch().queue_url(&url).set_entries(Some(mixed)).send().await.unwrap();
    assert_eq!(answer.successful.len(), 2, "two are sent");
    assert_eq!(answer.failed.iter().map(|e| &*e.id).collect::<Vec<_>>(), ["e1"], "and one is refused");
    assert!(answer.failed[0].sender_fault, "by its own fault");
    let found = bench.receive(&url, 10).await;
    assert_eq!(found.len(), 2, "two are received");
    let handle = |n: usize| found[n].receipt_handle.clone().unwrap();
    let hide = |n: usize| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(format!("h{n}"));
        entry.receipt_handle(handle(n)).visibility_timeout(60).build().unwrap()
    };
    let request = bench.client.change_message_visibility_batch().queue_url(&url);
    let answer = request.entries(hide(0)).entries(hide(1)).send().await.unwrap();
    assert_eq!(answer.successful.len(), 2, "both are hidden for longer");
    let entry = |id: &str, handle: String| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build().unwrap()
    };
    let request = bench.client.delete_message_batch().queue_url(&url).entries(entry("good", handle(0)));
    let answer = request.entries(entry("bad", "nonsense".into())).send().await.unwrap();
    assert_eq!(answer.successful[0].id, "good", "a good handle deletes");
    assert_eq!(
        (&*answer.failed[0].id, &*answer.failed[0].code),
        ("bad", "ReceiptHandleIsInvalid"),
        "a bad one does not"
    );
}

#[tokio::test]
async fn limits_and_mistakes_are_named() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("limits", &[]).await;
    let fifo = bench.create_queue("limits.fifo", &[]).await;
    let none = format!("{url}-none");
    let batch = |entries| bench.client.send_message_batch().queue_url(&url).set_entries(Some(entries));
    let receive = || bench.client.receive_message().queue_url(&url);
    let mut twins = entries(2, "x");
    twins[1].id = "e0".into();
    let delete = |handle: &str| bench.client.delete_message().queue_url(&url).receipt_handle(handle);
    let rows = [
        (
            "ten entries are enough",
            code!(batch(entries(11, "x"))),
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        ),
        ("no entry is too few", code!(batch(vec![])), "AWS.SimpleQueueService.EmptyBatchRequest"),
        (
            "entries have different ids",
            code!(batch(twins)),
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        ),
        (
            "a batch has 1 MiB",
            code!(batch(entries(2, &"x".repeat(600_000)))),
            "AWS.SimpleQueueService.BatchRequestTooLong",
        ),
        ("a message has 1 MiB", code!(bench.send(&url, &"x".repeat(1_048_577))), "InvalidParameterValue"),
        ("exactly 1 MiB is fine", code!(bench.send(&url, &"x".repeat(1_048_576))), "none"),
        ("a queue must exist", code!(bench.send(&none, "x")), "AWS.SimpleQueueService.NonExistentQueue"),
        (
            "also to be found",
            code!(bench.client.get_queue_url().queue_name("none")),
            "AWS.SimpleQueueService.NonExistentQueue",
        ),
        (
            "a delay ends in 15 minutes",
            code!(bench.send(&url, "x").delay_seconds(901)),
            "InvalidParameterValue",
        ),
        (
            "eleven messages are too many",
            code!(receive().max_number_of_messages(11)),
            "InvalidParameterValue",
        ),
        ("nobody waits for 21 seconds", code!(receive().wait_time_seconds(21)), "InvalidParameterValue"),
        ("a handle is not made up", code!(delete("nonsense")), "ReceiptHandleIsInvalid"),
        (
            "a FIFO message has a group",
            code!(bench.send(&fifo, "x").message_deduplication_id("1")),
            "MissingParameter",
        ),
        ("and an id", code!(bench.send(&fifo, "x").message_group_id("g")), "InvalidParameterValue"),
        (
            "and no delay",
            code!(
                bench.send(&fifo, "x").message_group_id("g").message_deduplication_id("1").delay_seconds(5)
            ),
            "InvalidParameterValue",
        ),
        ("control characters are no text", code!(bench.send(&url, "\u{1}")), "InvalidMessageContents"),
        (
            "FIFO queues end with .fifo",
            code!(bench.client.create_queue().queue_name("x.fifo")),
            "InvalidParameterValue",
        ),
        (
            "attributes have limits",
            code!(bench.client.create_queue().queue_name("y").attributes(Name::VisibilityTimeout, "43201")),
            "InvalidAttributeValue",
        ),
    ];
    let wrong: Vec<_> = rows.iter().filter(|(_, found, wanted)| found != wanted).collect();
    assert!(wrong.is_empty(), "(what, found, wanted): {wrong:#?}");
}

#[tokio::test]
async fn queues_are_found_changed_and_emptied() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("admin", &[(Name::VisibilityTimeout, "7")]).await;
    assert_eq!(
        bench.create_queue("admin", &[(Name::VisibilityTimeout, "7")]).await,
        url,
        "making it again is no error"
    );
    let request = bench.client.create_queue().queue_name(format!("{}-admin", bench.run));
    assert_eq!(
        code!(request.attributes(Name::VisibilityTimeout, "8")),
        "QueueAlreadyExists",
        "unless it differs"
    );
    let found = bench.client.get_queue_url().queue_name(format!("{}-admin", bench.run)).send().await.unwrap();
    assert_eq!(found.queue_url.as_deref(), Some(&*url), "its URL is found");
    let list = bench.client.list_queues().queue_name_prefix(&bench.run).send().await.unwrap();
    assert_eq!(list.queue_urls.as_deref(), Some(std::slice::from_ref(&url)), "it is listed");
    let request =
        bench.client.set_queue_attributes().queue_url(&url).attributes(Name::VisibilityTimeout, "9");
    request.send().await.unwrap();
    assert_eq!(bench.attribute(&url, Name::VisibilityTimeout).await, "9", "an attribute is changed");
    bench.send(&url, "x").send().await.unwrap();
    assert_eq!(bench.attribute(&url, Name::ApproximateNumberOfMessages).await, "1", "messages are counted");
    bench.client.purge_queue().queue_url(&url).send().await.unwrap();
    assert!(bench.receive(&url, 1).await.is_empty(), "a purged queue is empty");
}

#[tokio::test]
async fn a_server_that_stops_ends_its_long_polls() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(format!("http://{}", listener.local_addr().unwrap()));
    let sqs = Sqs::open(None, Arc::new(SystemClock), Arc::new(StdRandom::from_system().unwrap())).unwrap();
    sqs.create_queue("idle", [("ReceiveMessageWaitTimeSeconds", "20")]).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async move { stopped.await.unwrap_or(()) };
    let server = tokio::spawn(server::serve(listener, sqs, shutdown));
    let poll = tokio::spawn(client.receive_message().queue_url(Sqs::queue_url("idle")).send());
    tokio::time::sleep(Duration::from_millis(200)).await; // so that the poll most likely waits by then
    stop.send(()).unwrap();
    let patience = Duration::from_secs(5);
    let answer = tokio::time::timeout(patience, poll).await.unwrap().unwrap().unwrap();
    assert!(answer.messages.unwrap_or_default().is_empty(), "the poll is answered, with nothing");
    tokio::time::timeout(patience, server).await.unwrap().unwrap().unwrap();
}
