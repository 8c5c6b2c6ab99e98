//! What the operator does with the queues: depths, dead letters, and redriving them.
//!
//! A redrive receives, sends and deletes, which works in every region and for every kind of queue. A crash
//! may repeat a job, which every job tolerates; on a FIFO queue the second is dropped within five minutes.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, Message, MessageSystemAttributeName, QueueAttributeName,
};
use serde::Deserialize;

use super::{JobQueue, MAX_BATCH_MESSAGES, Queues};
use crate::{
    error::{Error, sdk_error_text},
    ids,
};

/// Dead letters listed at most: a listing receives them, which hides them from others for a moment.
pub const MAX_LISTED_DEAD_LETTERS: usize = 50;
/// Requests of one listing; SQS may return fewer messages than it has.
const MAX_PEEK_REQUESTS: usize = 2 * MAX_LISTED_DEAD_LETTERS / MAX_BATCH_MESSAGES;
/// How long dead letters stay hidden if a listing dies before it makes them visible again, seconds.
const PEEK_VISIBILITY_SECONDS: i32 = 10;
/// How long a request waits for dead letters, seconds, within an attempt's 1.5: a short poll asks a sample of
/// SQS's servers and may miss messages, a long poll asks all (*short and long polling* in SQS's guide).
const LONG_POLL_SECONDS: i32 = 1;
/// Dead letters redriven in one call: one after the other, some 20 ms each, within the API's 30 s.
pub const MAX_REDRIVEN: usize = 200;
/// How long those being redriven are hidden, seconds: longer than a call lasts.
const REDRIVE_VISIBILITY_SECONDS: i32 = 60;

/// The depth of a queue, roughly, from SQS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// The queue.
    pub name: String,
    /// Jobs that wait for a worker.
    pub waiting: u64,
    /// Jobs that a worker has received.
    pub in_flight: u64,
    /// Jobs whose delay is not over.
    pub delayed: u64,
    /// Jobs in its dead-letter queue.
    pub dead_letters: u64,
}

/// A job in a dead-letter queue, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// SQS's id of the message.
    pub id: String,
    /// The job's `type`; [`None`] where the body is not a job.
    pub job: Option<String>,
    /// The job's [`job_fingerprint`].
    pub fingerprint: String,
    /// When it was queued, unix milliseconds: at first on a standard queue, as a dead letter on a FIFO one.
    pub queued_at: i64,
}

/// Identifies a job without storing its body. Jobs of follower-import's two queues share one namespace: of
/// a job that it cannot read, the function does not know the queue.
#[must_use]
pub fn job_fingerprint(queue: &str, body: &str) -> String {
    let queue = if queue == JobQueue::Follower.name() { JobQueue::Import.name() } else { queue };
    ids::fingerprint(&["job", queue, body])
}

#[derive(Deserialize)]
struct JobType {
    r#type: String,
}

impl Queues {
    /// Whether there are dead letters of this name: that of a queue, or of the tick, which has no queue.
    #[must_use]
    pub fn has_dead_letters(&self, name: &str) -> bool {
        self.dead_letters.contains_key(name)
    }

    /// The depths of all queues.
    ///
    /// # Errors
    /// [`Error::Queue`].
    pub async fn depths(&self) -> Result<Vec<QueueDepth>, Error> {
        let each = self.dead_letters.iter().map(|(name, dead_letters)| async move {
            let (dead_letters, _, _) = self.message_counts(dead_letters).await?;
            let (waiting, in_flight, delayed) = match JobQueue::from_name(name) {
                Some(target) => self.message_counts(self.url(target)).await?,
                None => (0, 0, 0),
            };
            Ok(QueueDepth { name: name.clone(), waiting, in_flight, delayed, dead_letters })
        });
        futures::future::try_join_all(each).await
    }

    async fn message_counts(&self, url: &str) -> Result<(u64, u64, u64), Error> {
        let wanted = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let asked = self.client.get_queue_attributes().queue_url(url);
        let answer = asked
            .set_attribute_names(Some(wanted.to_vec()))
            .send()
            .await
            .map_err(|e| Error::Queue(sdk_error_text(&e)))?;
        let found = answer.attributes.unwrap_or_default();
        let [waiting, in_flight, delayed] =
            wanted.map(|name| found.get(&name).and_then(|number| number.parse().ok()).unwrap_or_default());
        Ok((waiting, in_flight, delayed))
    }

