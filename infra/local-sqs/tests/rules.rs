//! Rules of SQS that show under load or after a long time: called without a socket, on a manual clock.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as the tests do"
)]

use std::sync::Arc;

use futures::FutureExt;
use local_sqs::{Sqs, protocol};
use serde_json::{Value, json};
use shared::clock::ManualClock;
use shared::random::StdRandom;

struct TestQueues {
    sqs: Sqs,
    clock: ManualClock,
}

impl TestQueues {
    fn new(queue: &str, attributes: &[(&str, &str)]) -> Self {
        let clock = ManualClock::at(1_000);
        let sqs = Sqs::open(None, Arc::new(clock.clone()), Arc::new(StdRandom::seeded(1))).unwrap();
        sqs.create_queue(queue, attributes.iter().copied()).unwrap();
        Self { sqs, clock }
    }

    fn call(&self, action: &str, queue: &str, mut request: Value) -> (u16, Value) {
        request["QueueUrl"] = Sqs::queue_url(queue).into();
        let (target, body) = (format!("AmazonSQS.{action}"), request.to_string());
        let (status, _, body) = protocol::handle(&self.sqs, &target, body.as_bytes()).now_or_never().unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn send(&self, queue: &str, body: &str, group: Option<&str>) {
        let mut request = json!({"MessageBody": body});
        if let Some(group) = group {
            request["MessageGroupId"] = group.into();
        }
        assert_eq!(self.call("SendMessage", queue, request).0, 200);
    }

    fn receive(&self, queue: &str, max: u32) -> Vec<Value> {
        let request = json!({"MaxNumberOfMessages": max, "MessageSystemAttributeNames": ["All"]});
        let (status, answer) = self.call("ReceiveMessage", queue, request);
        assert_eq!(status, 200, "{answer}");
        answer["Messages"].as_array().cloned().unwrap_or_default()
    }

    fn delete(&self, queue: &str, message: &Value) -> u16 {
        self.call("DeleteMessage", queue, json!({"ReceiptHandle": message["ReceiptHandle"]})).0
    }
}

fn bodies(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|m| m["Body"].as_str().unwrap()).collect()
}

const FIFO: [(&str, &str); 2] = [("FifoQueue", "true"), ("ContentBasedDeduplication", "true")];

#[test]
fn only_the_newest_receipt_deletes() {
    let bench = TestQueues::new("jobs", &[]);
    bench.send("jobs", "slow", None);
    let first = bench.receive("jobs", 1).remove(0);
    bench.clock.advance(31);
    let second = bench.receive("jobs", 1).remove(0);
    assert_eq!(bench.delete("jobs", &first), 200, "an old handle is taken");
    bench.clock.advance(31);
    let third = bench.receive("jobs", 1);
    assert_eq!(bodies(&third), ["slow"], "and nothing was deleted");
    bench.clock.advance(31);
    assert_eq!(bench.delete("jobs", &second), 200, "not in flight either");
    bench.clock.advance(1);
    assert_eq!(bench.delete("jobs", &third[0]), 200, "the newest deletes, though its time is over");
    assert!(bench.receive("jobs", 1).is_empty());
}

#[test]
fn a_standard_queue_says_when_too_much_is_in_flight() {
    let bench = TestQueues::new("jobs", &[]);
    bench.sqs.limit_in_flight(3);
    (0..5).for_each(|n| bench.send("jobs", &n.to_string(), None));
    let taken = bench.receive("jobs", 10);
    assert_eq!(taken.len(), 3);
    let (status, answer) = bench.call("ReceiveMessage", "jobs", json!({}));
    assert_eq!((status, answer["__type"].as_str()), (400, Some("com.amazonaws.sqs#OverLimit")));
    bench.delete("jobs", &taken[0]);
    assert_eq!(bench.receive("jobs", 10).len(), 1);
}

#[test]
fn a_fifo_queue_falls_silent_when_too_much_is_in_flight() {
    let bench = TestQueues::new("jobs.fifo", &FIFO);
    bench.sqs.limit_in_flight(3);
    (0..5).for_each(|n| bench.send("jobs.fifo", &n.to_string(), Some(&format!("g{n}"))));
    let taken = bench.receive("jobs.fifo", 10);
    assert_eq!(taken.len(), 3);
    assert!(bench.receive("jobs.fifo", 10).is_empty(), "no error, and nothing for the two that are free");
    bench.delete("jobs.fifo", &taken[0]);
    assert_eq!(bench.receive("jobs.fifo", 10).len(), 1);
}

