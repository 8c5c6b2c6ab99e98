//! Event source mappings: Lambda between a queue and a function. Receives batches, invokes, deletes
//! processed messages, and leaves failed ones to their visibility timeout.
//!
//! # Source
//! Lambda developer guide, "Using Lambda with Amazon SQS", "Handling errors for an SQS event source".

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_sqs::{
    Client,
    types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName},
};
use serde_json::{Map, Value, json};
use tokio::{sync::watch, task::JoinSet};

use crate::lambda::{FunctionTarget, InvocationError, chain::Chain};

/// SQS's own limit for a long poll, seconds.
const LONG_POLL_SECONDS: i32 = 20;
/// After a failed receive.
const RECEIVE_RETRY_PAUSE: Duration = Duration::from_millis(500);
/// After a throttled invocation; doubled after each further one of the same batch, up to [`MAX_THROTTLED_PAUSE`].
const THROTTLED_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two tries of a throttled invocation.
const MAX_THROTTLED_PAUSE: Duration = Duration::from_secs(5);
/// Lambda's limit of an event. A larger batch is split.
const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;

/// One mapping.
pub struct EventSourceMapping {
    /// The SDK's client.
    pub sqs: Client,
    /// The queue.
    pub queue_url: String,
    /// The queue's visibility timeout.
    pub visibility_timeout: Duration,
    /// Messages in one invocation, at most.
    pub batch_size: i32,
    /// Invocations at once, at most.
    pub concurrency: usize,
    /// `ReportBatchItemFailures`.
    pub item_failures: bool,
    /// The function that it invokes.
    pub target: FunctionTarget,
}

/// Starts a mapping; after `stop`, its tasks finish their batch and end.
pub fn start(mapping: EventSourceMapping, stop: &watch::Receiver<bool>, tasks: &mut JoinSet<()>) {
    let mapping = Arc::new(mapping);
    for _ in 0..mapping.concurrency {
        let (mapping, stop) = (Arc::clone(&mapping), stop.clone());
        tasks.spawn(async move { poll(&mapping, stop).await });
    }
}

async fn poll(mapping: &EventSourceMapping, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let receive = mapping
            .sqs
            .receive_message()
            .queue_url(&mapping.queue_url)
            .max_number_of_messages(mapping.batch_size.clamp(1, 10))
            .wait_time_seconds(LONG_POLL_SECONDS)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send();
        let received = tokio::select! {
            received = receive => received,
            _ = stop.changed() => return,
        };
        match received {
            Ok(received) => {
                let since = Instant::now();
                for batch in split_into_batches(mapping, received.messages.unwrap_or_default()) {
                    invoke(mapping, batch, since, &mut stop).await;
                }
            }
            Err(error) => {
                let error = shared::error::sdk_error_text(&error);
                tracing::warn!(queue = mapping.queue_url, error, "a queue could not be read: {error}");
                tokio::time::sleep(RECEIVE_RETRY_PAUSE).await;
            }
        }
    }
}

/// Messages for one invocation.
#[derive(Default)]
struct InvocationBatch {
    messages: Vec<Message>,
    records: Vec<Value>,
    bytes: usize,
    chain: Chain,
}

/// Splits received messages into invocations. A message whose chain is stopped is left out: SQS delivers it
/// again until it is dead-lettered. AWS does not document what else of its batch it drops.
fn split_into_batches(mapping: &EventSourceMapping, messages: Vec<Message>) -> Vec<InvocationBatch> {
    let mut batches: Vec<InvocationBatch> = Vec::new();
    for message in messages {
        let header = message.attributes().and_then(|a| a.get(&MessageSystemAttributeName::AwsTraceHeader));
        let chain = header.map(|header| Chain::parse(header)).unwrap_or_default();
        let target = &mapping.target;
        if target.stops_chain(&chain) {
            let (function, count) = (&target.name, chain.count(&target.name));
            tracing::error!(
                function,
                "{function} was called {count} times in one chain, which ends here: template.yaml does not say `RecursiveLoop: Allow`"
            );
            continue;
        }
        let record = event_record(mapping, &message);
        let bytes = record.to_string().len();
        match batches.last_mut().filter(|batch| batch.bytes + bytes <= MAX_EVENT_BYTES) {
            Some(batch) => batch.add(message, record, bytes, &chain),
            None => {
                let mut batch = InvocationBatch::default();
                batch.add(message, record, bytes, &chain);
                batches.push(batch);
            }
        }
    }
    batches
}

impl InvocationBatch {
    fn add(&mut self, message: Message, record: Value, bytes: usize, chain: &Chain) {
        self.messages.push(message);
        self.records.push(record);
        self.bytes += bytes;
        self.chain = std::mem::take(&mut self.chain).merge(chain);
    }
}

