//! An SQS-compatible endpoint for one machine: the part of SQS that the hub's functions and event sources use,
//! through the same SDK client.
//!
//! | file | what it is |
//! |---|---|
//! | [`engine`] | all queues: send, receive, delete, redrive |
//! | [`queue`] | one queue's messages and the indexes over them |
//! | [`deduplication`] | which ids a FIFO queue remembers |
//! | [`fairness`] | fair queues: which groups wait on a standard queue |
//! | [`queue_settings`], [`message`], [`receipt_handle`], [`message_ids`] | attributes, checksums, ids |
//! | [`error`] | errors, under both of their names |
//! | [`protocol`], [`json_types`] | AWS JSON 1.0, without a socket |
//! | [`journal`], [`replay`] | persistence |
//! | [`server`] | HTTP |
//!
//! The README says which rules of SQS it keeps, where they come from, and what is left out.

pub mod deduplication;
pub mod engine;
pub mod error;
pub mod fairness;
pub mod journal;
pub mod json_types;
pub mod message;
pub mod message_ids;
pub mod protocol;
pub mod queue;
pub mod queue_settings;
pub mod receipt_handle;
pub mod replay;
pub mod server;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::{clock::Clock, random::Random};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use engine::Engine;
use error::{ErrorCode, SqsError};
use journal::{Journal, Replay};
use message::ReceivedMessage;
use queue_settings::QueueAttributes;

/// How long a long poll collects a batch, at most: batches would otherwise have a message or two, and each costs
/// as much as a full one.
const BATCH_COLLECT_TIME: Duration = Duration::from_millis(10);

/// All queues of this process. Clones share them.
#[derive(Clone)]
pub struct Sqs(Arc<SharedQueues>);

struct SharedQueues {
    state: Mutex<JournaledEngine>,
    closing: watch::Sender<bool>,
}

struct JournaledEngine {
    engine: Engine,
    journal: Option<Journal>,
}

impl Sqs {
    /// Opens the queues kept in `dir`, or new ones in memory only.
    ///
    /// Messages that were in flight are visible at once, since their receivers are gone; their receive counts
    /// are kept.
    pub fn open(dir: Option<&Path>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> io::Result<Self> {
        let mut engine = Engine::new(clock, random);
        let journal = dir.map(|dir| Journal::open(dir, &mut engine)).transpose()?;
        if journal.is_some() {
            engine.record_changes();
        }
        Ok(Self(Arc::new(SharedQueues {
            state: Mutex::new(JournaledEngine { engine, journal }),
            closing: watch::Sender::new(false),
        })))
    }

    /// Creates a queue, or replaces its attributes; its messages stay. A dead-letter queue must be created
    /// before the queue whose `RedrivePolicy` names it.
    pub fn create_queue<K, V>(
        &self,
        name: &str,
        attributes: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), SqsError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let raw: QueueAttributes =
            attributes.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self.with_engine(|engine| engine.create_or_replace(name, raw))
    }