#[test]
fn a_fifo_queue_looks_no_further_than_its_first_messages_for_free_groups() {
    let bench = TestQueues::new("jobs.fifo", &FIFO);
    bench.sqs.limit_in_flight(3);
    (0..4).for_each(|n| bench.send("jobs.fifo", &format!("a{n}"), Some("a")));
    bench.send("jobs.fifo", "b", Some("b"));
    let first = bench.receive("jobs.fifo", 1);
    assert_eq!(bodies(&first), ["a0"]);
    assert!(bench.receive("jobs.fifo", 1).is_empty(), "b is free, and behind three others");
    bench.delete("jobs.fifo", &first[0]);
    let next = bench.receive("jobs.fifo", 1);
    assert_eq!(bodies(&next), ["a1"]);
    bench.delete("jobs.fifo", &next[0]);
    bench.receive("jobs.fifo", 1);
    assert_eq!(bodies(&bench.receive("jobs.fifo", 1)), ["b"], "within reach now");
}

#[test]
fn a_message_is_hidden_for_twelve_hours_at_most() {
    let bench = TestQueues::new("jobs", &[]);
    bench.send("jobs", "long", None);
    let message = bench.receive("jobs", 1).remove(0);
    let hide = |secs: i64| {
        let request = json!({"ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": secs});
        bench.call("ChangeMessageVisibility", "jobs", request).0
    };
    assert_eq!(hide(43_200), 200);
    bench.clock.advance(3600);
    assert_eq!(hide(43_200), 400, "counted from when it was received");
    assert_eq!(hide(39_600), 200);
}

#[test]
fn a_quiet_group_of_a_standard_queue_goes_before_a_noisy_one() {
    let bench = TestQueues::new("jobs", &[("VisibilityTimeout", "300")]);
    (0..100).for_each(|n| bench.send("jobs", &format!("noisy{n}"), Some("noisy")));
    for _ in 0..4 {
        bench.receive("jobs", 10); // 40 in flight, all of one group
    }
    bench.send("jobs", "quiet", Some("quiet"));
    let next = bench.receive("jobs", 2);
    assert_eq!(bodies(&next), ["quiet", "noisy40"], "the newcomer first, and then on with the others");
}

#[test]
fn a_group_that_takes_the_receivers_time_is_noisy_too() {
    let bench = TestQueues::new("jobs", &[("VisibilityTimeout", "300")]);
    (0..3).for_each(|n| bench.send("jobs", &format!("slow{n}"), Some("slow")));
    (0..2).for_each(|n| bench.send("jobs", &format!("quick{n}"), Some("quick")));
    let slow = bench.receive("jobs", 1);
    assert_eq!(bodies(&slow), ["slow0"], "the oldest, while nobody is noisy");
    bench.clock.advance(60);
    bench.delete("jobs", &slow[0]);
    let order: Vec<String> = std::iter::repeat_with(|| bench.receive("jobs", 1))
        .map_while(|taken| Some(taken.first()?["Body"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(order, ["quick0", "quick1", "slow1", "slow2"]);
}

#[test]
fn without_a_noisy_group_the_oldest_comes_first() {
    let bench = TestQueues::new("jobs", &[]);
    for (n, group) in ["a", "b", "c", "a", "b"].into_iter().enumerate() {
        bench.send("jobs", &n.to_string(), Some(group));
    }
    assert_eq!(bodies(&bench.receive("jobs", 10)), ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_message_keeps_the_trace_of_the_request_that_sent_it() {
    let bench = TestQueues::new("jobs", &[]);
    let send = |trace: Option<&str>, body: Value| {
        let mut body = body;
        body["QueueUrl"] = Sqs::queue_url("jobs").into();
        let body = body.to_string();
        let sent = protocol::handle_traced(&bench.sqs, "AmazonSQS.SendMessage", trace, body.as_bytes());
        assert_eq!(sent.now_or_never().unwrap().0, 200);
        bench.receive("jobs", 1).remove(0)["Attributes"]["AWSTraceHeader"].clone()
    };
    let own = json!({"MessageBody": "x", "MessageSystemAttributes":
        {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=own"}}});
    assert_eq!(send(Some("Root=1"), json!({"MessageBody": "x"})), "Root=1");
    assert_eq!(send(Some("Root=1"), own), "Root=own", "the sender's own goes first");
    assert_eq!(send(None, json!({"MessageBody": "x"})), Value::Null);
}
