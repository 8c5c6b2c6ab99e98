//! What survives a process that dies, and time on a manual clock.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as the tests do"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use futures::FutureExt;
use local_sqs::{Sqs, journal, protocol};
use serde_json::{Value, json};
use shared::clock::ManualClock;
use shared::random::StdRandom;

/// A directory that is removed with the test.
struct TestDirectory(PathBuf);

impl TestDirectory {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn journal(&self) -> PathBuf {
        self.0.join(journal::JOURNAL_FILE)
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(dir: Option<&Path>, clock: &ManualClock) -> Sqs {
    Sqs::open(dir, Arc::new(clock.clone()), Arc::new(StdRandom::seeded(1))).unwrap()
}

/// Calls without a runtime: whatever does not wait is ready at once.
fn call(sqs: &Sqs, action: &str, request: Value) -> Value {
    let body = request.to_string();
    let (status, _, body) =
        protocol::handle(sqs, &format!("AmazonSQS.{action}"), body.as_bytes()).now_or_never().unwrap();
    let mut answer: Value = serde_json::from_slice(&body).unwrap();
    answer["status"] = status.into();
    answer
}

fn send(sqs: &Sqs, queue: &str, body: &str) -> Value {
    let group = queue.ends_with(".fifo").then_some("g");
    let mut request = json!({ "QueueUrl": queue, "MessageBody": body });
    if let Some(group) = group {
        request["MessageGroupId"] = group.into();
    }
    call(sqs, "SendMessage", request)
}

fn receive(sqs: &Sqs, queue: &str) -> Vec<Value> {
    let request = json!({ "QueueUrl": queue, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0, "AttributeNames": ["All"] });
    call(sqs, "ReceiveMessage", request)["Messages"].as_array().cloned().unwrap_or_default()
}

fn bodies(sqs: &Sqs, queue: &str) -> Vec<String> {
    receive(sqs, queue).iter().map(|message| message["Body"].as_str().unwrap().to_owned()).collect()
}

fn delete(sqs: &Sqs, queue: &str, message: &Value) -> Value {
    call(sqs, "DeleteMessage", json!({ "QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"] }))
}

const FIFO: [(&str, &str); 2] = [("FifoQueue", "true"), ("ContentBasedDeduplication", "true")];
const NO_ATTRIBUTES: [(&str, &str); 0] = [];

/// A policy that dead-letters a message after one receive.
fn redrive(dead: &str) -> [(&'static str, String); 1] {
    let arn = format!("arn:aws:sqs:us-east-1:000000000000:{dead}");
    [("RedrivePolicy", json!({ "deadLetterTargetArn": arn, "maxReceiveCount": "1" }).to_string())]
}

#[test]
fn everything_acknowledged_survives() {
    let (dir, clock) = (TestDirectory::new("survives"), ManualClock::at(1_000));
    let sqs = open(Some(&dir.0), &clock);
    sqs.create_queue("dead", NO_ATTRIBUTES).unwrap();
    sqs.create_queue("jobs", redrive("dead")).unwrap();
    sqs.create_queue("order.fifo", FIFO).unwrap();
    for body in ["given up", "deleted"] {
        send(&sqs, "jobs", body);
    }
    let found = receive(&sqs, "jobs");
    delete(&sqs, "jobs", &found[1]);
    clock.advance(31);
    assert!(receive(&sqs, "jobs").is_empty(), "a second receive is one too many");
    send(&sqs, "jobs", "kept");
    let request = json!({ "QueueUrl": "jobs", "MessageBody": "later", "DelaySeconds": 60 });
    call(&sqs, "SendMessage", request);
    let first = send(&sqs, "order.fifo", "1");
    send(&sqs, "order.fifo", "2");
    let in_flight = receive(&sqs, "order.fifo");
    delete(&sqs, "order.fifo", &in_flight[0]);
    let jobs = std::fs::read(dir.journal()).unwrap();

    for turn in ["after a crash", "after a second one, from the compacted journal"] {
        let copy = TestDirectory::new("survives-copy");
        std::fs::write(copy.journal(), &jobs).unwrap();
        drop(open(Some(&copy.0), &clock));
        let sqs = open(Some(&copy.0), &clock);
        assert_eq!(bodies(&sqs, "jobs"), ["kept"], "{turn}: what was sent is there, what was deleted is not");
        assert_eq!(bodies(&sqs, "dead"), ["given up"], "{turn}: a dead letter stays one");
        let again = send(&sqs, "order.fifo", "1");
        assert_eq!(again["MessageId"], first["MessageId"], "{turn}: a deduplication id outlives its message");
        let expired = delete(&sqs, "order.fifo", &in_flight[1]);
        assert_eq!(expired["status"], 400, "{turn}: a receipt of before is no longer good for a FIFO queue");
        let rest = receive(&sqs, "order.fifo");
        assert_eq!(rest[0]["Body"], "2", "{turn}: what was in flight is visible at once");
        assert_eq!(rest[0]["Attributes"]["ApproximateReceiveCount"], "2", "{turn}: and its count goes on");
    }
    clock.advance(60);
    drop(sqs);
    let sqs = open(Some(&dir.0), &clock);
    assert_eq!(bodies(&sqs, "jobs"), ["kept", "later"], "a delay ends as it would have");
}

#[test]
fn a_torn_tail_loses_only_what_nobody_was_told_of() {
    let (dir, clock) = (TestDirectory::new("torn"), ManualClock::at(1_000));
    let sqs = open(Some(&dir.0), &clock);
    sqs.create_queue("jobs", NO_ATTRIBUTES).unwrap();
    send(&sqs, "jobs", "first");
    let before = std::fs::metadata(dir.journal()).unwrap().len();
    send(&sqs, "jobs", "last, 天地\n");
    drop(sqs);
    let whole = std::fs::read(dir.journal()).unwrap();
    for cut in usize::try_from(before).unwrap()..=whole.len() {
        std::fs::write(dir.journal(), &whole[..cut]).unwrap();
        let sqs = open(Some(&dir.0), &clock);
        let wanted: &[&str] = if cut == whole.len() { &["first", "last, 天地\n"] } else { &["first"] };
        send(&sqs, "jobs", "new");
        drop(sqs);
        let sqs = open(Some(&dir.0), &clock);
        let found = bodies(&sqs, "jobs");
        assert_eq!(found[..found.len() - 1], *wanted, "cut at {cut} of {}", whole.len());
        assert_eq!(found.last().map(String::as_str), Some("new"), "and writing goes on after {cut}");
    }
}

/// The directory of the child process that is killed.
const CHILD_DIR: &str = "OAHUB_TEST_SQS_DIR";

#[test]
#[ignore = "the child of what_was_acknowledged_survives_kill_9"]
#[expect(clippy::disallowed_methods, reason = "set by the parent")]
fn a_child_that_sends_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let sqs = open(Some(Path::new(&dir)), &ManualClock::at(1_000));
    sqs.create_queue("jobs", NO_ATTRIBUTES).unwrap();
    for number in 0_u64.. {
        send(&sqs, "jobs", &number.to_string());
        println!("\nsent {number}");
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let dir = TestDirectory::new("killed");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "a_child_that_sends_until_it_is_killed"])
        .env(CHILD_DIR, &dir.0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if let Some(number) = line.strip_prefix("sent ").and_then(|text| text.parse::<usize>().ok()) {
            acknowledged = number + 1;
        }
        if acknowledged == 500 {
            child.kill().unwrap(); // SIGKILL; what it says until then is read too
        }
    }
    child.wait().unwrap();
    let sqs = open(Some(&dir.0), &ManualClock::at(1_000));
    let mut found = Vec::new();
    while let more @ [_, ..] = &*bodies(&sqs, "jobs") {
        found.extend_from_slice(more);
    }
    let wanted: Vec<String> = (0..found.len()).map(|number| number.to_string()).collect();
    assert_eq!(found, wanted, "in order and without a gap");
    assert!(acknowledged >= 500 && found.len() >= acknowledged, "{} of {acknowledged}", found.len());
}

