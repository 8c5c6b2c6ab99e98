//! Handles a batch item by item: failed jobs are received again, done ones are not.

use std::collections::BTreeMap;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use futures::{StreamExt, stream};
use serde::{Deserialize, de::DeserializeOwned};
use tracing::{Instrument, Span};

use crate::error::serde_error_text;

/// Why a job failed that no code here handles.
const UNKNOWN_JOB: &str = "it is no job that this release knows";
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
    /// Adds the job's type and ids to each line of the log that is written in it.
    pub span: Span,
}

impl<T> ReceivedJob<T> {
    /// The job, and its message without it.
    pub fn split(self) -> (Option<T>, ReceivedJob<()>) {
        let Self { job, body, message_id, receipt_handle, group, receive_count, sent_at, span } = self;
        (
            job,
            ReceivedJob { job: None, body, message_id, receipt_handle, group, receive_count, sent_at, span },
        )
    }
}

impl ReceivedJob<()> {
    /// The message of `job`, as before [`ReceivedJob::split`].
    pub fn with<T>(self, job: Option<T>) -> ReceivedJob<T> {
        let Self { body, message_id, receipt_handle, group, receive_count, sent_at, span, .. } = self;
        ReceivedJob { job, body, message_id, receipt_handle, group, receive_count, sent_at, span }
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
    let span = job_span(&body);
    let job = serde_json::from_str(&body)
        .inspect_err(|error| {
            let why = serde_error_text(error); // serde's own text quotes the job
            tracing::error!(parent: &span, why, "a job could not be read: {why}");
        })
        .ok();
    // on a standard queue the group is only a fair-share group
    let fifo = message.attributes.contains_key("SequenceNumber");
    ReceivedJob {
        job,
        span,
        group: if fifo { attribute("MessageGroupId") } else { String::new() },
        receive_count: attribute("ApproximateReceiveCount").parse().unwrap_or(1),
        body,
        sent_at: attribute("SentTimestamp").parse().ok(),
        message_id: message.message_id.unwrap_or_default(),
        receipt_handle: message.receipt_handle.unwrap_or_default(),
    }
}

/// The members that name a job in the log: all jobs spell them alike. No openid is among them.
#[derive(Default, Deserialize)]
struct JobLabels {
    #[serde(rename = "type")]
    job_type: Option<String>,
    tenant_id: Option<String>,
    app_id: Option<String>,
    import_id: Option<String>,
    message_id: Option<String>,
    wechat_msg_id: Option<String>,
}

/// The span of a job. Its level is that of errors: a filter such as `warn` keeps its fields.
fn job_span(body: &str) -> Span {
    let labels: JobLabels = serde_json::from_str(body).unwrap_or_default();
    let JobLabels { job_type, tenant_id, app_id, import_id, message_id, wechat_msg_id } = labels;
    tracing::error_span!("job", job_type, tenant_id, app_id, import_id, message_id, wechat_msg_id)
}

/// Runs `handle` on every job within its span, at most `concurrency` at a time; jobs of one FIFO group one
/// after the other, and none after one that failed. `handle` returns why a job failed. Returns the failed jobs.
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
                        let handled = handle(job, item.clone()).instrument(item.span.clone());
                        if let Err(why) = handled.await {
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

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::{Value, json};
    use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt};

    use super::*;
    use crate::{queue::jobs::SendJob, telemetry};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_a_job_writes_has_the_jobs_ids_beside_its_own_fields() {
        let job = json!({
            "type": "waited_v1", "message_id": "msg_1", "tenant_id": "ten_1", "app_id": "wx1", "to": "o1",
            "created_at": 0,
        });
        let event = json!({ "Records": [{ "messageId": "1", "body": job.to_string() }] });
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::registry()
            .with(LevelFilter::WARN)
            .with(telemetry::json_lines(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let batch = read_batch::<SendJob>(serde_json::from_value(event).unwrap());
            let failed = futures::executor::block_on(run_each(batch, 1, |_, _| async {
                tracing::warn!(app_id = "wx2", errcode = 45009, "a message \"waits\"");
                tracing::info!("not asked for");
                Err("busy".to_owned())
            }));
            assert_eq!(failed.len(), 1);
            tracing::error!("alone");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let mut read: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &mut read {
            let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
            assert!(timestamp.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{timestamp}");
        }
        let target = "shared::queue::batch::tests";
        let expected = [
            json!({
                "level": "WARN", "target": target, "message": "a message \"waits\"", "errcode": 45009,
                "job_type": "waited_v1", "message_id": "msg_1", "tenant_id": "ten_1", "app_id": "wx2",
            }),
            json!({ "level": "ERROR", "target": target, "message": "alone" }),
        ];
        assert_eq!(read, expected, "its own field wins, and no openid is in it");
    }
}
