//! Event source mappings: receive, invoke, delete what was handled. Batches of standard queues may be
//! delivered twice, at the same time or later, and a deletion may be lost.

use local::{
    event_source_mapping::failed_messages,
    lambda::chain::{self, Chain},
    template::EventSpec,
};
use local_sqs::{Sqs, protocol};
use serde_json::{Value, json};

use crate::{deployment::SimulatedDeployment, dynamo::text_of, faults::Fault, rare_states::RareState};

/// One mapping.
struct QueueMapping {
    queue: String,
    batch: u32,
    function: String,
    recursive: bool,
}

impl SimulatedDeployment {
    fn mappings(&self) -> Vec<QueueMapping> {
        let mut all = Vec::new();
        for function in &self.template.functions {
            for event in &function.events {
                if let EventSpec::Sqs { queue, batch_size, .. } = event {
                    let spec = self.template.queues.iter().find(|q| q.logical_id == *queue).unwrap();
                    all.push(QueueMapping {
                        queue: spec.name.clone(),
                        batch: u32::try_from(*batch_size).unwrap(),
                        function: function.name.clone(),
                        recursive: function.recursive,
                    });
                }
            }
        }
        all
    }

    /// The URL of a queue, from its logical id.
    pub fn queue_url(&self, logical_id: &str) -> String {
        let spec = self.template.queues.iter().find(|queue| queue.logical_id == logical_id).unwrap();
        Sqs::queue_url(&spec.name)
    }

    /// A request to SQS without a function's rights.
    pub async fn sqs(&self, action: &str, body: Value) -> Value {
        let target = format!("AmazonSQS.{action}");
        let (status, _, answer) =
            protocol::handle(&self.backends.sqs, &target, body.to_string().as_bytes()).await;
        let answer = serde_json::from_slice(&answer).unwrap();
        assert_eq!(status, 200, "{action}: {answer}");
        answer
    }

    /// Processes up to `batches` batches of each queue, concurrently, in random order. Returns how many came.
    pub async fn process_batches(&self, batches: u32) -> usize {
        let mut mappings = self.mappings();
        for n in (1..mappings.len()).rev() {
            let other = self.backends.faults.random_below(u32::try_from(n).unwrap() + 1) as usize;
            mappings.swap(n, other);
        }
        let every = mappings.iter().flat_map(|m| (0..batches).map(move |_| self.process_batch(m)));
        futures::future::join_all(every).await.into_iter().filter(|came| *came).count()
    }

    async fn process_batch(&self, mapping: &QueueMapping) -> bool {
        let faults = &self.backends.faults;
        let request = json!({
            "QueueUrl": Sqs::queue_url(&mapping.queue), "WaitTimeSeconds": 0,
            "MaxNumberOfMessages": 1 + faults.random_below(mapping.batch), "MessageSystemAttributeNames": ["All"],
        });
        let answer = self.sqs("ReceiveMessage", request).await;
        let Some(messages) = answer["Messages"].as_array().filter(|m| !m.is_empty()) else { return false };
        let chains =
            messages.iter().map(|m| Chain::parse(text_of(&m["Attributes"], "AWSTraceHeader").as_str()));
        let chain = chains.fold(Chain::default(), |longest, chain| longest.merge(&chain));
        if !mapping.recursive && chain.count(&mapping.function) >= chain::MAX_INVOCATIONS_IN_CHAIN {
            return true; // Lambda drops the batch: the chain is too long
        }
        if !mapping.queue.ends_with(".fifo") {
            let unfair = messages.iter().filter_map(|message| strange_group(&mapping.queue, message));
            self.violations.lock().unwrap().extend(unfair);
        }
        let event = json!({"Records": messages.iter().map(sqs_record).collect::<Vec<_>>()});
        let fault = faults.draw(&[Fault::DeletionLost, Fault::BatchTwice, Fault::BatchLate]);
        // a FIFO queue delivers nothing of a group while a batch of it is handled
        let fault = fault.filter(|fault| *fault == Fault::DeletionLost || !mapping.queue.ends_with(".fifo"));
        if fault == Some(Fault::BatchLate) {
            self.late_batches.lock().unwrap().push((mapping.function.clone(), event.clone()));
        }
        let answer = if fault == Some(Fault::BatchTwice) {
            self.backends.rare_states.reached(RareState::BatchTwiceAtOnce);
            let twice = (
                self.invoke_in(&chain, &mapping.function, event.clone()),
                self.invoke_in(&chain, &mapping.function, event),
            );
            let (first, second) = futures::future::join(twice.0, twice.1).await;
            first.or(second)
        } else {
            self.invoke_in(&chain, &mapping.function, event).await
        };
        let Some((answer, _)) = answer else { return true };
        let ids: Vec<_> = messages.iter().map(|m| m["MessageId"].as_str().unwrap()).collect();
        let failed = match failed_messages(&answer, &ids) {
            Ok(failed) => failed,
            Err(why) => {
                self.violations.lock().unwrap().push(format!("{} answered {why}", mapping.function));
                return true;
            }
        };
        if fault == Some(Fault::DeletionLost) {
            return true;
        }
        for message in messages.iter().filter(|m| !failed.contains(m["MessageId"].as_str().unwrap())) {
            let done = json!({"QueueUrl": Sqs::queue_url(&mapping.queue), "ReceiptHandle": message["ReceiptHandle"]});
            self.sqs("DeleteMessage", done).await;
        }
        true
    }

    /// Delivers batches again that were delivered before.
    pub async fn redeliver_batches(&self) {
        let replays = std::mem::take(&mut *self.late_batches.lock().unwrap());
        for (function, event) in replays {
            self.invoke(&function, event).await;
        }
    }

    /// How many messages are waiting and how many are dead letters.
    pub async fn queue_depths(&self) -> (u64, u64) {
        let (mut open, mut dead) = (0, 0);
        for queue in &self.template.queues {
            let request = json!({"QueueUrl": Sqs::queue_url(&queue.name), "AttributeNames": ["All"]});
            let attributes = self.sqs("GetQueueAttributes", request).await;
            let number = |name: &str| {
                let number = attributes["Attributes"][name].as_str().unwrap_or("0");
                number.parse::<u64>().unwrap()
            };
            let all = number("ApproximateNumberOfMessages")
                + number("ApproximateNumberOfMessagesNotVisible")
                + number("ApproximateNumberOfMessagesDelayed");
            if queue.name.contains("DeadLetters") { dead += all } else { open += all }
        }
        if dead > 0 {
            self.backends.rare_states.reached(RareState::DeadLetter);
        }
        (open, dead)
    }
}

/// What is wrong with the group of a message in a standard queue: SQS shares the queue fairly among groups, so the
/// job of a tenant has to be in its tenant's.
fn strange_group(queue: &str, message: &Value) -> Option<String> {
    let body: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap_or_default();
    let (tenant, group) = (body["tenant_id"].as_str()?, text_of(&message["Attributes"], "MessageGroupId"));
    (group != tenant).then(|| format!("{queue} has {} of {tenant} in the group {group:?}", body["type"]))
}

fn sqs_record(message: &Value) -> Value {
    json!({
        "messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"], "body": message["Body"],
        "attributes": message["Attributes"], "messageAttributes": {}, "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:queue",
        "awsRegion": "us-east-1",
    })
}
