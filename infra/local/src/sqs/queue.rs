//! One queue's messages, indexed by what can happen to them next. No clock, no input or output.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use super::fair::Fairness;
use super::message::Message;
use super::settings::Settings;

/// How long a FIFO queue remembers a deduplication id.
pub const DEDUP_MS: i64 = 5 * 60 * 1000;

/// State of a message. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Visible,
    Delayed(i64),
    InFlight(i64),
}

struct Entry {
    message: Message,
    place: Place,
    /// Nonce of the newest receipt handle; 0 before the first receive.
    receipt: u64,
    /// Time of the last receive.
    since: i64,
}

/// A message that was sent under a deduplication id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub at: i64,
    pub id: String,
    pub seq: u64,
}

/// What a receipt handle still stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
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
pub struct Gathering {
    enough: usize,
    full: Weak<Notify>,
}

/// Messages, and the indexes over them.
pub struct Queue {
    pub settings: Settings,
    pub created: i64,
    pub modified: i64,
    /// Wakes long polls: one for each message that can be received ([`Self::wake_one`]), all when due times
    /// have changed.
    pub wake: Arc<Notify>,
    /// The long poll that collects, if any: new messages are for it and wake no other.
    pub gathering: Option<Gathering>,
    entries: BTreeMap<u64, Entry>,
    /// What a receive may start with: every visible message, or in a FIFO queue the first of each free group.
    offers: BTreeSet<u64>,
    /// Delayed and in-flight messages by the end of their delay or visibility timeout.
    waiting: BTreeSet<(i64, u64)>,
    /// Messages by the start of their retention.
    ages: BTreeSet<(i64, u64)>,
    in_flight: usize,
    groups: HashMap<String, Group>,
    fairness: Fairness,
    /// The latest time given to [`Self::advance_to`].
    now: i64,
    seen: HashMap<String, Seen>,
    seen_order: VecDeque<(i64, String)>,
}

#[derive(Default)]
struct Group {
    order: BTreeSet<u64>,
    in_flight: usize,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(settings: Settings, now: i64) -> Self {
        Self {
            settings,
            created: now,
            modified: now,
            wake: Arc::default(),
            gathering: None,
            entries: BTreeMap::new(),
            offers: BTreeSet::new(),
            waiting: BTreeSet::new(),
            ages: BTreeSet::new(),
            in_flight: 0,
            groups: HashMap::new(),
            fairness: Fairness::default(),
            now,
            seen: HashMap::new(),
            seen_order: VecDeque::new(),
        }
    }

    /// The same messages under other settings.
    #[must_use]
    pub fn with(self, settings: Settings, created: i64, modified: i64) -> Self {
        Self { settings, created, modified, ..self }
    }

    /// Advances to `now`: ends delays and visibility timeouts, deletes old messages and deduplication ids.
    pub fn settle(&mut self, now: i64) {
        self.now = now;
        self.fairness.settle(now);
        while let Some(&(due, seq)) = self.waiting.first().filter(|(due, _)| *due <= now) {
            self.waiting.remove(&(due, seq));
            self.put(seq, Place::Visible);
        }
        let oldest = now.saturating_sub(self.settings.millis("MessageRetentionPeriod"));
        while let Some(&(_, seq)) = self.ages.first().filter(|(since, _)| *since <= oldest) {
            self.remove(seq);
        }
        let forgotten = now.saturating_sub(DEDUP_MS);
        while let Some((at, key)) = self.seen_order.pop_front_if(|(at, _)| *at <= forgotten) {
            if self.seen.get(&key).is_some_and(|seen| seen.at == at) {
                self.seen.remove(&key);
            }
        }
    }

    /// Adds a message.
    pub fn insert(&mut self, message: Message) {
        let (seq, due) = (message.seq, message.due);
        self.ages.insert((message.since, seq));
        if let Some(group) = self.locks(&message) {
            self.groups.entry(group).or_default().order.insert(seq);
        }
        self.entries.insert(seq, Entry { message, place: Place::Visible, receipt: 0, since: 0 });
        self.put(seq, Place::Delayed(due));
    }

