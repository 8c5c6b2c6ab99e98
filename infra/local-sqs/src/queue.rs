//! One queue's messages, indexed by what can happen to them next. No clock, no input or output.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use crate::deduplication::Deduplication;
use crate::fairness::Fairness;
use crate::message::QueueMessage;
use crate::queue_settings::QueueSettings;

/// State of a message. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageState {
    Visible,
    Delayed(i64),
    InFlight(i64),
}

struct QueueEntry {
    message: QueueMessage,
    state: MessageState,
    /// Nonce of the newest receipt handle; 0 before the first receive.
    nonce: u64,
    /// Time of the last receive.
    received_at: i64,
}

/// What a receipt handle still stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptStatus {
    /// Deleted, expired or moved away.
    Gone,
    /// In flight by this receipt.
    Held,
    /// In flight by a newer receipt.
    HeldByOther,
    /// Not in flight: the visibility timeout has ended, and no other receive happened since.
    Lapsed,
    /// Not in flight, and superseded by a later receive.
    Outdated,
}

/// Counts as `GetQueueAttributes` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub visible: usize,
    pub in_flight: usize,
    pub delayed: usize,
}

/// A long poll that collects a batch. It may be gone.
pub struct BatchCollector {
    batch_size: usize,
    batch_ready: Weak<Notify>,
}

/// Messages, and the indexes over them.
pub struct Queue {
    pub settings: QueueSettings,
    pub created: i64,
    pub modified: i64,
    /// Wakes long polls: one for each message that can be received ([`Self::wake_one`]), all when due times
    /// have changed.
    pub wake: Arc<Notify>,
    /// The long poll that collects, if any: new messages are for it and wake no other.
    pub collector: Option<BatchCollector>,
    /// Of a FIFO queue: what was sent of late. It outlives its messages.
    pub deduplication: Deduplication,
    entries: BTreeMap<u64, QueueEntry>,
    /// What a receive may start with: every visible message, or in a FIFO queue the first of each free group.
    receivable: BTreeSet<u64>,
    /// Delayed and in-flight messages by the end of their delay or visibility timeout.
    by_due: BTreeSet<(i64, u64)>,
    /// Messages by the start of their retention.
    by_retention_start: BTreeSet<(i64, u64)>,
    in_flight: usize,
    groups: HashMap<String, FifoGroup>,
    fairness: Fairness,
    /// The latest time given to [`Self::advance_to`].
    now: i64,
}

#[derive(Default)]
struct FifoGroup {
    messages: BTreeSet<u64>,
    in_flight: usize,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(settings: QueueSettings, now: i64) -> Self {
        Self {
            settings,
            created: now,
            modified: now,
            wake: Arc::default(),
            collector: None,
            deduplication: Deduplication::default(),
            entries: BTreeMap::new(),
            receivable: BTreeSet::new(),
            by_due: BTreeSet::new(),
            by_retention_start: BTreeSet::new(),
            in_flight: 0,
            groups: HashMap::new(),
            fairness: Fairness::default(),
            now,
        }
    }

    /// The same messages under other settings.
    #[must_use]
    pub fn with_settings(self, settings: QueueSettings, created: i64, modified: i64) -> Self {
        Self { settings, created, modified, ..self }
    }

    /// Advances to `now`: ends delays and visibility timeouts, deletes old messages and deduplication ids.
    pub fn advance_to(&mut self, now: i64) {
        self.now = now;
        self.fairness.decay(now);
        while let Some(&(due, seq)) = self.by_due.first().filter(|(due, _)| *due <= now) {
            self.by_due.remove(&(due, seq));
            self.set_state(seq, MessageState::Visible);
        }
        let oldest = now.saturating_sub(self.settings.millis("MessageRetentionPeriod"));
        while let Some(&(_, seq)) = self.by_retention_start.first().filter(|(since, _)| *since <= oldest) {
            self.remove(seq);
        }
        self.deduplication.advance_to(now);
    }

    /// Adds a message.
    pub fn insert(&mut self, message: QueueMessage) {
        let (seq, due) = (message.seq, message.due);
        self.by_retention_start.insert((message.since, seq));
        if let Some(group) = self.fifo_group(&message) {
            self.groups.entry(group).or_default().messages.insert(seq);
        }
        self.entries
            .insert(seq, QueueEntry { message, state: MessageState::Visible, nonce: 0, received_at: 0 });
        self.set_state(seq, MessageState::Delayed(due));
    }

