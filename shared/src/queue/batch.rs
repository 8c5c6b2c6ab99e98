//! Handles a batch item by item: failed jobs are received again, done ones are not.

use std::collections::BTreeMap;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use futures::{StreamExt, stream};
use serde::de::DeserializeOwned;

use crate::error::serde_error_text;

/// Why a job failed that no code here handles.
pub const UNKNOWN_JOB: &str = "it is no job that this release knows";
const BLOCKED_IN_GROUP: &str = "it waits behind one of its group that failed";

/// One message of a batch.
#[derive(Debug, Clone)]
pub struct ReceivedJob<T> {
    /// The job; [`None`] where this version does not know the body.
    pub job: Option<T>,
    /// The job as the queue has it.
    pub body: String,
    /// SQS's id, for the response to SQS.
    pub message_id: String,
    /// For [`super::Queues::postpone_send`] and the like.
    pub receipt_handle: String,
    /// A FIFO queue's group; empty on a standard queue.
    pub group: String,
    /// How often it has been received, this time included.
    pub receive_count: u32,
    /// When it came into the queue, unix milliseconds.
    pub sent_at: Option<i64>,
}

impl<T> ReceivedJob<T> {
    /// The job, and its message without it.
    pub fn split(self) -> (Option<T>, ReceivedJob<()>) {
        let Self { job, body, message_id, receipt_handle, group, receive_count, sent_at } = self;
        (job, ReceivedJob { job: None, body, message_id, receipt_handle, group, receive_count, sent_at })
    }
}

/// A job that was not done.
#[derive(Debug, Clone)]
pub struct FailedJob {
    /// Its message.
    pub item: ReceivedJob<()>,
    /// What stopped it, without the content of the job.
    pub why: String,
}

impl FailedJob {
    /// A job that could not be read, or that belongs to another queue.
    #[must_use]
    pub fn unknown(item: ReceivedJob<()>) -> Self {
        Self { item, why: UNKNOWN_JOB.to_owned() }
    }

    /// A job that was not tried, because one before it in its group failed.
    #[must_use]
    pub fn blocked_in_group(item: ReceivedJob<()>) -> Self {
        Self { item, why: BLOCKED_IN_GROUP.to_owned() }
    }
}

/// Reads a batch. An unknown body stays in the queue and ends among the dead letters, where an
/// operator sees it.
#[must_use]
pub fn read_batch<T: DeserializeOwned>(event: SqsEvent) -> Vec<ReceivedJob<T>> {
    event.records.into_iter().map(read_message).collect()
}

fn read_message<T: DeserializeOwned>(message: SqsMessage) -> ReceivedJob<T> {
    let attribute = |name: &str| message.attributes.get(name).cloned().unwrap_or_default();
    let body = message.body.unwrap_or_default();
    let job = serde_json::from_str(&body)
        .inspect_err(|error| {
            let why = serde_error_text(error); // serde's own text quotes the job
            tracing::error!(why, "a job could not be read: {why}");
        })
        .ok();
    // on a standard queue the group is only a fair-share group
    let fifo = message.attributes.contains_key("SequenceNumber");
    ReceivedJob {
        job,
        group: if fifo { attribute("MessageGroupId") } else { String::new() },
        receive_count: attribute("ApproximateReceiveCount").parse().unwrap_or(1),
        body,
        sent_at: attribute("SentTimestamp").parse().ok(),
        message_id: message.message_id.unwrap_or_default(),
        receipt_handle: message.receipt_handle.unwrap_or_default(),
    }
}

/// Runs `handle` on every job, at most `concurrency` at a time; jobs of one FIFO group one after the other,
/// and none after one that failed. `handle` returns why a job failed. Returns the failed jobs.
pub async fn run_each<T, F>(
    items: Vec<ReceivedJob<T>>,
    concurrency: usize,
    handle: impl Fn(T, ReceivedJob<()>) -> F,
) -> Vec<FailedJob>
where
    F: Future<Output = Result<(), String>>,
{
    let mut groups: BTreeMap<String, Vec<ReceivedJob<T>>> = BTreeMap::new();
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
                match item.split() {
                    (_, item) if !failed.is_empty() => failed.push(FailedJob::blocked_in_group(item)),
                    (None, item) => failed.push(FailedJob::unknown(item)),
                    (Some(job), item) => {
                        if let Err(why) = handle(job, item.clone()).await {
                            failed.push(FailedJob { item, why });
                        }
                    }
                }
            }
            failed
        })
        .buffer_unordered(concurrency.max(1))
        .concat()
        .await
}
