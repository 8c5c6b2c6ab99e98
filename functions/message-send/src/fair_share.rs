//! Keeps one tenant from delaying the others. One queue serves all in order, so a flood from one tenant would
//! make all wait until it is sent. If the queue lags and most of what an instance receives is one tenant's,
//! that tenant gets half of the time; in the other half its messages are deferred into timers, for some
//! minutes. Deferring costs a fraction of sending, so the others are reached even if WeChat is slow. Which
//! tenants are behind it is not known, only that there may be some.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use shared::services::Services;

use crate::work::Work;

/// A message that was in the queue for longer than this is late.
const LATE_AFTER_MS: i64 = 2_000;
/// The queue lags if so many messages in a row are late; most of them must be one tenant's. That is two
/// batches: enough to notice a slow WeChat, and not to defer anybody for a few messages.
const MIN_LATE_MESSAGES: usize = 20;
/// Observations older than this are dropped.
const OBSERVATION_TTL_SECONDS: i64 = 60;
/// Half of each such cycle is the flooding tenant's, half is the others', who wait for one cycle at most. A
/// few calls of WeChat fit in it.
const TURN_CYCLE_MS: i64 = 10_000;
/// How long the answer whether there are other tenants is cached.
const OTHER_TENANTS_TTL_SECONDS: i64 = 300;
/// How long a message is deferred, within these bounds: as long as it is old. It may be deferred again.
/// Both in milliseconds.
pub const DEFER_MS: (i64, i64) = (60_000, 15 * 60_000);
/// Deferred messages are spread over this much more: 50,000 are 210 a second.
pub const DEFER_SPREAD_MS: i64 = 240_000;

/// What an instance has observed.
#[derive(Debug, Default)]
pub struct FairShare(Mutex<QueueObservation>);

#[derive(Debug, Default)]
struct QueueObservation {
    /// Time and tenant of the latest messages, as long as all of them were late.
    late_messages: VecDeque<(i64, String)>,
    /// Whether there are other tenants, and when that was read.
    has_others: Option<(i64, bool)>,
}

impl FairShare {
    /// The tenant whose messages in `works` are to be deferred now.
    pub async fn tenant_to_defer(&self, app: &Services, works: &[Work]) -> Option<String> {
        let now = app.clock.now();
        let tenant = self.dominant_tenant(works, now.as_second())?;
        (self.has_other_tenants(app, now.as_second()).await && is_other_tenants_turn(now)).then_some(tenant)
    }

    /// The tenant with most of the messages, if the queue lags.
    fn dominant_tenant(&self, works: &[Work], now: i64) -> Option<String> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let late = &mut seen.late_messages;
        // a redelivered message may be late for reasons of its own
        for work in works.iter().filter(|work| work.receive_count == 1) {
            if work.lag_ms > LATE_AFTER_MS {
                late.push_back((now, work.tenant_id.clone()));
            } else {
                late.clear();
            }
        }
        late.drain(..late.len().saturating_sub(MIN_LATE_MESSAGES));
        late.retain(|(at, _)| now - at <= OBSERVATION_TTL_SECONDS);
        if late.len() < MIN_LATE_MESSAGES {
            return None;
        }
        let mut of: HashMap<&str, usize> = HashMap::new();
        for (_, tenant) in late.iter() {
            *of.entry(tenant).or_default() += 1;
        }
        of.into_iter().find(|(_, count)| count * 2 > MIN_LATE_MESSAGES).map(|(tenant, _)| tenant.to_owned())
    }

    /// Whether there are other tenants; a single one may use all. If it cannot be read, nothing is deferred.
    async fn has_other_tenants(&self, app: &Services, now: i64) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).has_others;
        if let Some((_, are)) = known.filter(|(at, _)| now - at < OTHER_TENANTS_TTL_SECONDS) {
            return are;
        }
        match app.store.tenants().has_several().await {
            Ok(are) => {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).has_others = Some((now, are));
                are
            }
            Err(error) => {
                tracing::warn!(%error, "whether there are other tenants is not known: {error}");
                false
            }
        }
    }
}

fn is_other_tenants_turn(now: Timestamp) -> bool {
    now.as_millisecond().rem_euclid(TURN_CYCLE_MS) >= TURN_CYCLE_MS / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_most_of_a_lagging_queue_is_known_and_nobody_else() {
        const NOW: i64 = 1_700_000_000;
        /// A batch of messages: the tenant of each, how late they are, how often received, how long ago.
        #[derive(Clone, Copy)]
        struct Batch {
            tenants: &'static str,
            lag_ms: i64,
            receive_count: u32,
            seconds_ago: i64,
        }
        let now = Batch { tenants: "AAAAAAAAAA", lag_ms: 3_000, receive_count: 1, seconds_ago: 0 };
        let before = Batch { seconds_ago: 1, ..now };
        let again = Batch { receive_count: 2, ..now };
        let halves = Batch { tenants: "AAAAABBBBB", ..now };
        let in_time = Batch { lag_ms: 1_000, ..now };
        for (what, batches, expected) in [
            ("one batch", vec![now], None),
            ("two", vec![before, now], Some("A")),
            ("another among them", vec![before, Batch { tenants: "AAABBBAAAA", ..now }], Some("A")),
            (
                "a slow WeChat",
                vec![Batch { seconds_ago: 10, ..now }, Batch { lag_ms: 9_000, ..now }],
                Some("A"),
            ),
            ("long ago", vec![Batch { seconds_ago: 61, ..now }, now], None),
            ("in time", vec![Batch { seconds_ago: 1, ..in_time }, in_time], None),
            ("in time again", vec![before, in_time], None),
            ("they came again", vec![Batch { seconds_ago: 1, ..again }, again], None),
            ("halves", vec![Batch { seconds_ago: 1, ..halves }, halves], None),
            ("twice as many of another", vec![before, Batch { tenants: "BBBBBBBBBBB", ..now }], Some("B")),
        ] {
            let shares = FairShare::default();
            let mut most = None;
            for Batch { tenants, lag_ms, receive_count, seconds_ago } in batches {
                let work = |tenant: char| Work {
                    tenant_id: tenant.into(),
                    lag_ms,
                    receive_count,
                    ..Work::example("msg_1")
                };
                let works: Vec<_> = tenants.chars().map(work).collect();
                most = shares.dominant_tenant(&works, NOW - seconds_ago);
            }
            assert_eq!(most.as_deref(), expected, "{what}");
        }
    }

    #[test]
    fn turns_are_halves() {
        for (at, others) in [(0, false), (4_999, false), (5_000, true), (9_999, true), (10_000, false)] {
            assert_eq!(is_other_tenants_turn(Timestamp::from_millisecond(at).unwrap()), others, "{at}");
        }
    }
}