    /// Sets a lower limit of messages in flight than AWS's.
    pub fn limit_in_flight(&self, most: usize) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).engine.limit_in_flight(most);
    }

    /// The URL by which requests name a queue. Only its last part counts.
    #[must_use]
    pub fn queue_url(name: &str) -> String {
        format!("http://localhost/000000000000/{name}")
    }

    /// Ends all long polls, now and from now on.
    pub fn end_long_polls(&self) {
        self.0.closing.send_replace(true);
    }

    /// Runs `act` on the queues, and writes its changes to the journal before returning. That blocks for
    /// as long as the kernel takes to copy some lines.
    pub(crate) fn with_engine<T>(
        &self,
        act: impl FnOnce(&mut Engine) -> Result<T, SqsError>,
    ) -> Result<T, SqsError> {
        let mut room = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut room.engine);
        room.write_journal().map_err(|error| {
            tracing::error!(%error, "the queues' journal cannot be written");
            SqsError::new(ErrorCode::InternalError, "The journal cannot be written.")
        })?;
        result
    }

    /// Receives messages; waits up to `wait_secs` for the first.
    pub(crate) async fn receive(
        &self,
        name: &str,
        max: usize,
        visibility_secs: Option<i64>,
        wait_secs: Option<u64>,
    ) -> Result<Vec<ReceivedMessage>, SqsError> {
        let queue_default = |engine: &mut Engine| {
            let secs = engine.queue(name)?.settings.number("ReceiveMessageWaitTimeSeconds");
            Ok(u64::try_from(secs).unwrap_or(0))
        };
        let secs = match wait_secs {
            Some(secs) => secs,
            None => self.with_engine(queue_default)?,
        };
        if secs == 0 {
            return self.with_engine(|engine| engine.receive(name, max, visibility_secs));
        }
        let end = Instant::now() + Duration::from_secs(secs);
        let mut closing = self.0.closing.subscribe();
        let mut gathered = None;
        loop {
            // Subscribe before checking, so that no message is missed in between.
            let wake = self.with_engine(|engine| engine.wake(name))?;
            let woken = wake.notified();
            let last = Instant::now() >= end || *closing.borrow_and_update();
            let step = self.with_engine(|engine| {
                let queue = engine.queue(name)?;
                if gathered.is_none() && !last && (1..max).contains(&queue.receivable_count()) {
                    if let Some(full) = queue.start_collecting(max) {
                        return Ok(PollStep::PartialBatch(full));
                    }
                } else {
                    let found = engine.receive(name, max, visibility_secs)?;
                    engine.queue(name)?.wake_one();
                    if !found.is_empty() {
                        return Ok(PollStep::Messages(found));
                    }
                }
                Ok(PollStep::NotYet(engine.millis_to_due(name)?))
            })?;
            drop(gathered.take());
            let until = match step {
                PollStep::Messages(found) => return Ok(found),
                PollStep::PartialBatch(full) => {
                    let gathering =
                        gathered.insert(CollectorGuard { sqs: self, queue: name, batch_ready: full });
                    let _ = tokio::time::timeout(BATCH_COLLECT_TIME, gathering.batch_ready.notified()).await; // either is the end
                    continue;
                }
                PollStep::NotYet(_) if last => return Ok(Vec::new()),
                PollStep::NotYet(due) => {
                    due.map_or(end, |ms| end.min(Instant::now() + Duration::from_millis(ms)))
                }
            };
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep_until(until) => {}
                _ = closing.changed() => {}
            }
        }
    }
}

/// The result of one check of a long poll.
enum PollStep {
    Messages(Vec<ReceivedMessage>),
    /// Less than a batch: it may grow, and the [`Notify`] tells when it is complete.
    PartialBatch(Arc<Notify>),
    /// Nothing, or another long poll collects; milliseconds until the next message is due.
    NotYet(Option<u64>),
}

/// Lets one long poll collect new messages, until it is dropped.
struct CollectorGuard<'a> {
    sqs: &'a Sqs,
    queue: &'a str,
    batch_ready: Arc<Notify>,
}

impl Drop for CollectorGuard<'_> {
    /// Runs also when the receiver is gone: its messages wake another one.
    fn drop(&mut self) {
        let told = self.sqs.with_engine(|engine| {
            let queue = engine.queue(self.queue)?;
            queue.collector = None;
            queue.wake_one();
            Ok(())
        });
        drop(told); // if the queue is gone, there is no receiver to wake
    }
}

impl JournaledEngine {
    fn write_journal(&mut self) -> io::Result<()> {
        let Self { engine, journal: Some(journal) } = self else { return Ok(()) };
        let mut none = Vec::new();
        match engine.pending_lines() {
            Some(lines) => journal.append(lines)?,
            None if journal.has_pending() => journal.append(&mut none)?,
            None => return Ok(()),
        }
        if journal.needs_compaction()
            && let Err(error) = journal.compact(&engine.snapshot())
        {
            // The old journal is still complete; the next change tries again.
            tracing::warn!(%error, "the queues' journal cannot be compacted");
        }
        Ok(())
    }
}
