//! Sends jobs, each type to the queue of the function that handles it.

use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;

use super::{
    CONCURRENT_REQUESTS, JobQueue, MAX_BATCH_MESSAGES, Queues,
    jobs::{AuthorizationJob, FollowerJob, ImportJob, RefreshJob, SendJob},
    message_body,
    send::{OutgoingMessage, require_all_accepted},
};
use crate::error::{Error, sdk_error_text};

impl Queues {
    /// To `authorization-callback`, after `delay` (at most [`MAX_DELAY`](super::MAX_DELAY)).
    ///
    /// # Errors
    /// [`Error::Queue`]: the job may or may not be queued; sending it again is safe.
    pub async fn authorization(&self, job: &AuthorizationJob, delay: Duration) -> Result<(), Error> {
        self.send_to_standard_queue(JobQueue::Authorization, std::slice::from_ref(job), |_| "", delay).await
    }

    /// To `token-refresh`, after `delay` (at most [`MAX_DELAY`](super::MAX_DELAY)).
    ///
    /// # Errors
    /// As [`Queues::authorization`].
    pub async fn refresh(&self, jobs: &[RefreshJob], delay: Duration) -> Result<(), Error> {
        self.send_to_standard_queue(JobQueue::Refresh, jobs, |_| "", delay).await
    }

    /// To `follower-import`, after `delay` (at most [`MAX_DELAY`](super::MAX_DELAY)). Fair queueing by tenant: SQS takes
    /// from the quiet tenants first.
    ///
    /// # Errors
    /// As [`Queues::authorization`].
    pub async fn import(&self, jobs: &[ImportJob], delay: Duration) -> Result<(), Error> {
        self.send_to_standard_queue(JobQueue::Import, jobs, ImportJob::tenant, delay).await
    }

    /// To `follower-import`: a fan who just followed. As [`Queues::import`], but not behind imports.
    ///
    /// # Errors
    /// As [`Queues::authorization`].
    pub async fn follower(&self, job: &FollowerJob) -> Result<(), Error> {
        self.send_to_standard_queue(
            JobQueue::Follower,
            std::slice::from_ref(job),
            FollowerJob::tenant,
            Duration::ZERO,
        )
        .await
    }

    /// To `message-send`: in order within the job's [`SendJob::group`], deduplicated for 5 minutes.
    ///
    /// # Errors
    /// As [`Queues::authorization`].
    pub async fn send(&self, job: &SendJob, deduplication_id: &str) -> Result<(), Error> {
        self.client
            .send_message()
            .queue_url(&self.send)
            .message_body(message_body(job)?)
            .message_group_id(job.group())
            .message_deduplication_id(deduplication_id)
            .send()
            .await
            .map(drop)
            .map_err(|e| Error::Queue(sdk_error_text(&e)))
    }

    /// To `message-send`, past the messages; `tenant` is the fair-share group.
    ///
    /// # Errors
    /// As [`Queues::authorization`].
    pub async fn result<'a>(&self, job: &'a SendJob, tenant: &'a str) -> Result<(), Error> {
        self.send_to_standard_queue(JobQueue::Result, std::slice::from_ref(job), |_| tenant, Duration::ZERO)
            .await
    }

    async fn send_to_standard_queue<'a, T: Serialize>(
        &self,
        target: JobQueue,
        jobs: &'a [T],
        group: impl Fn(&'a T) -> &'a str,
        delay: Duration,
    ) -> Result<(), Error> {
        let bodies = jobs.iter().map(message_body).collect::<Result<Vec<_>, Error>>()?;
        let parcel = |(body, job)| OutgoingMessage { body, group_id: group(job), deduplication_id: "" };
        let parcels: Vec<_> = bodies.iter().map(String::as_str).zip(jobs).map(parcel).collect();
        // to the end, even if one fails: a dropped request may or may not have been received
        let mut all = Ok(());
        for some in parcels.chunks(MAX_BATCH_MESSAGES * CONCURRENT_REQUESTS) {
            let batches = some.chunks(MAX_BATCH_MESSAGES).map(|batch| self.send_batch(target, batch, delay));
            for sent in join_all(batches).await {
                all = all.and(require_all_accepted(sent));
            }
        }
        all
    }
}
