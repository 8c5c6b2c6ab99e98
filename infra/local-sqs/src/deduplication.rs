//! The deduplication ids that a FIFO queue remembers, and for how long. No clock.

use std::collections::{HashMap, VecDeque};

/// How long a FIFO queue remembers a deduplication id.
const DEDUP_WINDOW_MS: i64 = 5 * 60 * 1000;

/// A message that was sent under a deduplication id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DedupRecord {
    pub at: i64,
    pub id: String,
    pub seq: u64,
}

/// What was sent in the last five minutes, by the key of [`crate::queue_settings::QueueSettings::dedup_key`].
#[derive(Default)]
pub struct Deduplication {
    records: HashMap<String, DedupRecord>,
    order: VecDeque<(i64, String)>,
}

impl Deduplication {
    /// Remembers a deduplication id.
    pub fn remember(&mut self, key: String, seen: DedupRecord) {
        self.order.push_back((seen.at, key.clone()));
        self.records.insert(key, seen);
    }

    /// Forgets what was sent more than five minutes before `now`.
    pub fn advance_to(&mut self, now: i64) {
        let forgotten = now.saturating_sub(DEDUP_WINDOW_MS);
        while let Some((at, key)) = self.order.pop_front_if(|(at, _)| *at <= forgotten) {
            if self.records.get(&key).is_some_and(|seen| seen.at == at) {
                self.records.remove(&key);
            }
        }
    }

    /// The message sent under a deduplication id in the last five minutes.
    #[must_use]
    pub fn record(&self, key: &str) -> Option<&DedupRecord> {
        self.records.get(key)
    }

    /// Every deduplication id that is still remembered.
    pub fn records(&self) -> impl Iterator<Item = (&str, &DedupRecord)> {
        self.order.iter().filter_map(|(at, key)| {
            let seen = self.records.get(key).filter(|seen| seen.at == *at)?;
            Some((key.as_str(), seen))
        })
    }
}
