//! Values that an instance trusts for some seconds, within a bound.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Values by key. What does not fit any more goes, the oldest first.
pub struct TtlCache<V> {
    seconds: i64,
    max_weight: usize,
    entries: Mutex<Entries<V>>,
}

struct Entries<V> {
    by_key: HashMap<String, Entry<V>>,
    /// Until when, and which: in the order in which they came, and so in that in which they end. A value that was
    /// evicted or came again leaves its place behind.
    by_end: VecDeque<(i64, String)>,
    weight: usize,
}

struct Entry<V> {
    value: Arc<V>,
    weight: usize,
    until: i64,
}

impl<V> TtlCache<V> {
    /// Values are kept for `seconds`, and together weigh at most `max_weight`.
    #[must_use]
    pub fn new(seconds: i64, max_weight: usize) -> Self {
        let entries = Entries { by_key: HashMap::new(), by_end: VecDeque::new(), weight: 0 };
        Self { seconds, max_weight, entries: Mutex::new(entries) }
    }

    /// The value, if it is to be trusted at the unix second `now`.
    pub fn get(&self, key: &str, now: i64) -> Option<Arc<V>> {
        self.lock().by_key.get(key).filter(|kept| now < kept.until).map(|kept| Arc::clone(&kept.value))
    }

    /// Keeps a value that was read at the unix second `now`; one that is too heavy by itself is not kept.
    pub fn insert(&self, key: &str, value: Arc<V>, weight: usize, now: i64) {
        let mut entries = self.lock();
        entries.remove(key);
        while let Some((until, _)) = entries.by_end.front() {
            if now < *until && entries.weight + weight <= self.max_weight {
                break;
            }
            entries.remove_oldest();
        }
        if weight > self.max_weight {
            return;
        }
        let until = now + self.seconds;
        entries.weight += weight;
        entries.by_end.push_back((until, key.to_owned()));
        entries.by_key.insert(key.to_owned(), Entry { value, weight, until });
    }

    /// Forgets a value, which was written.
    pub fn evict(&self, key: &str) {
        self.lock().remove(key);
    }

    /// Forgets all.
    pub fn clear(&self) {
        let mut entries = self.lock();
        (entries.by_key, entries.by_end, entries.weight) = (HashMap::new(), VecDeque::new(), 0);
    }

    fn lock(&self) -> MutexGuard<'_, Entries<V>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Entries<V> {
    fn remove(&mut self, key: &str) {
        if let Some(kept) = self.by_key.remove(key) {
            self.weight -= kept.weight;
        }
    }

    fn remove_oldest(&mut self) {
        if let Some((until, key)) = self.by_end.pop_front()
            && self.by_key.get(&key).is_some_and(|kept| kept.until == until)
        {
            self.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: i64 = 5;

    #[test]
    fn a_value_is_trusted_for_seconds_and_until_it_is_written() {
        let cache = TtlCache::new(SECONDS, 100);
        cache.insert("a", Arc::new(1), 10, 100);
        assert_eq!(cache.get("a", 100 + SECONDS - 1).as_deref(), Some(&1));
        assert_eq!(cache.get("a", 100 + SECONDS), None, "longer than promised");
        cache.insert("a", Arc::new(2), 20, 101);
        assert_eq!(
            (cache.get("a", 101).as_deref(), cache.lock().weight),
            (Some(&2), 20),
            "once, though kept twice"
        );
        cache.evict("a");
        assert_eq!((cache.get("a", 101), cache.lock().weight), (None, 0));
        cache.insert("a", Arc::new(3), 1, 102);
        cache.clear();
        assert_eq!((cache.get("a", 102), cache.lock().weight), (None, 0));
    }

    #[test]
    fn what_does_not_fit_goes_oldest_first() {
        let cache = TtlCache::new(SECONDS, 4);
        for n in 0..1_000 {
            cache.insert(&n.to_string(), Arc::new(n), 1, 100 + n / 10);
            let held = |n: i64| cache.get(&n.to_string(), 100 + n / 10).is_some();
            assert!(held(n), "the newest is there: {n}");
            let entries = cache.lock();
            assert!(entries.weight <= 4 && entries.weight == entries.by_key.len(), "after {n}");
            assert!(entries.by_end.len() <= 4, "places are left behind after {n}");
        }
        cache.insert("too heavy", Arc::new(0), 5, 300);
        assert_eq!(cache.get("too heavy", 300), None);
        // what is written again and again leaves no more places than its seconds have
        for _ in 0..100 {
            cache.insert("again", Arc::new(0), 1, 300);
            cache.evict("again");
        }
        cache.insert("again", Arc::new(0), 1, 300 + SECONDS);
        assert_eq!(cache.lock().by_end.len(), 1);
    }
}
