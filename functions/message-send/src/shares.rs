//! Each tenant's share of the sending. One queue serves all in the order in which messages came, so a tenant that posts
//! very many at once would have everybody wait until they are sent. Where the queue lags, an instance that sees one
//! tenant take more than half of it, and others too, has that tenant's messages wait some minutes in timers: handing one
//! on costs a fraction of sending it, so the others are reached. What waited so is not put off again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// The queue lags when a message is older than this, milliseconds.
const LAG_MS: i64 = 2_000;
/// Length of a window in which shares are counted, seconds.
const WINDOW_SECONDS: i64 = 10;
/// So many in a window are few enough for anybody.
const FEW: u32 = 100;
/// Others count who were seen within so long, seconds: alone, a tenant may take all.
const LATELY_SECONDS: i64 = 300;
/// Tenants remembered at most.
const REMEMBERED: usize = 10_000;
/// What is put off comes back after this at the earliest, and spread over as much as [`PUT_OFF_SPREAD_MS`].
pub const PUT_OFF_MS: i64 = 60_000;
/// Over how long it is spread, milliseconds: 50,000 are 210 a second.
pub const PUT_OFF_SPREAD_MS: i64 = 240_000;

/// What an instance has seen.
#[derive(Debug, Default)]
pub struct Shares(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    window: i64,
    all: u32,
    of: HashMap<String, u32>,
    lately: HashMap<String, i64>,
}

impl Shares {
    /// Counts a message of `tenant` that is `age_ms` old at `now`, unix seconds. Whether it is to be put off.
    pub fn count(&self, tenant: &str, age_ms: i64, now: i64) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = now.div_euclid(WINDOW_SECONDS);
        if seen.window != window {
            (seen.window, seen.all) = (window, 0);
            seen.of.clear();
        }
        if seen.lately.len() >= REMEMBERED {
            seen.lately.clear();
        }
        seen.lately.insert(tenant.to_owned(), now);
        seen.all = seen.all.saturating_add(1);
        let all = seen.all;
        let own = seen.of.entry(tenant.to_owned()).or_default();
        *own = own.saturating_add(1);
        let own = *own;
        let most = own > FEW && own.saturating_mul(2) > all;
        let others = || seen.lately.iter().any(|(other, at)| other != tenant && now - at <= LATELY_SECONDS);
        age_ms > LAG_MS && most && others()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_floods_a_lagging_queue_is_put_off_and_nobody_else() {
        const NOW: i64 = 1_700_000_000;
        let flood = |shares: &Shares, age| (0..1_000).filter(|_| shares.count("many", age, NOW)).count();
        let alone = Shares::default();
        assert_eq!(flood(&alone, 60_000), 0, "alone it may take all");
        let shares = Shares::default();
        shares.count("few", 50, NOW);
        assert_eq!(flood(&shares, 500), 0, "nobody waits long");
        let shares = Shares::default();
        shares.count("few", 50, NOW);
        assert_eq!(flood(&shares, 60_000), 900, "all but its share");
        assert!(!shares.count("few", 60_000, NOW), "the others are not");
        assert!(!shares.count("many", 60_000, NOW + 10), "a new window, a new share");
        let shares = Shares::default();
        shares.count("few", 50, NOW - 301);
        assert_eq!(flood(&shares, 60_000), 0, "nobody else was here lately");
    }
}
