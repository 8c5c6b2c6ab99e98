//! Event source mappings: what Lambda does between a queue and a function. Receives batches, calls, deletes
//! what is done, leaves what failed to its visibility timeout.

use std::{collections::HashSet, sync::Arc, time::Duration};

use aws_sdk_sqs::{
    Client,
    types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName},
};
use serde_json::{Map, Value, json};
use tokio::{sync::watch, task::JoinSet};

use crate::gateway::Target;

/// SQS's own limit for a long poll, seconds.
const LONG_POLL_SECONDS: i32 = 20;
/// After a failed receive.
const PAUSE: Duration = Duration::from_millis(500);

/// One mapping.
pub struct Mapping {
    /// The SDK's client.
    pub sqs: Client,
    /// The queue.
    pub queue_url: String,
    /// Messages in one invocation, at most.
    pub batch_size: i32,
    /// Invocations at once, at most.
    pub concurrency: usize,
    /// Whom it calls.
    pub target: Target,
}

/// Starts a mapping; its tasks end when `stop` says so, after what is in flight.
pub fn start(mapping: Mapping, stop: &watch::Receiver<bool>, tasks: &mut JoinSet<()>) {
    let mapping = Arc::new(mapping);
    for _ in 0..mapping.concurrency {
        let (mapping, stop) = (Arc::clone(&mapping), stop.clone());
        tasks.spawn(async move { poll(&mapping, stop).await });
    }
}

async fn poll(mapping: &Mapping, mut stop: watch::Receiver<bool>) {
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
                let messages = received.messages.unwrap_or_default();
                if !messages.is_empty() {
                    invoke(mapping, messages).await;
                }
            }
            Err(error) => {
                let error = shared::error::sdk_error(&error);
                tracing::warn!(queue = mapping.queue_url, error, "a queue could not be read: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn invoke(mapping: &Mapping, messages: Vec<Message>) {
    let event = json!({"Records": messages.iter().map(|m| record(mapping, m)).collect::<Vec<_>>()});
    let target = mapping.target.clone();
    let name = target.name.clone();
    // a task of its own: a panic fails this batch alone
    let call =
        tokio::spawn(async move { tokio::time::timeout(target.timeout, target.code.call(event)).await });
    let answer = match call.await {
        Ok(Ok(Ok(answer))) => answer,
        Ok(Ok(Err(error))) => return tracing::error!(function = name, %error, "{name} failed: {error}"),
        Ok(Err(_)) => return tracing::error!(function = name, "{name} timed out"),
        Err(error) => return tracing::error!(function = name, %error, "{name} panicked"),
    };
    let failures = answer.get("batchItemFailures").and_then(Value::as_array).into_iter().flatten();
    let failed: HashSet<&str> = failures.filter_map(|f| f.get("itemIdentifier")?.as_str()).collect();
    let done: Vec<_> =
        messages.iter().filter(|m| !failed.contains(m.message_id().unwrap_or_default())).collect();
    if let Err(error) = delete(mapping, &done).await {
        tracing::warn!(function = name, error, "done messages will come again: {error}");
    }
}

async fn delete(mapping: &Mapping, done: &[&Message]) -> Result<(), String> {
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
    request.send().await.map(drop).map_err(|e| shared::error::sdk_error(&e))
}

fn record(mapping: &Mapping, message: &Message) -> Value {
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