#[test]
fn a_journal_that_is_damaged_or_in_use_is_an_error() {
    let (dir, clock) = (TestDirectory::new("damaged"), ManualClock::at(1_000));
    let sqs = open(Some(&dir.0), &clock);
    let again = Sqs::open(Some(&dir.0), Arc::new(clock.clone()), Arc::new(StdRandom::seeded(1)));
    assert_eq!(again.err().map(|e| e.kind()), Some(std::io::ErrorKind::WouldBlock), "one process at a time");
    drop(sqs);
    std::fs::write(dir.journal(), "{\"op\":\"next\",\"seq\":1}\nrubbish\n").unwrap();
    let damaged = Sqs::open(Some(&dir.0), Arc::new(clock.clone()), Arc::new(StdRandom::seeded(1)));
    let message = damaged.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(message.starts_with("sqs.journal, line 2"), "the line is named: {message}");
}

#[test]
fn an_old_receipt_never_touches_a_newer_message() {
    let (dir, clock) = (TestDirectory::new("receipts"), ManualClock::at(1_000));
    let sqs = open(Some(&dir.0), &clock);
    sqs.create_queue("jobs", NO_ATTRIBUTES).unwrap();
    sqs.create_queue("order.fifo", FIFO).unwrap();
    send(&sqs, "jobs", "old");
    let old = receive(&sqs, "jobs").remove(0);
    delete(&sqs, "jobs", &old);
    drop(sqs);
    drop(open(Some(&dir.0), &clock)); // compacted: nothing but the next number tells of the old message
    let sqs = open(Some(&dir.0), &clock);
    send(&sqs, "jobs", "new");
    delete(&sqs, "jobs", &old);
    let first = receive(&sqs, "jobs").remove(0);
    assert_eq!(first["Body"], "new", "a number is used once, over restarts too");
    clock.advance(31);
    let second = receive(&sqs, "jobs").remove(0);
    let hide = |message: &Value| {
        let handle = &message["ReceiptHandle"];
        let request = json!({ "QueueUrl": "jobs", "ReceiptHandle": handle, "VisibilityTimeout": 0 });
        call(&sqs, "ChangeMessageVisibility", request)["status"].clone()
    };
    assert_eq!(hide(&first), 400, "an older receipt does not end a newer one's flight");
    assert_eq!(delete(&sqs, "jobs", &first)["status"], 200, "it is taken by a standard queue");
    assert_eq!(hide(&second), 200, "but deletes nothing");
    assert_eq!(
        delete(&sqs, "order.fifo", &second)["status"],
        400,
        "a receipt is good for its own queue only"
    );
    send(&sqs, "order.fifo", "x");
    let first = receive(&sqs, "order.fifo").remove(0);
    clock.advance(31);
    assert_eq!(delete(&sqs, "order.fifo", &first)["status"], 400, "a FIFO queue refuses an expired receipt");
    let second = receive(&sqs, "order.fifo").remove(0);
    assert_eq!(delete(&sqs, "order.fifo", &first)["status"], 400, "and an older one");
    assert_eq!(delete(&sqs, "order.fifo", &second)["status"], 200, "but takes the newest");
}

