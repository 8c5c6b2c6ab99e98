//! Random histories of sends, receives, deletes, waits and restarts, compared with a model: a plain list.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as the tests do")]

use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use local_sqs::{Sqs, protocol};
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::clock::{Clock, ManualClock};
use shared::random::StdRandom;

#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    Receive(usize),
    Delete(usize),
    GiveBack(usize),
    Wait(i64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_usize).prop_map(Step::Send),
        4 => (1..=10_usize).prop_map(Step::Receive),
        4 => any::<usize>().prop_map(Step::Delete),
        2 => any::<usize>().prop_map(Step::GiveBack),
        2 => (0..40_000_i64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

/// A message in the model.
struct ModelMessage {
    group: usize,
    alive: bool,
    /// In flight until then.
    until: i64,
    receipt: Value,
}

struct QueueAndModel<'a> {
    dir: &'a Path,
    queue: &'static str,
    fifo: bool,
    clock: ManualClock,
    sqs: Option<Sqs>,
    items: Vec<ModelMessage>,
}

impl QueueAndModel<'_> {
    fn open(&mut self) {
        self.sqs = None; // releases the directory's lock first
        let random = Arc::new(StdRandom::seeded(self.items.len() as u64));
        self.sqs = Some(Sqs::open(Some(self.dir), Arc::new(self.clock.clone()), random).unwrap());
    }

    fn call(&self, action: &str, mut request: Value) -> (u16, Value) {
        request.as_object_mut().unwrap().insert("QueueUrl".into(), self.queue.into());
        let body = request.to_string();
        let target = format!("AmazonSQS.{action}");
        let answer = protocol::handle(self.sqs.as_ref().unwrap(), &target, body.as_bytes());
        let (status, _, body) = answer.now_or_never().unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    fn send(&mut self, group: usize) {
        let body = self.items.len().to_string();
        let mut request = json!({ "MessageBody": body });
        if self.fifo {
            request = json!({ "MessageBody": body, "MessageGroupId": group.to_string() });
        }
        assert_eq!(self.call("SendMessage", request).0, 200);
        self.items.push(ModelMessage { group, alive: true, until: 0, receipt: Value::Null });
    }

    fn receive(&mut self, max: usize) {
        let now = self.now();
        let request = json!({ "MaxNumberOfMessages": max, "WaitTimeSeconds": 0 });
        let (_, answer) = self.call("ReceiveMessage", request);
        let none = Vec::new();
        let messages = answer.get("Messages").and_then(Value::as_array).unwrap_or(&none);
        let found: Vec<usize> = messages
            .iter()
            .map(|m| m.get("Body").and_then(Value::as_str).unwrap().parse().unwrap())
            .collect();
        let locked = |group: usize| self.items.iter().any(|i| i.alive && i.group == group && i.until > now);
        let free: Vec<usize> = (0..self.items.len())
            .filter(|&n| {
                let item = self.items.get(n).unwrap();
                item.alive && item.until <= now && !(self.fifo && locked(item.group))
            })
            .collect();
        assert!(found.iter().all(|n| free.contains(n)), "{found:?} of {free:?}: only what is free comes");
        assert_eq!(found.len(), max.min(free.len()), "{found:?} of {free:?}: and as much as there is");
        if self.fifo {
            for group in 0..3 {
                let of = |list: &[usize]| -> Vec<usize> {
                    list.iter().copied().filter(|&n| self.items.get(n).unwrap().group == group).collect()
                };
                assert!(of(&free).starts_with(&of(&found)), "{found:?} of {free:?}: group {group} in order");
            }
        }
        for (n, message) in found.into_iter().zip(messages) {
            let item = self.items.get_mut(n).unwrap();
            item.until = now + 30_000;
            item.receipt = message.get("ReceiptHandle").cloned().unwrap();
        }
    }

    /// Uses the newest receipt of a message that was received before.
    fn use_receipt(&mut self, pick: usize, delete: bool) {
        let now = self.now();
        let Some(n) = pick.checked_rem(self.items.len()) else { return };
        let item = self.items.get(n).unwrap();
        if item.receipt.is_null() {
            return;
        }
        let held = item.alive && item.until > now;
        let (status, wanted) = if delete {
            let request = json!({ "ReceiptHandle": item.receipt });
            (self.call("DeleteMessage", request).0, !self.fifo || !item.alive || held)
        } else {
            let request = json!({ "ReceiptHandle": item.receipt, "VisibilityTimeout": 0 });
            (self.call("ChangeMessageVisibility", request).0, held)
        };
        assert_eq!(status == 200, wanted, "message {n}, delete {delete}, held {held}");
        let item = self.items.get_mut(n).unwrap();
        match delete {
            true if wanted => item.alive = false,
            false if wanted => item.until = 0,
            _ => {}
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Send(group) => self.send(group),
            Step::Receive(max) => self.receive(max),
            Step::Delete(pick) => self.use_receipt(pick, true),
            Step::GiveBack(pick) => self.use_receipt(pick, false),
            Step::Wait(ms) => self.clock.advance_ms(ms),
            Step::Restart => {
                self.open();
                self.items.iter_mut().for_each(|item| item.until = 0);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn queues_do_as_a_plain_list_would(fifo: bool, steps in prop::collection::vec(step(), 1..80)) {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sqs-model");
        let _ = std::fs::remove_dir_all(&dir);
        let queue = if fifo { "model.fifo" } else { "model" };
        let clock = ManualClock::at(1_000);
        let mut world = QueueAndModel { dir: &dir, queue, fifo, clock, sqs: None, items: Vec::new() };
        world.open();
        let attributes = [("FifoQueue", "true"), ("ContentBasedDeduplication", "true")];
        let attributes = attributes.into_iter().filter(|_| fifo);
        world.sqs.as_ref().unwrap().create_queue(queue, attributes).unwrap();
        steps.iter().for_each(|step| world.run(step));
    }
}