    /// Removes a message.
    pub fn remove(&mut self, seq: u64) -> Option<Message> {
        self.put(seq, Place::Visible);
        let message = self.entries.remove(&seq)?.message;
        self.offers.remove(&seq);
        if let Some(group) = message.group.as_deref().filter(|_| !self.settings.fifo) {
            self.fairness.hide(group, seq);
        }
        self.ages.remove(&(message.since, seq));
        if let Some(name) = self.locks(&message) {
            if let Some(group) = self.groups.get_mut(&name) {
                group.order.remove(&seq);
                if group.order.is_empty() {
                    self.groups.remove(&name);
                }
            }
            self.offer_first(&name);
        }
        Some(message)
    }

    /// Removes all messages. Deduplication ids stay.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.offers.clear();
        self.waiting.clear();
        self.ages.clear();
        self.groups.clear();
        self.fairness.clear();
        self.in_flight = 0;
    }

    /// What a receive takes next, in order: one message, or the visible head of one free group. A FIFO queue searches
    /// for free groups only among its first `reach` messages.
    #[must_use]
    pub fn next(&self, max: usize, reach: usize) -> Vec<u64> {
        let Some(first) = self.offers.first() else { return Vec::new() };
        if !self.settings.fifo {
            return vec![self.fairness.first(self.in_flight).unwrap_or(*first)];
        }
        if self.entries.len() > reach && self.entries.range(..first).take(reach).count() == reach {
            return Vec::new();
        }
        let group = self.entries.get(first).and_then(|entry| self.locks(&entry.message));
        match group.and_then(|name| self.groups.get(&name)) {
            Some(group) => {
                let visible = |seq: &u64| self.entries.get(seq).is_some_and(|e| e.place == Place::Visible);
                group.order.iter().copied().take_while(visible).take(max).collect()
            }
            None => vec![*first],
        }
    }

    /// Puts a message in flight until `until`, under a receipt with the nonce `receipt`.
    pub fn deliver(&mut self, seq: u64, receipt: u64, now: i64, until: i64) -> Option<&Message> {
        self.put(seq, Place::InFlight(until));
        let entry = self.entries.get_mut(&seq)?;
        entry.receipt = receipt;
        entry.since = now;
        entry.message.received = entry.message.received.saturating_add(1);
        entry.message.first_received.get_or_insert(now);
        Some(&entry.message)
    }

    /// Wakes one long poll if a message can be received: the one that takes it calls this again for the rest.
    pub fn tell(&self) {
        if !self.offers.is_empty() {
            self.wake.notify_one();
        }
    }

    /// The same for a new message, unless a long poll collects.
    pub fn tell_of_new(&self) {
        match self.gatherer() {
            None => self.tell(),
            Some((full, enough)) if self.offered() >= enough => full.notify_one(),
            Some(_) => {}
        }
    }

    /// Starts to collect a batch of `enough`; returns the signal of its end, `None` if another collects.
    /// Dropping it ends the collecting.
    pub fn gather(&mut self, enough: usize) -> Option<Arc<Notify>> {
        if self.gatherer().is_some() {
            return None;
        }
        let full = Arc::default();
        self.gathering = Some(Gathering { enough, full: Arc::downgrade(&full) });
        Some(full)
    }

    fn gatherer(&self) -> Option<(Arc<Notify>, usize)> {
        let gathering = self.gathering.as_ref()?;
        Some((gathering.full.upgrade()?, gathering.enough))
    }

    /// The number of messages, or of free groups in a FIFO queue, that can be received.
    #[must_use]
    pub fn offered(&self) -> usize {
        self.offers.len()
    }

    /// Makes a message visible at `until`, at once if that is past.
    pub fn hide(&mut self, seq: u64, until: i64, now: i64) {
        self.put(seq, if until > now { Place::InFlight(until) } else { Place::Visible });
    }

    /// What a receipt handle still stands for.
    #[must_use]
    pub fn standing(&self, seq: u64, receipt: u64) -> Standing {
        match self.entries.get(&seq) {
            None => Standing::Gone,
            Some(Entry { place: Place::InFlight(_), receipt: newest, .. }) if *newest == receipt => {
                Standing::Held
            }
            Some(Entry { place: Place::InFlight(_), .. }) => Standing::HeldByOther,
            // a restart forgets receipts, and no receive happened since
            Some(Entry { receipt: newest, .. }) if *newest == receipt || *newest == 0 => Standing::Lapsed,
            Some(_) => Standing::Outdated,
        }
    }

    /// When a message was last received.
    #[must_use]
    pub fn received_at(&self, seq: u64) -> Option<i64> {
        self.entries.get(&seq).map(|entry| entry.since)
    }

    /// A message of this queue.
    #[must_use]
    pub fn get(&self, seq: u64) -> Option<&Message> {
        self.entries.get(&seq).map(|entry| &entry.message)
    }

    /// A message of this queue, to apply the journal to.
    pub fn get_mut(&mut self, seq: u64) -> Option<&mut Message> {
        self.entries.get_mut(&seq).map(|entry| &mut entry.message)
    }

    /// All messages, oldest first.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.entries.values().map(|entry| &entry.message)
    }

    /// All messages except those in flight or delayed.
    #[must_use]
    pub fn visible(&self) -> Vec<u64> {
        let visible = |(_, entry): &(&u64, &Entry)| entry.place == Place::Visible;
        self.entries.iter().filter(visible).map(|(seq, _)| *seq).collect()
    }

    /// When the next delay or visibility timeout ends.
    #[must_use]
    pub fn next_due(&self) -> Option<i64> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// Number of messages by state.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            visible: self.entries.len() - self.waiting.len(),
            in_flight: self.in_flight,
            delayed: self.waiting.len() - self.in_flight,
        }
    }

    /// The message sent under a deduplication id in the last five minutes.
    #[must_use]
    pub fn seen(&self, key: &str) -> Option<&Seen> {
        self.seen.get(key)
    }

    /// Every deduplication id that is still remembered.
    pub fn all_seen(&self) -> impl Iterator<Item = (&str, &Seen)> {
        self.seen_order.iter().filter_map(|(at, key)| {
            let seen = self.seen.get(key).filter(|seen| seen.at == *at)?;
            Some((key.as_str(), seen))
        })
    }

    /// Remembers a deduplication id.
    pub fn remember(&mut self, key: String, seen: Seen) {
        self.seen_order.push_back((seen.at, key.clone()));
        self.seen.insert(key, seen);
    }

    /// The key under which a message's deduplication id is remembered.
    #[must_use]
    pub fn dedup_key(&self, group: Option<&str>, dedup: Option<&str>) -> Option<String> {
        let dedup = dedup.filter(|_| self.settings.fifo)?;
        let scope = if self.settings.dedup_by_group() { group.unwrap_or_default() } else { "" };
        Some(format!("{scope}\n{dedup}"))
    }

    /// The group that a message locks while in flight; groups of a standard queue lock nothing.
    fn locks(&self, message: &Message) -> Option<String> {
        message.group.clone().filter(|_| self.settings.fifo)
    }

    /// The only place that moves a message between the indexes.
    fn put(&mut self, seq: u64, place: Place) {
        let Some(entry) = self.entries.get_mut(&seq) else { return };
        let before = std::mem::replace(&mut entry.place, place);
        let name = entry.message.group.clone();
        let flown = self.now.saturating_sub(entry.since);
        let (was_out, is_out) = (matches!(before, Place::InFlight(_)), matches!(place, Place::InFlight(_)));
        if let Place::Delayed(due) | Place::InFlight(due) = before {
            self.waiting.remove(&(due, seq));
        }
        if let Place::Delayed(due) | Place::InFlight(due) = place {
            self.waiting.insert((due, seq));
        }
        let count = |n: usize| (n + usize::from(is_out)).saturating_sub(usize::from(was_out));
        self.in_flight = count(self.in_flight);
        if let Some(name) = name.as_deref().filter(|_| !self.settings.fifo) {
            match (was_out, is_out) {
                (false, true) => self.fairness.take_off(name),
                (true, false) => self.fairness.land(name, flown),
                _ => {}
            }
            if place == Place::Visible {
                self.fairness.show(name, seq);
            } else {
                self.fairness.hide(name, seq);
            }
        }
        match name.filter(|_| self.settings.fifo) {
            Some(name) => {
                if let Some(group) = self.groups.get_mut(&name) {
                    group.in_flight = count(group.in_flight);
                }
                self.offer_first(&name);
            }
            None if place == Place::Visible => {
                self.offers.insert(seq);
            }
            None => {
                self.offers.remove(&seq);
            }
        }
    }

    /// Makes the first message of a FIFO group receivable, if the group is free and the message visible.
    fn offer_first(&mut self, name: &str) {
        let Some(group) = self.groups.get(name) else { return };
        let Some(first) = group.order.first() else { return };
        let visible = self.entries.get(first).is_some_and(|entry| entry.place == Place::Visible);
        if visible && group.in_flight == 0 {
            self.offers.insert(*first);
        } else {
            self.offers.remove(first);
        }
    }
}
