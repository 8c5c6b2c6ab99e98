//! Work between functions: job types, sending them, and answering batches item by item.

pub mod batch;
pub mod jobs;

use std::time::Duration;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use serde::Serialize;

use crate::{
    config::Resources,
    error::{Error, sdk_error},
};
use jobs::{AuthorizationJob, ImportJob, RefreshJob, SendJob};

/// SQS takes at most this many messages in one request.
pub const BATCH: usize = 10;
/// SQS delays a message by at most 15 minutes; longer waits are delayed again.
pub const MAX_DELAY: Duration = Duration::from_mins(15);

/// The four queues.
#[derive(Clone)]
pub struct Queues {
    client: aws_sdk_sqs::Client,
    authorization: String,
    refresh: String,
    import: String,
    send: String,
}

impl Queues {
    /// Over `client`, with the URLs of `resources`.
    #[must_use]
    pub fn new(client: aws_sdk_sqs::Client, resources: &Resources) -> Self {
        Self {
            client,
            authorization: resources.authorization_queue.clone(),
            refresh: resources.refresh_queue.clone(),
            import: resources.import_queue.clone(),
            send: resources.send_queue.clone(),
        }
    }

    /// To `authorization-callback`.
    ///
    /// # Errors
    /// [`Error::Queue`]: the job may or may not be queued; sending it again is safe.
    pub async fn authorization(&self, job: &AuthorizationJob) -> Result<(), Error> {
        self.standard(&self.authorization, &[body(job)?], Duration::ZERO).await
    }

    /// To `token-refresh`.
    ///
    /// # Errors
    /// As [`Queues::authorization`].
    pub async fn refresh(&self, jobs: &[RefreshJob]) -> Result<(), Error> {
        let bodies = jobs.iter().map(body).collect::<Result<Vec<_>, _>>()?;
        self.standard(&self.refresh, &bodies, Duration::ZERO).await
    }

    /// To `follower-import`, after `delay` (at most [`MAX_DELAY`]).
    ///
    /// # Errors
    /// As [`Queues::authorization`].
    pub async fn import(&self, jobs: &[ImportJob], delay: Duration) -> Result<(), Error> {
        let bodies = jobs.iter().map(body).collect::<Result<Vec<_>, _>>()?;
        self.standard(&self.import, &bodies, delay).await
    }

    /// To `message-send`: in order within `group` (one fan of one account), once within 5 minutes per `once`.
    ///
    /// # Errors
    /// As [`Queues::authorization`].
    pub async fn send(&self, job: &SendJob, group: &str, once: &str) -> Result<(), Error> {
        self.client
            .send_message()
            .queue_url(&self.send)
            .message_body(body(job)?)
            .message_group_id(group)
            .message_deduplication_id(once)
            .send()
            .await
            .map(drop)
            .map_err(|e| Error::Queue(sdk_error(&e)))
    }

    /// Makes a `message-send` message that was received invisible for `wait` more (at most 12 h).
    ///
    /// # Errors
    /// [`Error::Queue`]; the message then comes back after the queue's own visibility timeout.
    pub async fn postpone_send(&self, receipt_handle: &str, wait: Duration) -> Result<(), Error> {
        self.postpone(&self.send, receipt_handle, wait).await
    }

    /// Makes a `follower-import` message that was received invisible for `wait` more.
    ///
    /// # Errors
    /// As [`Queues::postpone_send`].
    pub async fn postpone_import(&self, receipt_handle: &str, wait: Duration) -> Result<(), Error> {
        self.postpone(&self.import, receipt_handle, wait).await
    }

    /// Makes an `authorization-callback` message that was received invisible for `wait` more.
    ///
    /// # Errors
    /// As [`Queues::postpone_send`].
    pub async fn postpone_authorization(&self, receipt_handle: &str, wait: Duration) -> Result<(), Error> {
        self.postpone(&self.authorization, receipt_handle, wait).await
    }

    async fn postpone(&self, queue: &str, receipt_handle: &str, wait: Duration) -> Result<(), Error> {
        let seconds = i32::try_from(wait.as_secs().min(12 * 3600)).unwrap_or(0);
        self.client
            .change_message_visibility()
            .queue_url(queue)
            .receipt_handle(receipt_handle)
            .visibility_timeout(seconds)
            .send()
            .await
            .map(drop)
            .map_err(|e| Error::Queue(sdk_error(&e)))
    }

    async fn standard(&self, queue: &str, bodies: &[String], delay: Duration) -> Result<(), Error> {
        let delay = i32::try_from(delay.min(MAX_DELAY).as_secs()).unwrap_or(0);
        let batches = bodies.chunks(BATCH).map(|chunk| self.send_batch(queue, chunk, delay));
        futures::future::try_join_all(batches).await.map(drop)
    }

    async fn send_batch(&self, queue: &str, bodies: &[String], delay: i32) -> Result<(), Error> {
        let entries = bodies
            .iter()
            .enumerate()
            .map(|(n, body)| {
                SendMessageBatchRequestEntry::builder()
                    .id(n.to_string())
                    .message_body(body)
                    .set_delay_seconds((delay > 0).then_some(delay))
                    .build()
                    .map_err(|e| Error::Queue(e.to_string()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let answer = self
            .client
            .send_message_batch()
            .queue_url(queue)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|e| Error::Queue(sdk_error(&e)))?;
        match answer.failed().first() {
            None => Ok(()),
            Some(failed) => {
                Err(Error::Queue(format!("{} of a batch: {}", answer.failed().len(), failed.code())))
            }
        }
    }
}

fn body<T: Serialize>(job: &T) -> Result<String, Error> {
    serde_json::to_string(job).map_err(|e| Error::Queue(e.to_string()))
}
