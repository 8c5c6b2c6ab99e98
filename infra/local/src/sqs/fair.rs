//! Fair queues: on a standard queue whose messages have groups, a group that keeps the receivers busy waits behind the
//! others. Nobody is capped, and without others a busy group gets everything. Messages without a group are in no
//! group: they are taken as they come.
//!
//! # Source
//! SQS developer guide, "Amazon SQS fair queues": a group is noisy with more than 10 % of the messages in flight and more
//! than 30 of them, or with more than 10 % of the time that messages are in flight. Over which time is not said: here
//! the last minute counts twice as much as the one before.

use std::collections::{BTreeSet, HashMap};

/// In flight, from which a group can be noisy.
const FLIGHTS: usize = 30;
/// A share of which a group is noisy: one in so many.
const SHARE: u64 = 10;
/// How long a time in flight counts in full, milliseconds.
const MEMORY_MS: i64 = 60_000;

/// Who keeps the receivers of a queue how busy.
#[derive(Default)]
pub struct Fairness {
    groups: HashMap<String, Share>,
    halved: i64,
}

#[derive(Default)]
struct Share {
    visible: BTreeSet<u64>,
    in_flight: usize,
    spent_ms: u64,
}

impl Fairness {
    /// A message can be received.
    pub fn show(&mut self, group: &str, seq: u64) {
        self.share(group).visible.insert(seq);
    }

    /// It cannot any more.
    pub fn hide(&mut self, group: &str, seq: u64) {
        self.share(group).visible.remove(&seq);
    }

    /// It was received.
    pub fn take_off(&mut self, group: &str) {
        self.share(group).in_flight += 1;
    }

    /// It was deleted, given back or lost, after so long.
    pub fn land(&mut self, group: &str, ms: i64) {
        let share = self.share(group);
        share.in_flight = share.in_flight.saturating_sub(1);
        share.spent_ms = share.spent_ms.saturating_add(u64::try_from(ms).unwrap_or(0));
    }

    /// Lets `now` come: what is long ago counts less, and who is not there any more not at all.
    pub fn settle(&mut self, now: i64) {
        if self.groups.is_empty() || now.saturating_sub(self.halved) < MEMORY_MS {
            return;
        }
        self.halved = now;
        self.groups.retain(|_, share| {
            share.spent_ms /= 2;
            share.spent_ms > 0 || share.in_flight > 0 || !share.visible.is_empty()
        });
    }

    /// The first message of those who are not noisy; none where nobody waits behind somebody noisy. `in_flight` are all
    /// of the queue.
    #[must_use]
    pub fn first(&self, in_flight: usize) -> Option<u64> {
        let spent: u64 = self.groups.values().map(|share| share.spent_ms).sum();
        let more = |part: usize, all: usize| (part as u64).saturating_mul(SHARE) > all as u64;
        let noisy = |share: &&Share| {
            (share.in_flight > FLIGHTS && more(share.in_flight, in_flight))
                || share.spent_ms.saturating_mul(SHARE) > spent
        };
        let waiting = || self.groups.values().filter(|share| !share.visible.is_empty());
        waiting().find(noisy)?;
        waiting().filter(|share| !noisy(share)).filter_map(|share| share.visible.first().copied()).min()
    }

    /// Forgets the messages, as when the queue is emptied.
    pub fn clear(&mut self) {
        self.groups.clear();
    }

    fn share(&mut self, group: &str) -> &mut Share {
        self.groups.entry(group.to_owned()).or_default()
    }
}
