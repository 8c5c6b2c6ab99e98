//! Work between functions: job types, sending them, and handling batches item by item.

pub mod batch;
pub mod jobs;
pub mod operator;
pub mod send;
mod send_jobs;

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    config::Resources,
    error::{Error, sdk_error_text},
};

/// Messages that SQS takes in one request.
pub const MAX_BATCH_MESSAGES: usize = 10;
/// Requests sent at once: after a long pause of the tick 4,000 jobs are due together, in a
/// function of 128 MB.
pub const CONCURRENT_REQUESTS: usize = 10;
/// SQS delays a message by at most 15 minutes; longer waits are delayed again.
pub const MAX_DELAY: Duration = Duration::from_mins(15);

/// The queue of a job, by the function that handles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobQueue {
    /// `authorization-callback`.
    Authorization,
    /// `token-refresh`.
    Refresh,
    /// `follower-import`: imports.
    Import,
    /// `follower-import`: single followers, who do not wait behind imports.
    Follower,
    /// `message-send`: FIFO.
    Send,
    /// `message-send`: what needs no order and should not wait behind messages.
    Result,
}

impl JobQueue {
    /// Every queue.
    pub const ALL: [Self; 6] =
        [Self::Authorization, Self::Refresh, Self::Import, Self::Follower, Self::Send, Self::Result];

    /// Its name in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Authorization => "authorization",
            Self::Refresh => "refresh",
            Self::Import => "import",
            Self::Follower => "follower",
            Self::Send => "send",
            Self::Result => "result",
        }
    }

    /// By its name in the store.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    /// Receives before a job becomes a dead letter; a test compares it with `template.yaml`.
    #[must_use]
    pub fn max_receive_count(self) -> u32 {
        match self {
            Self::Authorization => 40,
            Self::Refresh => 5,
            Self::Result => 20,
            Self::Send => 60,
            Self::Import | Self::Follower => 66,
        }
    }

    /// Whether it is a FIFO queue, which keeps order and drops duplicates. It cannot delay a single message.
    #[must_use]
    pub fn is_fifo(self) -> bool {
        self == Self::Send
    }
}

/// The queues.
#[derive(Clone)]
pub struct Queues {
    client: aws_sdk_sqs::Client,
    authorization: String,
    refresh: String,
    import: String,
    follower: String,
    send: String,
    /// URLs of the dead-letter queues, by the name of their queue.
    dead_letters: BTreeMap<String, String>,
    result: String,
}

impl Queues {
    /// Uses `client`, with the queue URLs of `resources`.
    #[must_use]
    pub fn new(client: aws_sdk_sqs::Client, resources: &Resources) -> Self {
        Self {
            client,
            authorization: resources.authorization_queue.clone(),
            refresh: resources.refresh_queue.clone(),
            import: resources.import_queue.clone(),
            follower: resources.follower_queue.clone(),
            send: resources.send_queue.clone(),
            dead_letters: resources.dead_letters.clone(),
            result: resources.result_queue.clone(),
        }
    }

    /// Hides a received message of the results' queue for `wait` more.
    ///
    /// # Errors
    /// As [`Queues::postpone_send`].
    pub async fn postpone_result(&self, receipt_handle: &str, wait: Duration) -> Result<(), Error> {
        self.postpone(&self.result, receipt_handle, wait).await
    }

    /// Hides a received `message-send` message for `wait` more (at most 12 h).
    ///
    /// # Errors
    /// [`Error::Queue`]; the message then returns after the queue's own visibility timeout.
    pub async fn postpone_send(&self, receipt_handle: &str, wait: Duration) -> Result<(), Error> {
        self.postpone(&self.send, receipt_handle, wait).await
    }

    /// Hides a received `follower-import` message for `wait` more.
    ///
    /// # Errors
    /// As [`Queues::postpone_send`].
    pub async fn postpone_import(&self, receipt_handle: &str, wait: Duration) -> Result<(), Error> {
        self.postpone(&self.import, receipt_handle, wait).await
    }

    /// Hides a received message of a single follower for `wait` more.
    ///
    /// # Errors
    /// As [`Queues::postpone_send`].
    pub async fn postpone_follower(&self, receipt_handle: &str, wait: Duration) -> Result<(), Error> {
        self.postpone(&self.follower, receipt_handle, wait).await
    }

    /// Hides a received `authorization-callback` message for `wait` more.
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
            .map_err(|e| Error::Queue(sdk_error_text(&e)))
    }

    /// Whether this function is configured with the queue's URL.
    #[must_use]
    pub fn has_url(&self, target: JobQueue) -> bool {
        !self.url(target).is_empty()
    }

    fn url(&self, target: JobQueue) -> &str {
        match target {
            JobQueue::Authorization => &self.authorization,
            JobQueue::Refresh => &self.refresh,
            JobQueue::Import => &self.import,
            JobQueue::Follower => &self.follower,
            JobQueue::Send => &self.send,
            JobQueue::Result => &self.result,
        }
    }
}

/// A job as the body of a message. SQS accepts the characters of XML 1.0 only. JSON leaves two others
/// unescaped, U+FFFE and U+FFFF, which can only occur in strings.
///
/// # Errors
/// [`Error::Queue`] for what is not JSON.
pub fn message_body<T: Serialize>(job: &T) -> Result<String, Error> {
    let json = serde_json::to_string(job).map_err(|e| Error::Queue(e.to_string()))?;
    if !json.contains(['\u{fffe}', '\u{ffff}']) {
        return Ok(json);
    }
    Ok(json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_text_holds_a_queue_takes_it_and_gives_it_back() {
        let odd = (0..=0x7f_u32).chain([0xd7ff, 0xe000, 0xfffd, 0xfffe, 0xffff, 0x1_fffe, 0x10_ffff]);
        let text: String = odd.filter_map(char::from_u32).collect();
        let body = message_body(&[&text]).unwrap();
        let taken = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        assert!(body.chars().all(taken), "{body:?}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&body).unwrap(), [text]);
    }

    #[test]
    fn a_queue_gives_up_when_the_code_thinks_so() {
        let template = include_str!("../../../template.yaml");
        for target in JobQueue::ALL {
            let (first, rest) = target.name().split_at(1);
            let name = format!("\n  {}{rest}Queue:\n", first.to_uppercase());
            let queue = template.split(&name).nth(1).unwrap().split("maxReceiveCount: ").nth(1).unwrap();
            let most: u32 = queue.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
            assert_eq!(target.max_receive_count(), most, "{}", target.name());
        }
    }
}