    /// Some of the dead letters of `name`, oldest first: at most [`MAX_LISTED_DEAD_LETTERS`]. They are hidden
    /// meanwhile, and visible again at once.
    ///
    /// # Errors
    /// [`Error::Queue`].
    pub async fn dead_letters(&self, name: &str) -> Result<Vec<DeadLetter>, Error> {
        let Some(url) = self.dead_letters.get(name) else { return Ok(Vec::new()) };
        let (mut found, mut handles) = (BTreeMap::new(), Vec::new());
        for _ in 0..MAX_PEEK_REQUESTS {
            if found.len() >= MAX_LISTED_DEAD_LETTERS {
                break;
            }
            let messages = self.receive(url, PEEK_VISIBILITY_SECONDS).await?;
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let body = message.body.unwrap_or_default();
                let letter = DeadLetter {
                    id: message.message_id.unwrap_or_default(),
                    job: serde_json::from_str::<JobType>(&body).ok().map(|job| job.r#type),
                    fingerprint: job_fingerprint(name, &body),
                    queued_at: number_attribute(
                        message.attributes.as_ref(),
                        &MessageSystemAttributeName::SentTimestamp,
                    ),
                };
                handles.extend(message.receipt_handle);
                found.insert((letter.queued_at, letter.id.clone()), letter);
            }
        }
        self.make_visible(url, &handles).await?;
        Ok(found.into_values().take(MAX_LISTED_DEAD_LETTERS).collect())
    }

    async fn make_visible(&self, url: &str, handles: &[String]) -> Result<(), Error> {
        for chunk in handles.chunks(MAX_BATCH_MESSAGES) {
            let entries = chunk.iter().enumerate().map(|(n, handle)| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(n.to_string())
                    .receipt_handle(handle)
                    .visibility_timeout(0)
                    .build()
                    .map_err(|e| Error::Queue(e.to_string()))
            });
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            let asked = self.client.change_message_visibility_batch().queue_url(url);
            asked.set_entries(Some(entries)).send().await.map_err(|e| Error::Queue(sdk_error_text(&e)))?;
        }
        Ok(())
    }

    /// Redrives dead letters until there are none left, [`MAX_REDRIVEN`] were moved, or `may_continue` is
    /// false. Returns how many. A job keeps its message group.
    ///
    /// # Errors
    /// [`Error::Queue`]: some may be moved; calling it again continues.
    pub async fn redrive(&self, target: JobQueue, may_continue: impl Fn() -> bool) -> Result<usize, Error> {
        let Some(from) = self.dead_letters.get(target.name()) else { return Ok(0) };
        let mut moved = 0;
        while moved < MAX_REDRIVEN && may_continue() {
            let messages = self.receive(from, REDRIVE_VISIBILITY_SECONDS).await?;
            if messages.is_empty() {
                break;
            }
            // one after the other, which keeps the order of a FIFO queue's groups
            for message in messages {
                self.redrive_one(target, from, message).await?;
                moved += 1;
            }
        }
        Ok(moved)
    }

    async fn redrive_one(&self, target: JobQueue, from: &str, message: Message) -> Result<(), Error> {
        let attribute = |name: &MessageSystemAttributeName| message.attributes.as_ref()?.get(name).cloned();
        let group = attribute(&MessageSystemAttributeName::MessageGroupId);
        // the sequence number identifies this arrival among the dead letters, however often this is tried
        let arrival = attribute(&MessageSystemAttributeName::SequenceNumber).unwrap_or_default();
        let once = target.is_fifo().then(|| {
            ids::fingerprint(&["moved back", message.message_id.as_deref().unwrap_or_default(), &arrival])
        });
        self.client
            .send_message()
            .queue_url(self.url(target))
            .message_body(message.body.clone().unwrap_or_default())
            .set_message_group_id(group)
            .set_message_deduplication_id(once)
            .send()
            .await
            .map_err(|e| Error::Queue(sdk_error_text(&e)))?;
        let asked = self.client.delete_message().queue_url(from);
        asked
            .set_receipt_handle(message.receipt_handle)
            .send()
            .await
            .map(drop)
            .map_err(|e| Error::Queue(sdk_error_text(&e)))
    }

    async fn receive(&self, url: &str, visibility_seconds: i32) -> Result<Vec<Message>, Error> {
        let wanted = [
            MessageSystemAttributeName::SentTimestamp,
            MessageSystemAttributeName::MessageGroupId,
            MessageSystemAttributeName::SequenceNumber,
        ];
        let asked = self.client.receive_message().queue_url(url).max_number_of_messages(10);
        let answer = asked
            .visibility_timeout(visibility_seconds)
            .wait_time_seconds(LONG_POLL_SECONDS)
            .set_message_system_attribute_names(Some(wanted.to_vec()))
            .send()
            .await
            .map_err(|e| Error::Queue(sdk_error_text(&e)))?;
        Ok(answer.messages.unwrap_or_default())
    }
}

fn number_attribute(
    attributes: Option<&std::collections::HashMap<MessageSystemAttributeName, String>>,
    name: &MessageSystemAttributeName,
) -> i64 {
    attributes.and_then(|all| all.get(name)).and_then(|text| text.parse().ok()).unwrap_or_default()
}
