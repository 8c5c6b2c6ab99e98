//! Answering a batch item by item: what failed comes again, what is done does not.

use std::collections::BTreeMap;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use futures::{StreamExt, stream};
use serde::de::DeserializeOwned;

use crate::error::unreadable;

/// One message of a batch.
#[derive(Debug, Clone)]
pub struct Item<T> {
    /// The job; [`None`] where the body is no job that this version knows.
    pub job: Option<T>,
    /// SQS's id, for the answer.
    pub message_id: String,
    /// For [`super::Queues::postpone_send`] and its kin.
    pub receipt_handle: String,
    /// A FIFO queue's group; empty on a standard queue.
    pub group: String,
    /// How often it has been received, this time included.
    pub receive_count: u32,
}

impl<T> Item<T> {
    /// The job, and what is known about its message.
    pub fn split(self) -> (Option<T>, Item<()>) {
        let Self { job, message_id, receipt_handle, group, receive_count } = self;
        (job, Item { job: None, message_id, receipt_handle, group, receive_count })
    }
}

/// Reads a batch. A body that is no known job stays in the queue and ends in the dead-letter queue, where an
/// operator sees it.
#[must_use]
pub fn items<T: DeserializeOwned>(event: SqsEvent) -> Vec<Item<T>> {
    event.records.into_iter().map(item).collect()
}

fn item<T: DeserializeOwned>(message: SqsMessage) -> Item<T> {
    let attribute = |name: &str| message.attributes.get(name).cloned().unwrap_or_default();
    let job = message.body.as_deref().and_then(|body| {
        serde_json::from_str(body)
            .inspect_err(|error| {
                let why = unreadable(error); // serde's own text quotes the job
                tracing::error!(why, "a job could not be read: {why}");
            })
            .ok()
    });
    // on a standard queue a group is only whose share a job takes
    let fifo = message.attributes.contains_key("SequenceNumber");
    Item {
        job,
        group: if fifo { attribute("MessageGroupId") } else { String::new() },
        receive_count: attribute("ApproximateReceiveCount").parse().unwrap_or(1),
        message_id: message.message_id.unwrap_or_default(),
        receipt_handle: message.receipt_handle.unwrap_or_default(),
    }
}

/// Runs `handle` on every item, at most `concurrency` at a time; items of one FIFO group one after the other,
/// and none after one that failed. `handle` says whether the item is done. Answers the ids of those that are
/// not.
pub async fn each<T, F>(
    items: Vec<Item<T>>,
    concurrency: usize,
    handle: impl Fn(T, Item<()>) -> F,
) -> Vec<String>
where
    F: Future<Output = bool>,
{
    let mut groups: BTreeMap<String, Vec<Item<T>>> = BTreeMap::new();
    for item in items {
        let key =
            if item.group.is_empty() { format!("alone {}", item.message_id) } else { item.group.clone() };
        groups.entry(key).or_default().push(item);
    }
    let handle = &handle;
    stream::iter(groups.into_values())
        .map(|group| async move {
            let mut failed = Vec::new();
            for item in group {
                let Item { job, message_id, receipt_handle, group, receive_count } = item;
                let about =
                    Item { job: None, message_id: message_id.clone(), receipt_handle, group, receive_count };
                let done = match job {
                    Some(job) if failed.is_empty() => handle(job, about).await,
                    _ => false,
                };
                if !done {
                    failed.push(message_id);
                }
            }
            failed
        })
        .buffer_unordered(concurrency.max(1))
        .concat()
        .await
}
