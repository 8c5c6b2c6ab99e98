//! All queues and their operations, given a clock and randomness. No input or output: changes that must
//! survive the process are recorded as journal lines, which [`crate::Sqs`] writes before it returns.
//!
//! Here are the queues themselves; what is done with messages is in `messages`, and how they come into dead-letter
//! queues and out of them in `dead_letters`.

mod dead_letters;
mod messages;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use shared::{clock::Clock, random::Random};
use tokio::sync::Notify;

use crate::error::{ErrorCode, SqsError};
use crate::journal::JournalRecord;
use crate::queue::{Counts, Queue};
use crate::queue_settings::{ARN_PREFIX, QueueAttributes, QueueSettings};

/// The queues.
pub struct Engine {
    pub(crate) queues: BTreeMap<String, Queue>,
    pub(crate) next_seq: u64,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    journal_lines: Option<Vec<u8>>,
    /// Most messages in flight in one queue, and those that a FIFO queue searches for free groups.
    max_in_flight: usize,
}

/// "For most standard queues there can be a maximum of approximately 120,000 in flight messages"; of FIFO queues too.
pub const MAX_IN_FLIGHT: usize = 120_000;
impl Engine {
    /// No queues yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let most_in_flight = MAX_IN_FLIGHT;
        Self {
            queues: BTreeMap::new(),
            next_seq: 1,
            clock,
            random,
            journal_lines: None,
            max_in_flight: most_in_flight,
        }
    }

    /// Sets a lower limit of messages in flight than AWS's.
    pub fn limit_in_flight(&mut self, most: usize) {
        self.max_in_flight = most;
    }

    /// Records changes as journal lines from now on.
    pub fn record_changes(&mut self) {
        self.journal_lines = Some(Vec::new());
    }

    /// The recorded lines that were not written yet, if any.
    pub fn pending_lines(&mut self) -> Option<&mut Vec<u8>> {
        self.journal_lines.as_mut().filter(|log| !log.is_empty())
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    /// Creates a queue, or checks that it exists with these attributes.
    pub fn create(&mut self, name: &str, raw: QueueAttributes) -> Result<(), SqsError> {
        match self.queues.get(name) {
            Some(queue) if queue.settings.has_attributes(&raw) => Ok(()),
            Some(_) => {
                let message =
                    "A queue already exists with the same name and a different value for an attribute.";
                Err(SqsError::new(ErrorCode::QueueNameExists, message))
            }
            None => self.apply_settings(name, QueueSettings::new(name, raw)?),
        }
    }

    /// Creates a queue, or replaces its attributes.
    pub fn create_or_replace(&mut self, name: &str, raw: QueueAttributes) -> Result<(), SqsError> {
        self.apply_settings(name, QueueSettings::new(name, raw)?)
    }

    /// Changes some attributes.
    pub fn set_attributes(&mut self, name: &str, raw: QueueAttributes) -> Result<(), SqsError> {
        let settings = self.queue(name)?.settings.with_changes(name, raw)?;
        self.apply_settings(name, settings)
    }

    fn apply_settings(&mut self, name: &str, settings: QueueSettings) -> Result<(), SqsError> {
        if let Some(redrive) = settings.redrive.as_ref()
            && !self.queues.contains_key(&redrive.target)
        {
            return Err(SqsError::invalid_value(
                "RedrivePolicy",
                &redrive.target,
                "Dead letter target does not exist.",
            ));
        }
        let now = self.now();
        let queue = match self.queues.remove(name) {
            Some(queue) if queue.settings == settings => queue,
            Some(queue) => {
                let created = queue.created;
                queue.with_settings(settings, created, now)
            }
            None => Queue::new(settings, now),
        };
        let record = JournalRecord::Queue {
            name: name.into(),
            attributes: Cow::Borrowed(queue.settings.attributes()),
            created: queue.created,
            modified: queue.modified,
        };
        log_record(&mut self.journal_lines, &record);
        self.queues.insert(name.to_owned(), queue);
        Ok(())
    }

    /// A queue, advanced to the current time.
    pub fn queue(&mut self, name: &str) -> Result<&mut Queue, SqsError> {
        let now = self.now();
        find_queue(&mut self.queues, name, now)
    }

    /// The queues' names, in order.
    #[must_use]
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.queues.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    /// All attributes of a queue.
    pub fn attributes(&mut self, name: &str) -> Result<QueueAttributes, SqsError> {
        let queue = self.queue(name)?;
        let Counts { visible, in_flight, delayed } = queue.counts();
        let mut all = queue.settings.attributes_with_defaults();
        all.extend([
            ("QueueArn".to_owned(), format!("{ARN_PREFIX}{name}")),
            ("ApproximateNumberOfMessages".to_owned(), visible.to_string()),
            ("ApproximateNumberOfMessagesNotVisible".to_owned(), in_flight.to_string()),
            ("ApproximateNumberOfMessagesDelayed".to_owned(), delayed.to_string()),
            ("CreatedTimestamp".to_owned(), queue.created.div_euclid(1000).to_string()),
            ("LastModifiedTimestamp".to_owned(), queue.modified.div_euclid(1000).to_string()),
        ]);
        Ok(all)
    }

    /// Deletes all messages of a queue.
    pub fn purge(&mut self, name: &str) -> Result<(), SqsError> {
        self.queue(name)?.clear();
        log_record(&mut self.journal_lines, &JournalRecord::Purged { queue: name.into() });
        Ok(())
    }

    /// What wakes a waiting receiver.
    pub fn wake(&mut self, name: &str) -> Result<Arc<Notify>, SqsError> {
        Ok(Arc::clone(&self.queue(name)?.wake))
    }

    /// Milliseconds until the next delay or visibility timeout ends.
    pub fn millis_to_due(&mut self, name: &str) -> Result<Option<u64>, SqsError> {
        let now = self.now();
        let due = self.queue(name)?.next_due();
        Ok(due.map(|due| u64::try_from(due.saturating_sub(now)).unwrap_or(0).max(1)))
    }
}

fn find_queue<'a>(
    queues: &'a mut BTreeMap<String, Queue>,
    name: &str,
    now: i64,
) -> Result<&'a mut Queue, SqsError> {
    let queue = queues
        .get_mut(name)
        .ok_or_else(|| SqsError::new(ErrorCode::QueueDoesNotExist, "The specified queue does not exist."))?;
    queue.advance_to(now);
    Ok(queue)
}

fn log_record(log: &mut Option<Vec<u8>>, record: &JournalRecord<'_>) {
    if let Some(log) = log {
        record.write(log);
    }
}

fn take_seq(next: &mut u64) -> u64 {
    let seq = *next;
    *next = next.saturating_add(1);
    seq
}