/// Invokes the function, retrying while it is throttled and the messages are invisible; after that SQS delivers them
/// again with a higher receive count.
async fn invoke(
    mapping: &EventSourceMapping,
    batch: InvocationBatch,
    since: Instant,
    stop: &mut watch::Receiver<bool>,
) {
    let InvocationBatch { messages, records, chain, .. } = batch;
    let event = json!({"Records": records});
    let (target, name) = (&mapping.target, &mapping.target.name);
    let mut pause = THROTTLED_PAUSE;
    let answer = loop {
        match target.invoke(event.clone(), &chain).await {
            Ok(answer) => break answer,
            Err(InvocationError::Throttled) if since.elapsed() + pause < mapping.visibility_timeout => {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stop.changed() => return,
                }
                pause = (pause * 2).min(MAX_THROTTLED_PAUSE);
            }
            Err(failure) => return tracing::error!(function = name, "{name} {failure}"),
        }
    };
    let ids: Vec<&str> = messages.iter().map(|m| m.message_id().unwrap_or_default()).collect();
    let failed = match mapping.item_failures {
        true => failed_messages(&answer, &ids),
        false => Ok(HashSet::new()),
    };
    let failed = match failed {
        Ok(failed) => failed,
        Err(why) => {
            return tracing::error!(function = name, "{name} answered {why}: its whole batch comes again");
        }
    };
    let done: Vec<_> =
        messages.iter().filter(|m| !failed.contains(m.message_id().unwrap_or_default())).collect();
    if let Err(error) = delete_messages(mapping, &done).await {
        tracing::warn!(function = name, error, "done messages will come again: {error}");
    }
}

/// Which of the messages `ids` failed: none if the result names none. A result that names a message not
/// in the batch, or that is malformed, fails all of them.
///
/// # Errors
/// Why the whole batch fails.
pub fn failed_messages<'a>(answer: &'a Value, ids: &[&str]) -> Result<HashSet<&'a str>, String> {
    let failures = match answer.get("batchItemFailures") {
        None | Some(Value::Null) => return Ok(HashSet::new()),
        Some(Value::Array(failures)) => failures,
        Some(_) => return Err("batchItemFailures that are no list".into()),
    };
    let known = |failure: &'a Value| {
        let id = failure.get("itemIdentifier").and_then(Value::as_str).unwrap_or_default();
        if ids.contains(&id) { Ok(id) } else { Err(format!("a message that it was not given ({id:?})")) }
    };
    failures.iter().map(known).collect()
}

async fn delete_messages(mapping: &EventSourceMapping, done: &[&Message]) -> Result<(), String> {
    if done.is_empty() {
        return Ok(());
    }
    let entry = |(n, message): (usize, &&Message)| {
        DeleteMessageBatchRequestEntry::builder()
            .id(n.to_string())
            .receipt_handle(message.receipt_handle().unwrap_or_default())
            .build()
            .map_err(|e| e.to_string())
    };
    let entries = done.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
    let request = mapping.sqs.delete_message_batch().queue_url(&mapping.queue_url).set_entries(Some(entries));
    request.send().await.map(drop).map_err(|e| shared::error::sdk_error_text(&e))
}

fn event_record(mapping: &EventSourceMapping, message: &Message) -> Value {
    let attributes: Map<String, Value> = message
        .attributes()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str().to_owned(), Value::String(value.clone())))
        .collect();
    json!({
        "messageId": message.message_id(),
        "receiptHandle": message.receipt_handle(),
        "body": message.body(),
        "attributes": attributes,
        "messageAttributes": {},
        "md5OfBody": message.md5_of_body(),
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{}", mapping.queue_url.rsplit('/').next().unwrap_or_default()),
        "awsRegion": "us-east-1",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_which_messages_come_again() {
        let of = |ids: &[&str]| {
            let failures: Vec<_> = ids.iter().map(|id| json!({"itemIdentifier": id})).collect();
            json!({"batchItemFailures": failures})
        };
        for (what, answer, failed) in [
            ("nothing at all", Value::Null, Some(&[][..])),
            ("an empty object", json!({}), Some(&[])),
            ("null", json!({"batchItemFailures": null}), Some(&[])),
            ("an empty list", of(&[]), Some(&[])),
            ("one of them", of(&["b"]), Some(&["b"])),
            ("one of them twice", of(&["b", "b"]), Some(&["b"])),
            ("one that was not in the batch", of(&["b", "x"]), None),
            ("an empty id", of(&[""]), None),
            ("an id that is null", json!({"batchItemFailures": [{"itemIdentifier": null}]}), None),
            ("another name for it", json!({"batchItemFailures": [{"id": "b"}]}), None),
            ("no list", json!({"batchItemFailures": "b"}), None),
        ] {
            let got = failed_messages(&answer, &["a", "b"]).ok();
            assert_eq!(got, failed.map(|ids| ids.iter().copied().collect()), "{what}");
        }
    }
}