    /// Removes a message.
    pub fn remove(&mut self, seq: u64) -> Option<QueueMessage> {
        self.set_state(seq, MessageState::Visible);
        let message = self.entries.remove(&seq)?.message;
        self.receivable.remove(&seq);
        if let Some(group) = message.group.as_deref().filter(|_| !self.settings.fifo) {
            self.fairness.remove_visible(group, seq);
        }
        self.by_retention_start.remove(&(message.since, seq));
        if let Some(name) = self.fifo_group(&message) {
            if let Some(group) = self.groups.get_mut(&name) {
                group.messages.remove(&seq);
                if group.messages.is_empty() {
                    self.groups.remove(&name);
                }
            }
            self.offer_group_head(&name);
        }
        Some(message)
    }

    /// Removes all messages. Deduplication ids stay.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.receivable.clear();
        self.by_due.clear();
        self.by_retention_start.clear();
        self.groups.clear();
        self.fairness.clear();
        self.in_flight = 0;
    }

    /// What a receive takes next, in order: one message, or the visible head of one free group. A FIFO queue searches
    /// for free groups only among its first `reach` messages.
    #[must_use]
    pub fn next_receivable(&self, max: usize, reach: usize) -> Vec<u64> {
        let Some(first) = self.receivable.first() else { return Vec::new() };
        if !self.settings.fifo {
            return vec![self.fairness.first_of_quiet_group(self.in_flight).unwrap_or(*first)];
        }
        if self.entries.len() > reach && self.entries.range(..first).take(reach).count() == reach {
            return Vec::new();
        }
        let group = self.entries.get(first).and_then(|entry| self.fifo_group(&entry.message));
        match group.and_then(|name| self.groups.get(&name)) {
            Some(group) => {
                let visible =
                    |seq: &u64| self.entries.get(seq).is_some_and(|e| e.state == MessageState::Visible);
                group.messages.iter().copied().take_while(visible).take(max).collect()
            }
            None => vec![*first],
        }
    }

    /// Puts a message in flight until `until`, under a receipt with the nonce `receipt`.
    pub fn deliver(&mut self, seq: u64, receipt: u64, now: i64, until: i64) -> Option<&QueueMessage> {
        self.set_state(seq, MessageState::InFlight(until));
        let entry = self.entries.get_mut(&seq)?;
        entry.nonce = receipt;
        entry.received_at = now;
        entry.message.received = entry.message.received.saturating_add(1);
        entry.message.first_received.get_or_insert(now);
        Some(&entry.message)
    }

    /// Wakes one long poll if a message can be received: the one that takes it calls this again for the rest.
    pub fn wake_one(&self) {
        if !self.receivable.is_empty() {
            self.wake.notify_one();
        }
    }

    /// The same for a new message, unless a long poll collects.
    pub fn wake_for_new(&self) {
        match self.active_collector() {
            None => self.wake_one(),
            Some((full, enough)) if self.receivable_count() >= enough => full.notify_one(),
            Some(_) => {}
        }
    }

    /// Starts to collect a batch of `enough`; returns the signal of its end, `None` if another collects.
    /// Dropping it ends the collecting.
    pub fn start_collecting(&mut self, enough: usize) -> Option<Arc<Notify>> {
        if self.active_collector().is_some() {
            return None;
        }
        let full = Arc::default();
        self.collector = Some(BatchCollector { batch_size: enough, batch_ready: Arc::downgrade(&full) });
        Some(full)
    }

    fn active_collector(&self) -> Option<(Arc<Notify>, usize)> {
        let gathering = self.collector.as_ref()?;
        Some((gathering.batch_ready.upgrade()?, gathering.batch_size))
    }

    /// The number of messages, or of free groups in a FIFO queue, that can be received.
    #[must_use]
    pub fn receivable_count(&self) -> usize {
        self.receivable.len()
    }

    /// Makes a message visible at `until`, at once if that is past.
    pub fn set_visibility(&mut self, seq: u64, until: i64, now: i64) {
        self.set_state(seq, if until > now { MessageState::InFlight(until) } else { MessageState::Visible });
    }

    /// What a receipt handle still stands for.
    #[must_use]
    pub fn receipt_status(&self, seq: u64, receipt: u64) -> ReceiptStatus {
        match self.entries.get(&seq) {
            None => ReceiptStatus::Gone,
            Some(QueueEntry { state: MessageState::InFlight(_), nonce: newest, .. })
                if *newest == receipt =>
            {
                ReceiptStatus::Held
            }
            Some(QueueEntry { state: MessageState::InFlight(_), .. }) => ReceiptStatus::HeldByOther,
            // a restart forgets receipts, and no receive happened since
            Some(QueueEntry { nonce: newest, .. }) if *newest == receipt || *newest == 0 => {
                ReceiptStatus::Lapsed
            }
            Some(_) => ReceiptStatus::Outdated,
        }
    }

    /// When a message was last received.
    #[must_use]
    pub fn received_at(&self, seq: u64) -> Option<i64> {
        self.entries.get(&seq).map(|entry| entry.received_at)
    }

    /// A message of this queue.
    #[must_use]
    pub fn get(&self, seq: u64) -> Option<&QueueMessage> {
        self.entries.get(&seq).map(|entry| &entry.message)
    }

    /// A message of this queue, to apply the journal to.
    pub fn get_mut(&mut self, seq: u64) -> Option<&mut QueueMessage> {
        self.entries.get_mut(&seq).map(|entry| &mut entry.message)
    }

    /// All messages, oldest first.
    pub fn messages(&self) -> impl Iterator<Item = &QueueMessage> {
        self.entries.values().map(|entry| &entry.message)
    }

    /// All messages except those in flight or delayed.
    #[must_use]
    pub fn visible(&self) -> Vec<u64> {
        let visible = |(_, entry): &(&u64, &QueueEntry)| entry.state == MessageState::Visible;
        self.entries.iter().filter(visible).map(|(seq, _)| *seq).collect()
    }

    /// When the next delay or visibility timeout ends.
    #[must_use]
    pub fn next_due(&self) -> Option<i64> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// Number of messages by state.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            visible: self.entries.len() - self.by_due.len(),
            in_flight: self.in_flight,
            delayed: self.by_due.len() - self.in_flight,
        }
    }

    /// The group that a message locks while in flight; groups of a standard queue lock nothing.
    fn fifo_group(&self, message: &QueueMessage) -> Option<String> {
        message.group.clone().filter(|_| self.settings.fifo)
    }

    /// The only place that moves a message between the indexes.
    fn set_state(&mut self, seq: u64, place: MessageState) {
        let Some(entry) = self.entries.get_mut(&seq) else { return };
        let before = std::mem::replace(&mut entry.state, place);
        let name = entry.message.group.clone();
        let flown = self.now.saturating_sub(entry.received_at);
        let (was_out, is_out) =
            (matches!(before, MessageState::InFlight(_)), matches!(place, MessageState::InFlight(_)));
        if let MessageState::Delayed(due) | MessageState::InFlight(due) = before {
            self.by_due.remove(&(due, seq));
        }
        if let MessageState::Delayed(due) | MessageState::InFlight(due) = place {
            self.by_due.insert((due, seq));
        }
        let count = |n: usize| (n + usize::from(is_out)).saturating_sub(usize::from(was_out));
        self.in_flight = count(self.in_flight);
        if let Some(name) = name.as_deref().filter(|_| !self.settings.fifo) {
            match (was_out, is_out) {
                (false, true) => self.fairness.enter_flight(name),
                (true, false) => self.fairness.leave_flight(name, flown),
                _ => {}
            }
            if place == MessageState::Visible {
                self.fairness.add_visible(name, seq);
            } else {
                self.fairness.remove_visible(name, seq);
            }
        }
        match name.filter(|_| self.settings.fifo) {
            Some(name) => {
                if let Some(group) = self.groups.get_mut(&name) {
                    group.in_flight = count(group.in_flight);
                }
                self.offer_group_head(&name);
            }
            None if place == MessageState::Visible => {
                self.receivable.insert(seq);
            }
            None => {
                self.receivable.remove(&seq);
            }
        }
    }

    /// Makes the first message of a FIFO group receivable, if the group is free and the message visible.
    fn offer_group_head(&mut self, name: &str) {
        let Some(group) = self.groups.get(name) else { return };
        let Some(first) = group.messages.first() else { return };
        let visible = self.entries.get(first).is_some_and(|entry| entry.state == MessageState::Visible);
        if visible && group.in_flight == 0 {
            self.receivable.insert(*first);
        } else {
            self.receivable.remove(first);
        }
    }
}