#[test]
fn time_passes_by_the_clock_alone() {
    let clock = ManualClock::at(1_000);
    let sqs = open(None, &clock);
    sqs.create_queue("jobs", [("MessageRetentionPeriod", "60"), ("DelaySeconds", "5")]).unwrap();
    sqs.create_queue("order.fifo", FIFO).unwrap();
    send(&sqs, "jobs", "x");
    let first = send(&sqs, "order.fifo", "x");
    let rows = [
        ("a queue's delay holds", 4_999, 0),
        ("and ends to the millisecond", 1, 1),
        ("visibility holds", 29_999, 0),
        ("and ends", 1, 1),
        ("retention ends even in flight", 25_000, 0),
        ("and nothing comes back", 60_000, 0),
    ];
    for (what, ms, count) in rows {
        clock.advance_ms(ms);
        assert_eq!(receive(&sqs, "jobs").len(), count, "{what}");
    }
    clock.advance_ms(300_000 - 120_000 - 1);
    assert_eq!(send(&sqs, "order.fifo", "x")["MessageId"], first["MessageId"], "five minutes less 1 ms");
    clock.advance_ms(1);
    assert_ne!(send(&sqs, "order.fifo", "x")["MessageId"], first["MessageId"], "five minutes");
}

#[test]
fn checksums_are_those_of_sqs() {
    let sqs = open(None, &ManualClock::at(1_000));
    sqs.create_queue("jobs", NO_ATTRIBUTES).unwrap();
    let request = json!({
        "QueueUrl": "jobs",
        "MessageBody": "hello",
        "MessageAttributes": { "a": { "DataType": "String", "StringValue": "b" } },
    });
    let sent = call(&sqs, "SendMessage", request);
    assert_eq!(sent["MD5OfMessageBody"], "5d41402abc4b2a76b9719d911017c592", "of the body");
    assert_eq!(
        sent["MD5OfMessageAttributes"], "bef8bf215374a0a228d67533b1a488be",
        "of 00000001 a 00000006 String 01 00000001 b"
    );
}
