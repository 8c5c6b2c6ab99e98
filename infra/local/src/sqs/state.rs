//! All queues and their operations, given a clock and randomness. No input or output: changes that must
//! survive the process are recorded as journal lines, which [`super::Sqs`] writes before it returns.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use shared::{clock::Clock, random::Random};
use tokio::sync::Notify;

use super::fault::{Code, Fault};
use super::identity::{dedup_id, sequence, uuid};
use super::journal::Record;
use super::message::{Draft, Message, md5_attributes, md5_hex};
use super::queue::{Counts, Queue, Seen, Standing};
use super::receipt::Receipt;
use super::settings::{ARN, Raw, Settings, name_of};

/// The result of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub id: String,
    pub md5_body: String,
    pub md5_attributes: Option<String>,
    pub md5_trace: Option<String>,
    pub sequence: Option<String>,
}

/// A message with its receipt handle.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub message: Message,
    pub receipt: String,
    pub fifo: bool,
}

/// The queues.
pub struct Engine {
    pub(super) queues: BTreeMap<String, Queue>,
    pub(super) next: u64,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    log: Option<Vec<u8>>,
    /// Most messages in flight in one queue, and those that a FIFO queue searches for free groups.
    most_in_flight: usize,
}

/// "For most standard queues there can be a maximum of approximately 120,000 in flight messages"; of FIFO queues too.
pub const MOST_IN_FLIGHT: usize = 120_000;
/// Twelve hours: the longest time for which one receive can hide a message, even with extensions.
const LONGEST_FLIGHT_MS: i64 = 43_200_000;

