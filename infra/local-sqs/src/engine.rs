//! All queues and their operations, given a clock and randomness. No input or output: changes that must
//! survive the process are recorded as journal lines, which [`crate::Sqs`] writes before it returns.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use shared::{clock::Clock, random::Random};
use tokio::sync::Notify;

use crate::error::{ErrorCode, SqsError};
use crate::journal::JournalRecord;
use crate::message::{NewMessage, QueueMessage, md5_attributes, md5_hex};
use crate::message_ids::{dedup_id, sequence_number, uuid};
use crate::queue::{Counts, DedupRecord, Queue, ReceiptStatus};
use crate::queue_settings::{ARN_PREFIX, QueueAttributes, QueueSettings, queue_name};
use crate::receipt_handle::ReceiptHandle;

/// The result of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentMessage {
    pub id: String,
    pub md5_body: String,
    pub md5_attributes: Option<String>,
    pub md5_system_attributes: Option<String>,
    pub sequence_number: Option<String>,
}

/// A message with its receipt handle.
#[derive(Debug, Clone)]
pub struct ReceivedMessage {
    pub message: QueueMessage,
    pub receipt_handle: String,
    pub fifo: bool,
}

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
/// Twelve hours: the longest time for which one receive can hide a message, even with extensions.
const MAX_VISIBILITY_MS: i64 = 43_200_000;

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

    /// Sends a message, unless it was already sent under its deduplication id in the last five minutes.
    pub fn send(&mut self, name: &str, draft: NewMessage) -> Result<SentMessage, SqsError> {
        let now = self.now();
        let Self { queues, next_seq: next, random, journal_lines: log, .. } = self;
        let queue = find_queue(queues, name, now)?;
        let bytes = draft.check()?;
        let limit = queue.settings.number("MaximumMessageSize");
        if i64::try_from(bytes).is_ok_and(|bytes| bytes > limit) {
            let reason = format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."
            );
            return Err(SqsError::new(ErrorCode::InvalidParameterValue, reason));
        }
        let dedup = dedup_id(&queue.settings, &draft)?;
        let delay = draft.delay_seconds.unwrap_or_else(|| queue.settings.number("DelaySeconds"));
        if !(0..=900).contains(&delay) {
            return Err(SqsError::invalid_value(
                "DelaySeconds",
                delay,
                "DelaySeconds must be >= 0 and <= 900.",
            ));
        }
        let mut sent = SentMessage {
            id: String::new(),
            md5_body: md5_hex(draft.body.as_bytes()),
            md5_attributes: md5_attributes(&draft.attributes),
            md5_system_attributes: md5_attributes(&draft.system_attributes),
            sequence_number: None,
        };
        let key = queue.dedup_key(draft.group.as_deref(), dedup.as_deref());
        if let Some(seen) = key.as_ref().and_then(|key| queue.dedup_record(key)) {
            return Ok(SentMessage {
                id: seen.id.clone(),
                sequence_number: Some(sequence_number(seen.seq)),
                ..sent
            });
        }
        let seq = take_seq(next);
        sent.id = uuid(&**random);
        sent.sequence_number = queue.settings.fifo.then(|| sequence_number(seq));
        let message = QueueMessage {
            seq,
            id: sent.id.clone(),
            body: draft.body,
            attributes: draft.attributes,
            trace: draft.system_attributes,
            group: draft.group,
            dedup,
            sent: now,
            since: now,
            due: now.saturating_add(delay.saturating_mul(1000)),
            received: 0,
            first_received: None,
            gave_up: None,
        };
        log_record(log, &JournalRecord::Sent { queue: name.into(), message: Cow::Borrowed(&message) });
        if let Some(key) = key {
            queue.remember_dedup_id(key, DedupRecord { at: now, id: sent.id.clone(), seq });
        }
        queue.insert(message);
        queue.advance_to(now);
        if delay > 0 {
            queue.wake.notify_waiters(); // waiting polls must compute their next due time again
        }
        queue.wake_for_new();
        Ok(sent)
    }

    /// Receives up to `max` messages; those received too often go to the dead-letter queue instead. At the limit of
    /// messages in flight, a standard queue returns an error, and a FIFO queue returns nothing.
    pub fn receive(
        &mut self,
        name: &str,
        max: usize,
        visibility_secs: Option<i64>,
    ) -> Result<Vec<ReceivedMessage>, SqsError> {
        let now = self.now();
        let Self {
            queues, next_seq: next, random, journal_lines: log, max_in_flight: most_in_flight, ..
        } = self;
        let queue = find_queue(queues, name, now)?;
        let capacity = most_in_flight.saturating_sub(queue.counts().in_flight);
        if capacity == 0 && !queue.settings.fifo {
            let reason = format!("Too many messages in flight: {most_in_flight} of queue {name}.");
            return Err(SqsError::new(ErrorCode::OverLimit, reason));
        }
        let max = max.min(capacity);
        let hide = visibility_secs
            .map_or_else(|| queue.settings.millis("VisibilityTimeout"), |s| s.saturating_mul(1000));
        let redrive = queue.settings.redrive.clone();
        let fifo = queue.settings.fifo;
        let mut out = Vec::new();
        let mut dead = Vec::new();
        while out.len() < max {
            let run = queue.next_receivable(max - out.len(), *most_in_flight);
            if run.is_empty() {
                break;
            }
            for seq in run {
                let received_too_often =
                    |m: &QueueMessage| redrive.as_ref().is_some_and(|r| m.received >= r.max_receive_count);
                if queue.get(seq).is_some_and(received_too_often) {
                    dead.extend(queue.remove(seq));
                    continue;
                }
                let mut bytes = [0; 8];
                random.fill(&mut bytes);
                let stamp = u64::from_le_bytes(bytes) | 1; // 0 means "never received"
                let Some(message) = queue.deliver(seq, stamp, now, now.saturating_add(hide)) else {
                    continue;
                };
                let (count, first) = (message.received, message.first_received);
                log_record(log, &JournalRecord::Received { queue: name.into(), seq, count, first });
                let receipt = ReceiptHandle { queue: name.to_owned(), seq, nonce: stamp }.to_string();
                out.push(ReceivedMessage { message: message.clone(), receipt_handle: receipt, fifo });
            }
        }
        if let Some(redrive) = redrive {
            for mut message in dead {
                message.gave_up = Some(name.to_owned());
                if fifo {
                    message.since = now;
                }
                transfer(queues, next, log, name, message, &redrive.target, now)?;
            }
        }
        Ok(out)
    }

    /// Deletes the message of a receipt handle. A standard queue accepts an older handle too, but deletes
    /// nothing: on AWS the message "might not be deleted".
    pub fn delete(&mut self, name: &str, handle: &str) -> Result<(), SqsError> {
        let now = self.now();
        let queue = find_queue(&mut self.queues, name, now)?;
        let receipt = ReceiptHandle::parse(handle, name)?;
        match queue.receipt_status(receipt.seq, receipt.nonce) {
            ReceiptStatus::Gone => return Ok(()),
            ReceiptStatus::Lapsed | ReceiptStatus::HeldByOther | ReceiptStatus::Outdated
                if queue.settings.fifo =>
            {
                return Err(SqsError::invalid_value(
                    "ReceiptHandle",
                    handle,
                    "The receipt handle has expired.",
                ));
            }
            ReceiptStatus::HeldByOther | ReceiptStatus::Outdated => return Ok(()),
            _ => queue.remove(receipt.seq),
        };
        log_record(&mut self.journal_lines, &JournalRecord::Deleted { queue: name.into(), seq: receipt.seq });
        queue.wake_for_new(); // the next of its group may be free
        Ok(())
    }

    /// Hides a received message for `secs` from now; 0 makes it visible at once.
    pub fn change_visibility(&mut self, name: &str, handle: &str, secs: i64) -> Result<(), SqsError> {
        let now = self.now();
        let queue = find_queue(&mut self.queues, name, now)?;
        let receipt = ReceiptHandle::parse(handle, name)?;
        if !(0..=43_200).contains(&secs) {
            return Err(SqsError::invalid_value(
                "VisibilityTimeout",
                secs,
                "VisibilityTimeout must be between 0 and 43200.",
            ));
        }
        match queue.receipt_status(receipt.seq, receipt.nonce) {
            ReceiptStatus::Held => {
                let until = now.saturating_add(secs.saturating_mul(1000));
                let latest = queue.received_at(receipt.seq).unwrap_or(now).saturating_add(MAX_VISIBILITY_MS);
                if until > latest {
                    let reason =
                        "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]";
                    return Err(SqsError::invalid_value("VisibilityTimeout", secs, reason));
                }
                queue.set_visibility(receipt.seq, until, now);
            }
            ReceiptStatus::HeldByOther => {
                return Err(SqsError::invalid_value(
                    "ReceiptHandle",
                    handle,
                    "The receipt handle has expired.",
                ));
            }
            ReceiptStatus::Lapsed | ReceiptStatus::Outdated => {
                return Err(SqsError::new(ErrorCode::MessageNotInflight, "The message is not in flight."));
            }
            ReceiptStatus::Gone => {
                let reason = "Message does not exist or is not available for visibility timeout change.";
                return Err(SqsError::invalid_value("ReceiptHandle", handle, reason));
            }
        }
        queue.wake.notify_waiters();
        Ok(())
    }

    /// Deletes all messages of a queue.
    pub fn purge(&mut self, name: &str) -> Result<(), SqsError> {
        self.queue(name)?.clear();
        log_record(&mut self.journal_lines, &JournalRecord::Purged { queue: name.into() });
        Ok(())
    }

    /// Moves the visible messages of a dead-letter queue to `target`, or each to its source queue. They get
    /// new ids and receive counts of 0. Returns how many were moved.
    pub fn redrive(&mut self, source: &str, target: Option<&str>) -> Result<usize, SqsError> {
        let now = self.now();
        let feeds = |queue: &Queue| queue.settings.redrive.as_ref().is_some_and(|r| r.target == source);
        if !self.queues.contains_key(source) || target.is_some_and(|name| !self.queues.contains_key(name)) {
            return Err(SqsError::new(
                ErrorCode::ResourceNotFound,
                "The resource that you specified doesn't exist.",
            ));
        }
        if !self.queues.values().any(feeds) {
            let reason = "Source queue must be configured as a Dead Letter Queue.";
            return Err(SqsError::new(ErrorCode::InvalidParameterValue, reason));
        }
        let Self { queues, next_seq: next, random, journal_lines: log, .. } = self;
        let queue = find_queue(queues, source, now)?;
        let mut moving = Vec::new();
        for seq in queue.visible() {
            let back = queue.get(seq).and_then(|message| message.gave_up.clone());
            let Some(target) = target.map(str::to_owned).or(back) else { continue };
            moving.extend(queue.remove(seq).map(|message| (message, target)));
        }
        let count = moving.len();
        for (mut message, target) in moving {
            message = QueueMessage {
                id: uuid(&**random),
                sent: now,
                since: now,
                due: now,
                received: 0,
                first_received: None,
                gave_up: None,
                ..message
            };
            transfer(queues, next, log, source, message, queue_name(&target), now)?;
        }
        Ok(count)
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

/// Adds a message that was removed from `from` to the end of `to`.
fn transfer(
    queues: &mut BTreeMap<String, Queue>,
    next: &mut u64,
    log: &mut Option<Vec<u8>>,
    from: &str,
    mut message: QueueMessage,
    to: &str,
    now: i64,
) -> Result<(), SqsError> {
    let old = std::mem::replace(&mut message.seq, take_seq(next));
    log_record(
        log,
        &JournalRecord::Moved {
            from: from.into(),
            seq: old,
            to: to.into(),
            message: Cow::Borrowed(&message),
        },
    );
    let queue = find_queue(queues, to, now)?;
    queue.insert(message);
    queue.advance_to(now);
    queue.wake_one();
    Ok(())
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
