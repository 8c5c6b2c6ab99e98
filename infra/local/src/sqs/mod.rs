//! An SQS-compatible endpoint for one machine: the part of SQS that the hub's functions and event sources use,
//! through the same SDK client.
//!
//! | file | what it is |
//! |---|---|
//! | [`engine`] | all queues: send, receive, delete, redrive |
//! | [`queue`] | one queue's messages and the indexes over them |
//! | [`fairness`] | fair queues: which groups wait on a standard queue |
//! | [`queue_settings`], [`message`], [`receipt_handle`], [`message_ids`] | attributes, checksums, ids |
//! | [`error`] | errors, under both of their names |
//! | [`protocol`], [`json_types`] | AWS JSON 1.0, without a socket |
//! | [`journal`], [`replay`] | persistence |
//! | [`server`] | HTTP |
//!
//! Left out, since unused here: tags, permissions, deleting queues, `ReceiveRequestAttemptId`, and lists of
//! move tasks: a task is done before its response is sent.

pub mod fair;
pub mod fault;
pub mod identity;
pub mod journal;
pub mod message;
pub mod protocol;
pub mod queue;
pub mod receipt;
pub mod replay;
pub mod server;
pub mod settings;
pub mod state;
pub mod wire;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::{clock::Clock, random::Random};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use fault::{Code, Fault};
use journal::{Journal, Replay};
use settings::Raw;
use state::{Delivery, Engine};

/// How long a long poll collects a batch, at most: batches would otherwise have a message or two, and each costs
/// as much as a full one.
const GATHER: Duration = Duration::from_millis(10);

/// All queues of this process. Clones share them.
#[derive(Clone)]
pub struct Sqs(Arc<Inner>);

struct Inner {
    room: Mutex<Room>,
    closing: watch::Sender<bool>,
}

struct Room {
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
            engine.keep_log();
        }
        Ok(Self(Arc::new(Inner {
            room: Mutex::new(Room { engine, journal }),
            closing: watch::Sender::new(false),
        })))
    }

    /// Creates a queue, or replaces its attributes; its messages stay. A dead-letter queue must be created
    /// before the queue whose `RedrivePolicy` names it.
    pub fn create_queue<K, V>(
        &self,
        name: &str,
        attributes: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), Fault>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let raw: Raw = attributes.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self.with(|engine| engine.declare(name, raw))
    }

    /// Sets a lower limit of messages in flight than AWS's.
    pub fn limit_in_flight(&self, most: usize) {
        self.0.room.lock().unwrap_or_else(PoisonError::into_inner).engine.limit_in_flight(most);
    }

    /// The URL by which requests name a queue. Only its last part counts.
    #[must_use]
    pub fn queue_url(name: &str) -> String {
        format!("http://localhost/000000000000/{name}")
    }

    /// Ends all long polls, now and from now on.
    pub fn stop_waiting(&self) {
        self.0.closing.send_replace(true);
    }

    /// Runs `act` on the queues, and writes its changes to the journal before returning. That blocks for
    /// as long as the kernel takes to copy some lines.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Engine) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut room = self.0.room.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut room.engine);
        room.save().map_err(|error| {
            tracing::error!(%error, "the queues' journal cannot be written");
            Fault::new(Code::InternalError, "The journal cannot be written.")
        })?;
        result
    }

    /// Receives messages; waits up to `wait_secs` for the first.
    pub(crate) async fn receive(
        &self,
        name: &str,
        max: usize,
        hide: Option<i64>,
        secs: Option<u64>,
    ) -> Result<Vec<Delivery>, Fault> {
        let usual = |engine: &mut Engine| {
            let secs = engine.queue(name)?.settings.number("ReceiveMessageWaitTimeSeconds");
            Ok(u64::try_from(secs).unwrap_or(0))
        };
        let secs = match secs {
            Some(secs) => secs,
            None => self.with(usual)?,
        };
        if secs == 0 {
            return self.with(|engine| engine.receive(name, max, hide));
        }
        let end = Instant::now() + Duration::from_secs(secs);
        let mut closing = self.0.closing.subscribe();
        let mut gathered = None;
        loop {
            // Subscribe before checking, so that no message is missed in between.
            let wake = self.with(|engine| engine.wake(name))?;
            let woken = wake.notified();
            let last = Instant::now() >= end || *closing.borrow_and_update();
            let look = self.with(|engine| {
                let queue = engine.queue(name)?;
                if gathered.is_none() && !last && (1..max).contains(&queue.offered()) {
                    if let Some(full) = queue.gather(max) {
                        return Ok(Look::Few(full));
                    }
                } else {
                    let found = engine.receive(name, max, hide)?;
                    engine.queue(name)?.tell();
                    if !found.is_empty() {
                        return Ok(Look::Found(found));
                    }
                }
                Ok(Look::Nothing(engine.millis_to_due(name)?))
            })?;
            drop(gathered.take());
            let until = match look {
                Look::Found(found) => return Ok(found),
                Look::Few(full) => {
                    let gathering = gathered.insert(Gathering { sqs: self, queue: name, full });
                    let _ = tokio::time::timeout(GATHER, gathering.full.notified()).await; // either is the end
                    continue;
                }
                Look::Nothing(_) if last => return Ok(Vec::new()),
                Look::Nothing(due) => {
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
enum Look {
    Found(Vec<Delivery>),
    /// Less than a batch: it may grow, and the [`Notify`] tells when it is complete.
    Few(Arc<Notify>),
    /// Nothing, or another long poll collects; milliseconds until the next message is due.
    Nothing(Option<u64>),
}

/// Lets one long poll collect new messages, until it is dropped.
struct Gathering<'a> {
    sqs: &'a Sqs,
    queue: &'a str,
    full: Arc<Notify>,
}

impl Drop for Gathering<'_> {
    /// Runs also when the receiver is gone: its messages wake another one.
    fn drop(&mut self) {
        let told = self.sqs.with(|engine| {
            let queue = engine.queue(self.queue)?;
            queue.gathering = None;
            queue.tell();
            Ok(())
        });
        drop(told); // if the queue is gone, there is no receiver to wake
    }
}

impl Room {
    fn save(&mut self) -> io::Result<()> {
        let Self { engine, journal: Some(journal) } = self else { return Ok(()) };
        let mut none = Vec::new();
        match engine.log() {
            Some(lines) => journal.append(lines)?,
            None if journal.is_behind() => journal.append(&mut none)?,
            None => return Ok(()),
        }
        if journal.is_long()
            && let Err(error) = journal.compact(&engine.alive())
        {
            // The old journal is still complete; the next change tries again.
            tracing::warn!(%error, "the queues' journal cannot be compacted");
        }
        Ok(())
    }
}