impl Engine {
    /// No queues yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let most_in_flight = MOST_IN_FLIGHT;
        Self { queues: BTreeMap::new(), next: 1, clock, random, log: None, most_in_flight }
    }

    /// Sets a lower limit of messages in flight than AWS's.
    pub fn limit_in_flight(&mut self, most: usize) {
        self.most_in_flight = most;
    }

    /// Records changes as journal lines from now on.
    pub fn keep_log(&mut self) {
        self.log = Some(Vec::new());
    }

    /// The recorded lines that were not written yet, if any.
    pub fn log(&mut self) -> Option<&mut Vec<u8>> {
        self.log.as_mut().filter(|log| !log.is_empty())
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    /// Creates a queue, or checks that it exists with these attributes.
    pub fn create(&mut self, name: &str, raw: Raw) -> Result<(), Fault> {
        match self.queues.get(name) {
            Some(queue) if queue.settings.agrees(&raw) => Ok(()),
            Some(_) => {
                let message =
                    "A queue already exists with the same name and a different value for an attribute.";
                Err(Fault::new(Code::QueueNameExists, message))
            }
            None => self.settle_on(name, Settings::new(name, raw)?),
        }
    }

    /// Creates a queue, or replaces its attributes.
    pub fn declare(&mut self, name: &str, raw: Raw) -> Result<(), Fault> {
        self.settle_on(name, Settings::new(name, raw)?)
    }

    /// Changes some attributes.
    pub fn set(&mut self, name: &str, raw: Raw) -> Result<(), Fault> {
        let settings = self.queue(name)?.settings.with(name, raw)?;
        self.settle_on(name, settings)
    }

    fn settle_on(&mut self, name: &str, settings: Settings) -> Result<(), Fault> {
        if let Some(redrive) = settings.redrive.as_ref()
            && !self.queues.contains_key(&redrive.target)
        {
            return Err(Fault::value("RedrivePolicy", &redrive.target, "Dead letter target does not exist."));
        }
        let now = self.now();
        let queue = match self.queues.remove(name) {
            Some(queue) if queue.settings == settings => queue,
            Some(queue) => {
                let created = queue.created;
                queue.with(settings, created, now)
            }
            None => Queue::new(settings, now),
        };
        let record = Record::Queue {
            name: name.into(),
            attributes: Cow::Borrowed(queue.settings.raw()),
            created: queue.created,
            modified: queue.modified,
        };
        note(&mut self.log, &record);
        self.queues.insert(name.to_owned(), queue);
        Ok(())
    }

    /// A queue, advanced to the current time.
    pub fn queue(&mut self, name: &str) -> Result<&mut Queue, Fault> {
        let now = self.now();
        find(&mut self.queues, name, now)
    }

    /// The queues' names, in order.
    #[must_use]
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.queues.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    /// All attributes of a queue.
    pub fn attributes(&mut self, name: &str) -> Result<Raw, Fault> {
        let queue = self.queue(name)?;
        let Counts { visible, in_flight, delayed } = queue.counts();
        let mut all = queue.settings.all();
        all.extend([
            ("QueueArn".to_owned(), format!("{ARN}{name}")),
            ("ApproximateNumberOfMessages".to_owned(), visible.to_string()),
            ("ApproximateNumberOfMessagesNotVisible".to_owned(), in_flight.to_string()),
            ("ApproximateNumberOfMessagesDelayed".to_owned(), delayed.to_string()),
            ("CreatedTimestamp".to_owned(), queue.created.div_euclid(1000).to_string()),
            ("LastModifiedTimestamp".to_owned(), queue.modified.div_euclid(1000).to_string()),
        ]);
        Ok(all)
    }

    /// Sends a message, unless it was already sent under its deduplication id in the last five minutes.
    pub fn send(&mut self, name: &str, draft: Draft) -> Result<Sent, Fault> {
        let now = self.now();
        let Self { queues, next, random, log, .. } = self;
        let queue = find(queues, name, now)?;
        let bytes = draft.check()?;
        let limit = queue.settings.number("MaximumMessageSize");
        if i64::try_from(bytes).is_ok_and(|bytes| bytes > limit) {
            let reason = format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."
            );
            return Err(Fault::new(Code::InvalidParameterValue, reason));
        }
        let dedup = dedup_id(&queue.settings, &draft)?;
        let delay = draft.delay.unwrap_or_else(|| queue.settings.number("DelaySeconds"));
        if !(0..=900).contains(&delay) {
            return Err(Fault::value("DelaySeconds", delay, "DelaySeconds must be >= 0 and <= 900."));
        }
        let mut sent = Sent {
            id: String::new(),
            md5_body: md5_hex(draft.body.as_bytes()),
            md5_attributes: md5_attributes(&draft.attributes),
            md5_trace: md5_attributes(&draft.trace),
            sequence: None,
        };
        let key = queue.dedup_key(draft.group.as_deref(), dedup.as_deref());
        if let Some(seen) = key.as_ref().and_then(|key| queue.seen(key)) {
            return Ok(Sent { id: seen.id.clone(), sequence: Some(sequence(seen.seq)), ..sent });
        }
        let seq = claim(next);
        sent.id = uuid(&**random);
        sent.sequence = queue.settings.fifo.then(|| sequence(seq));
        let message = Message {
            seq,
            id: sent.id.clone(),
            body: draft.body,
            attributes: draft.attributes,
            trace: draft.trace,
            group: draft.group,
            dedup,
            sent: now,
            since: now,
            due: now.saturating_add(delay.saturating_mul(1000)),
            received: 0,
            first_received: None,
            gave_up: None,
        };
        note(log, &Record::Sent { queue: name.into(), message: Cow::Borrowed(&message) });
        if let Some(key) = key {
            queue.remember(key, Seen { at: now, id: sent.id.clone(), seq });
        }
        queue.insert(message);
        queue.settle(now);
        if delay > 0 {
            queue.wake.notify_waiters(); // waiting polls must compute their next due time again
        }
        queue.tell_of_new();
        Ok(sent)
    }

    /// Receives up to `max` messages; those received too often go to the dead-letter queue instead. At the limit of
    /// messages in flight, a standard queue returns an error, and a FIFO queue returns nothing.
    pub fn receive(&mut self, name: &str, max: usize, hide: Option<i64>) -> Result<Vec<Delivery>, Fault> {
        let now = self.now();
        let Self { queues, next, random, log, most_in_flight, .. } = self;
        let queue = find(queues, name, now)?;
        let room = most_in_flight.saturating_sub(queue.counts().in_flight);
        if room == 0 && !queue.settings.fifo {
            let reason = format!("Too many messages in flight: {most_in_flight} of queue {name}.");
            return Err(Fault::new(Code::OverLimit, reason));
        }
        let max = max.min(room);
        let hide =
            hide.map_or_else(|| queue.settings.millis("VisibilityTimeout"), |s| s.saturating_mul(1000));
        let redrive = queue.settings.redrive.clone();
        let fifo = queue.settings.fifo;
        let mut out = Vec::new();
        let mut dead = Vec::new();
        while out.len() < max {
            let run = queue.next(max - out.len(), *most_in_flight);
            if run.is_empty() {
                break;
            }
            for seq in run {
                let worn = |m: &Message| redrive.as_ref().is_some_and(|r| m.received >= r.max_receives);
                if queue.get(seq).is_some_and(worn) {
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
                note(log, &Record::Received { queue: name.into(), seq, count, first });
                let receipt = Receipt { queue: name.to_owned(), seq, stamp }.to_string();
                out.push(Delivery { message: message.clone(), receipt, fifo });
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
    pub fn delete(&mut self, name: &str, handle: &str) -> Result<(), Fault> {
        let now = self.now();
        let queue = find(&mut self.queues, name, now)?;
        let receipt = Receipt::parse(handle, name)?;
        match queue.standing(receipt.seq, receipt.stamp) {
            Standing::Gone => return Ok(()),
            Standing::Lapsed | Standing::HeldByOther | Standing::Outdated if queue.settings.fifo => {
                return Err(Fault::value("ReceiptHandle", handle, "The receipt handle has expired."));
            }
            Standing::HeldByOther | Standing::Outdated => return Ok(()),
            _ => queue.remove(receipt.seq),
        };
        note(&mut self.log, &Record::Deleted { queue: name.into(), seq: receipt.seq });
        queue.tell_of_new(); // the next of its group may be free
        Ok(())
    }

    /// Hides a received message for `secs` from now; 0 makes it visible at once.
    pub fn change_visibility(&mut self, name: &str, handle: &str, secs: i64) -> Result<(), Fault> {
        let now = self.now();
        let queue = find(&mut self.queues, name, now)?;
        let receipt = Receipt::parse(handle, name)?;
        if !(0..=43_200).contains(&secs) {
            return Err(Fault::value(
                "VisibilityTimeout",
                secs,
                "VisibilityTimeout must be between 0 and 43200.",
            ));
        }
        match queue.standing(receipt.seq, receipt.stamp) {
            Standing::Held => {
                let until = now.saturating_add(secs.saturating_mul(1000));
                let latest = queue.received_at(receipt.seq).unwrap_or(now).saturating_add(LONGEST_FLIGHT_MS);
                if until > latest {
                    let reason =
                        "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]";
                    return Err(Fault::value("VisibilityTimeout", secs, reason));
                }
                queue.hide(receipt.seq, until, now);
            }
            Standing::HeldByOther => {
                return Err(Fault::value("ReceiptHandle", handle, "The receipt handle has expired."));
            }
            Standing::Lapsed | Standing::Outdated => {
                return Err(Fault::new(Code::MessageNotInflight, "The message is not in flight."));
            }
            Standing::Gone => {
                let reason = "Message does not exist or is not available for visibility timeout change.";
                return Err(Fault::value("ReceiptHandle", handle, reason));
            }
        }
        queue.wake.notify_waiters();
        Ok(())
    }

    /// Deletes all messages of a queue.
    pub fn purge(&mut self, name: &str) -> Result<(), Fault> {
        self.queue(name)?.clear();
        note(&mut self.log, &Record::Purged { queue: name.into() });
        Ok(())
    }

    /// Moves the visible messages of a dead-letter queue to `target`, or each to its source queue. They get
    /// new ids and receive counts of 0. Returns how many were moved.
    pub fn redrive(&mut self, source: &str, target: Option<&str>) -> Result<usize, Fault> {
        let now = self.now();
        let feeds = |queue: &Queue| queue.settings.redrive.as_ref().is_some_and(|r| r.target == source);
        if !self.queues.contains_key(source) || target.is_some_and(|name| !self.queues.contains_key(name)) {
            return Err(Fault::new(Code::ResourceNotFound, "The resource that you specified doesn't exist."));
        }
        if !self.queues.values().any(feeds) {
            let reason = "Source queue must be configured as a Dead Letter Queue.";
            return Err(Fault::new(Code::InvalidParameterValue, reason));
        }
        let Self { queues, next, random, log, .. } = self;
        let queue = find(queues, source, now)?;
        let mut moving = Vec::new();
        for seq in queue.visible() {
            let back = queue.get(seq).and_then(|message| message.gave_up.clone());
            let Some(target) = target.map(str::to_owned).or(back) else { continue };
            moving.extend(queue.remove(seq).map(|message| (message, target)));
        }
        let count = moving.len();
        for (mut message, target) in moving {
            message = Message {
                id: uuid(&**random),
                sent: now,
                since: now,
                due: now,
                received: 0,
                first_received: None,
                gave_up: None,
                ..message
            };
            transfer(queues, next, log, source, message, name_of(&target), now)?;
        }
        Ok(count)
    }

    /// What wakes a waiting receiver.
    pub fn wake(&mut self, name: &str) -> Result<Arc<Notify>, Fault> {
        Ok(Arc::clone(&self.queue(name)?.wake))
    }

    /// Milliseconds until the next delay or visibility timeout ends.
    pub fn millis_to_due(&mut self, name: &str) -> Result<Option<u64>, Fault> {
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
    mut message: Message,
    to: &str,
    now: i64,
) -> Result<(), Fault> {
    let old = std::mem::replace(&mut message.seq, claim(next));
    note(
        log,
        &Record::Moved { from: from.into(), seq: old, to: to.into(), message: Cow::Borrowed(&message) },
    );
    let queue = find(queues, to, now)?;
    queue.insert(message);
    queue.settle(now);
    queue.tell();
    Ok(())
}

fn find<'a>(queues: &'a mut BTreeMap<String, Queue>, name: &str, now: i64) -> Result<&'a mut Queue, Fault> {
    let queue = queues
        .get_mut(name)
        .ok_or_else(|| Fault::new(Code::QueueDoesNotExist, "The specified queue does not exist."))?;
    queue.settle(now);
    Ok(queue)
}

fn note(log: &mut Option<Vec<u8>>, record: &Record<'_>) {
    if let Some(log) = log {
        record.write(log);
    }
}

fn claim(next: &mut u64) -> u64 {
    let seq = *next;
    *next = next.saturating_add(1);
    seq
}
