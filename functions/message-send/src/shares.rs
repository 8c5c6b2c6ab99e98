//! Each tenant's share of the sending. One queue serves all in the order in which messages came, so a tenant that posts
//! very many at once would have everybody wait until they are sent. Where the queue lags and most of what an instance gets
//! is one tenant's, that tenant has one half of the time: in the other half its messages are put off, into timers, some
//! minutes. Handing one on costs a fraction of sending it, so the others are reached, however slow WeChat is. Who they are
//! nobody knows before; it is enough that there may be some.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use shared::app::App;

use crate::work::Work;

/// The queue lags when a message was in it for longer than this, milliseconds.
const LAG_MS: i64 = 2_000;
/// So many messages in a row say that it does, and whose most of them are: two batches, so that an instance learns it from
/// a slow WeChat too, and that nobody is put off for a few.
const LATE: usize = 20;
/// What was seen longer ago than this says nothing, seconds.
const LATELY_SECONDS: i64 = 60;
/// One half of so many milliseconds is a tenant's own, the other half the others'. Everybody waits for that long at most,
/// and a few calls of WeChat fit in.
const TURN_MS: i64 = 10_000;
/// How long it is known whether there are others, seconds.
const OTHERS_SECONDS: i64 = 300;
/// What is put off comes back after as long as it is old, but not sooner and not later than this, milliseconds. It may be
/// put off again.
pub const PUT_OFF_MS: (i64, i64) = (60_000, 15 * 60_000);
/// Over how much longer it is spread, milliseconds: 50,000 are 210 a second.
pub const PUT_OFF_SPREAD_MS: i64 = 240_000;

/// What an instance has seen.
#[derive(Debug, Default)]
pub struct Shares(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// When and whose: the latest messages, if all of them were late.
    late: VecDeque<(i64, String)>,
    /// Since when it is known whether there are other tenants.
    others: Option<(i64, bool)>,
}

impl Shares {
    /// The tenant whose messages are to be put off now, of those that come with `works`.
    pub async fn put_off(&self, app: &App, works: &[Work]) -> Option<String> {
        let now = app.clock.now();
        let tenant = self.takes_most(works, now.as_second())?;
        (self.are_others(app, now.as_second()).await && is_others_turn(now)).then_some(tenant)
    }

    /// Who takes most of what there is, if the queue lags.
    fn takes_most(&self, works: &[Work], now: i64) -> Option<String> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let late = &mut seen.late;
        // one that comes again was late by its own
        for work in works.iter().filter(|work| work.receives == 1) {
            if work.lag_ms > LAG_MS {
                late.push_back((now, work.tenant_id.clone()));
            } else {
                late.clear();
            }
        }
        late.drain(..late.len().saturating_sub(LATE));
        late.retain(|(at, _)| now - at <= LATELY_SECONDS);
        if late.len() < LATE {
            return None;
        }
        let mut of: HashMap<&str, usize> = HashMap::new();
        for (_, tenant) in late.iter() {
            *of.entry(tenant).or_default() += 1;
        }
        of.into_iter().find(|(_, count)| count * 2 > LATE).map(|(tenant, _)| tenant.to_owned())
    }

    /// Whether there are other tenants; alone, one may take all. Where it cannot be learned nobody is put off.
    async fn are_others(&self, app: &App, now: i64) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).others;
        if let Some((_, are)) = known.filter(|(at, _)| now - at < OTHERS_SECONDS) {
            return are;
        }
        match app.store.has_several_tenants().await {
            Ok(are) => {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).others = Some((now, are));
                are
            }
            Err(error) => {
                tracing::warn!(%error, "whether there are other tenants is not known: {error}");
                false
            }
        }
    }
}

fn is_others_turn(now: Timestamp) -> bool {
    now.as_millisecond().rem_euclid(TURN_MS) >= TURN_MS / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_most_of_a_lagging_queue_is_known_and_nobody_else() {
        const NOW: i64 = 1_700_000_000;
        // tenants of messages, how late each was, and how long before
        let batch = |tenants: &str, lag_ms, receives| -> Vec<Work> {
            let work =
                |tenant: char| Work { tenant_id: tenant.into(), lag_ms, receives, ..Work::example("msg_1") };
            tenants.chars().map(work).collect()
        };
        for (what, batches, expected) in [
            ("one batch", vec![("AAAAAAAAAA", 3_000, 1, 0)], None),
            ("two", vec![("AAAAAAAAAA", 3_000, 1, 1), ("AAAAAAAAAA", 4_000, 1, 0)], Some("A")),
            ("another among them", vec![("AAAAAAAAAA", 3_000, 1, 1), ("AAABBBAAAA", 4_000, 1, 0)], Some("A")),
            ("a slow WeChat", vec![("AAAAAAAAAA", 3_000, 1, 10), ("AAAAAAAAAA", 9_000, 1, 0)], Some("A")),
            ("long ago", vec![("AAAAAAAAAA", 3_000, 1, 61), ("AAAAAAAAAA", 4_000, 1, 0)], None),
            ("in time", vec![("AAAAAAAAAA", 1_000, 1, 1), ("AAAAAAAAAA", 1_000, 1, 0)], None),
            ("in time again", vec![("AAAAAAAAAA", 3_000, 1, 1), ("AAAAAAAAAA", 1_000, 1, 0)], None),
            ("they came again", vec![("AAAAAAAAAA", 3_000, 2, 1), ("AAAAAAAAAA", 3_000, 2, 0)], None),
            ("halves", vec![("AAAAABBBBB", 3_000, 1, 1), ("AAAAABBBBB", 4_000, 1, 0)], None),
            (
                "twice as many of another",
                vec![("AAAAAAAAAA", 3_000, 1, 1), ("BBBBBBBBBBB", 4_000, 1, 0)],
                Some("B"),
            ),
        ] {
            let shares = Shares::default();
            let mut most = None;
            for (tenants, lag, receives, ago) in batches {
                most = shares.takes_most(&batch(tenants, lag, receives), NOW - ago);
            }
            assert_eq!(most.as_deref(), expected, "{what}");
        }
    }

    #[test]
    fn turns_are_halves() {
        for (at, others) in [(0, false), (4_999, false), (5_000, true), (9_999, true), (10_000, false)] {
            assert_eq!(is_others_turn(Timestamp::from_millisecond(at).unwrap()), others, "{at}");
        }
    }
}
