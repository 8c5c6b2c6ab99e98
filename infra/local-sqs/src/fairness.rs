//! Fair queues: on a standard queue whose messages have groups, a group that keeps the receivers busy yields to the
//! others. No group is capped: without others, a busy group gets all receivers. Messages without a group
//! are received in their order.
//!
//! # Source
//! SQS developer guide, "Amazon SQS fair queues": a group is noisy with more than 10 % of the messages in flight and more
//! than 30, or with more than 10 % of the time in flight. The period is not documented: here
//! the last minute counts twice as much as the one before.

use std::collections::{BTreeSet, HashMap};

/// A group with no more messages in flight than this is not noisy by their number.
const NOISY_IN_FLIGHT: usize = 30;
/// A group is noisy with more than one part in this many.
const NOISY_SHARE_DIVISOR: u64 = 10;
/// The half-life of time spent in flight, milliseconds.
const HALF_LIFE_MS: i64 = 60_000;

/// How busy each group keeps the receivers of a queue.
#[derive(Default)]
pub struct Fairness {
    groups: HashMap<String, GroupLoad>,
    halved_at: i64,
}

#[derive(Default)]
struct GroupLoad {
    visible: BTreeSet<u64>,
    in_flight: usize,
    spent_ms: u64,
}

impl Fairness {
    /// A message became visible.
    pub fn add_visible(&mut self, group: &str, seq: u64) {
        self.load_of(group).visible.insert(seq);
    }

    /// A message is no longer visible.
    pub fn remove_visible(&mut self, group: &str, seq: u64) {
        self.load_of(group).visible.remove(&seq);
    }

    /// A message of the group was received.
    pub fn enter_flight(&mut self, group: &str) {
        self.load_of(group).in_flight += 1;
    }

    /// A message was deleted, given back or timed out, after `ms` milliseconds in flight.
    pub fn leave_flight(&mut self, group: &str, ms: i64) {
        let share = self.load_of(group);
        share.in_flight = share.in_flight.saturating_sub(1);
        share.spent_ms = share.spent_ms.saturating_add(u64::try_from(ms).unwrap_or(0));
    }

    /// Advances to `now`: halves old times, and removes groups without messages.
    pub fn decay(&mut self, now: i64) {
        if self.groups.is_empty() || now.saturating_sub(self.halved_at) < HALF_LIFE_MS {
            return;
        }
        self.halved_at = now;
        self.groups.retain(|_, share| {
            share.spent_ms /= 2;
            share.spent_ms > 0 || share.in_flight > 0 || !share.visible.is_empty()
        });
    }

    /// The first message of a quiet group; `None` if no noisy group has visible messages. `in_flight` are
    /// all of the queue's.
    #[must_use]
    pub fn first_of_quiet_group(&self, in_flight: usize) -> Option<u64> {
        let spent: u64 = self.groups.values().map(|share| share.spent_ms).sum();
        let more = |part: usize, all: usize| (part as u64).saturating_mul(NOISY_SHARE_DIVISOR) > all as u64;
        let noisy = |share: &&GroupLoad| {
            (share.in_flight > NOISY_IN_FLIGHT && more(share.in_flight, in_flight))
                || share.spent_ms.saturating_mul(NOISY_SHARE_DIVISOR) > spent
        };
        let waiting = || self.groups.values().filter(|share| !share.visible.is_empty());
        waiting().find(noisy)?;
        waiting().filter(|share| !noisy(share)).filter_map(|share| share.visible.first().copied()).min()
    }

    /// Forgets the messages, as when the queue is emptied.
    pub fn clear(&mut self) {
        self.groups.clear();
    }

    fn load_of(&mut self, group: &str) -> &mut GroupLoad {
        self.groups.entry(group.to_owned()).or_default()
    }
}
