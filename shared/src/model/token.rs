//! When tokens are refreshed: before they expire, spread evenly, and found without searching.
//!
//! A token is *due* when less than a quarter of its lifetime is left. Tokens of the standard
//! lifetime are on a wheel of [`WHEEL_SLOTS`] one-minute slots, each visited every 6,600 s. A
//! fresh token then has 600 of its 7,200 s left, and keeps its slot, so that the index need not
//! be rewritten. A visit may be early in a token's life: check [`is_due`]. 100,000 accounts are
//! 100,000 / 6,600 s = 15.2 refreshes a second. Any other lifetime gets its own time.
//!
//! All times are Unix seconds, lifetimes seconds, minutes Unix seconds /
//! 60. A token with an unreadable lifetime (zero or less) is due at once.

/// The lifetime that WeChat gives in practice, seconds. Source: WeChat's api_component_token and api_authorizer_token.
pub const STANDARD_LIFETIME_SECONDS: i64 = 7200;

/// Slots of the wheel, one a minute.
pub const WHEEL_SLOTS: u32 = 110;

/// The latest time of a refresh before expiry, in seconds: room for a few failed attempts.
pub const LATEST_REFRESH_BEFORE_EXPIRY_SECONDS: i64 = 300;

/// A token is refreshed from this long before its expiry, in seconds, unless a quarter of its life is less.
const REFRESH_WINDOW_BEFORE_EXPIRY_SECONDS: i64 = 900;

/// Jitter of the first slot, in seconds: two thirds of [`REFRESH_WINDOW_BEFORE_EXPIRY_SECONDS`].
const WHEEL_JITTER_SECONDS: u64 = 600;

/// Where a token waits for its refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// On the wheel, in this slot.
    Wheel {
        /// In `0..WHEEL_SLOTS`.
        slot: u32,
    },
    /// At its own time, in the sorted index.
    Sorted {
        /// Unix seconds.
        unix_seconds: i64,
    },
}

/// Whether less than a quarter of the lifetime is left.
#[must_use]
pub fn is_due(issued: i64, expires_in: i64, now: i64) -> bool {
    seconds_left(issued, expires_in, now).saturating_mul(4) < expires_in || expires_in <= 0
}

/// Whether nothing is left.
#[must_use]
pub fn is_expired(issued: i64, expires_in: i64, now: i64) -> bool {
    seconds_left(issued, expires_in, now) <= 0
}

fn seconds_left(issued: i64, expires_in: i64, now: i64) -> i64 {
    issued.saturating_add(expires_in).saturating_sub(now)
}

/// Where a token that was issued at `issued` waits. `jitter` is
/// any random number; it spreads tokens that were issued together.
#[must_use]
pub fn plan_refresh(issued: i64, expires_in: i64, jitter: u64) -> Due {
    if expires_in == STANDARD_LIFETIME_SECONDS {
        let start = STANDARD_LIFETIME_SECONDS - REFRESH_WINDOW_BEFORE_EXPIRY_SECONDS;
        let at = issued.saturating_add(start).saturating_add(jitter_below(jitter, WHEEL_JITTER_SECONDS + 1));
        return Due::Wheel { slot: slot_of(at.div_euclid(60)) };
    }
    let life = expires_in.max(0);
    let quarter = life / 4;
    // at exactly 0.75 of its life it is not yet due, one second later it is
    let earliest = life - quarter + i64::from(life > 0 && life % 4 == 0);
    let start = earliest.max((life - life / 8).min(life - REFRESH_WINDOW_BEFORE_EXPIRY_SECONDS));
    let width = (life - start).max(0) / 3 * 2;
    let jitter = jitter_below(jitter, u64::try_from(width).unwrap_or(0) + 1);
    Due::Sorted { unix_seconds: issued.saturating_add(start).saturating_add(jitter) }
}

/// Whether a token issued at `issued` may wait in `slot`: when the slot is first visited after the token
/// is due, at least [`LATEST_REFRESH_BEFORE_EXPIRY_SECONDS`] are left. True after a refresh on time; false
/// after one so late or so early that the slot misses the window, which needs a new [`plan_refresh`].
#[must_use]
pub fn keeps_slot(slot: u32, issued: i64, expires_in: i64) -> bool {
    if expires_in != STANDARD_LIFETIME_SECONDS || slot >= WHEEL_SLOTS {
        return false;
    }
    let due = issued.saturating_add(STANDARD_LIFETIME_SECONDS - STANDARD_LIFETIME_SECONDS / 4);
    let minute = due.div_euclid(60).saturating_add(1);
    let ahead = i64::from(slot).saturating_sub(minute).rem_euclid(i64::from(WHEEL_SLOTS));
    let visit = minute.saturating_add(ahead).saturating_mul(60);
    seconds_left(issued, expires_in, visit) >= LATEST_REFRESH_BEFORE_EXPIRY_SECONDS
}

/// The slot that is visited in this minute.
#[must_use]
pub fn slot_of(minute: i64) -> u32 {
    u32::try_from(minute.rem_euclid(i64::from(WHEEL_SLOTS))).unwrap_or(0)
}

/// The slots of the minutes after `last_tick_minute` up to `now_minute`, longest overdue first; each at
/// most once, so at most [`WHEEL_SLOTS`] however long no tick came. Empty when no minute has passed.
#[must_use]
pub fn slots_between(last_tick_minute: i64, now_minute: i64) -> Vec<u32> {
    let first = last_tick_minute.saturating_add(1);
    let last = now_minute.min(last_tick_minute.saturating_add(i64::from(WHEEL_SLOTS)));
    (first..=last).map(slot_of).collect()
}

/// `jitter` in `0..bound`.
fn jitter_below(jitter: u64, bound: u64) -> i64 {
    i64::try_from(jitter.checked_rem(bound).unwrap_or(0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{Random, StdRandom};

    #[test]
    fn a_token_is_due_in_its_last_quarter_and_expired_at_its_end() {
        for (what, expires_in, age, due, expired) in [
            ("a fresh one", 7200, 0, false, false),
            ("one with exactly a quarter left", 7200, 5400, false, false),
            ("one with a second less", 7200, 5401, true, false),
            ("one in its last second", 7200, 7199, true, false),
            ("one at its end", 7200, 7200, true, true),
            ("a short-lived one with a quarter left", 600, 450, false, false),
            ("a short-lived one with less", 600, 451, true, false),
            ("one whose clock is ahead", 7200, -60, false, false),
            ("one without a lifetime", 0, 0, true, true),
        ] {
            let (issued, now) = (1_700_000_000, 1_700_000_000 + age);
            assert_eq!(is_due(issued, expires_in, now), due, "{what}");
            assert_eq!(is_expired(issued, expires_in, now), expired, "{what}");
        }
    }

    #[test]
    fn slots_come_round_once_and_in_order() {
        for (what, last, now, expected) in [
            ("one minute later", 99, 100, vec![100]),
            ("over the wheel's end", 108, 111, vec![109, 0, 1]),
            ("the same minute again", 100, 100, vec![]),
            ("a clock that went back", 100, 90, vec![]),
        ] {
            assert_eq!(slots_between(last, now), expected, "{what}");
        }
        let mut all = slots_between(7, 7_000_000);
        assert_eq!(all.first(), Some(&8), "after an outage the longest overdue comes first");
        all.sort_unstable();
        assert_eq!(all, (0..WHEEL_SLOTS).collect::<Vec<_>>(), "and each slot once");
    }

    #[test]
    fn a_slot_is_kept_after_a_refresh_on_time_alone() {
        let minute = 28_333_334; // of the refresh that the slot asked for
        let slot = slot_of(minute);
        for (what, late, kept) in [
            ("on its minute", 0, true),
            ("at the end of its minute", 59, true),
            ("some minutes late", 600, true),
            ("so late that it would not be due next time", 1260, false),
            ("minutes early, on use", -240, true),
            ("so early that it would be close to its end next time", -360, false),
        ] {
            assert_eq!(keeps_slot(slot, minute * 60 + late, 7200), kept, "{what}");
        }
        assert!(!keeps_slot(slot, minute * 60, 7100), "another lifetime has no slot");
        assert!(!keeps_slot(WHEEL_SLOTS, minute * 60, 7200), "there is no such slot");
    }

    proptest! {
        #[test]
        fn a_plan_is_always_inside_the_last_quarter(
            issued in 1_600_000_000i64..2_000_000_000, life in 8i64..3_000_000, jitter: u64,
        ) {
            match plan_refresh(issued, life, jitter) {
                Due::Sorted { unix_seconds } => {
                    prop_assert!(is_due(issued, life, unix_seconds), "{unix_seconds} is too early");
                    prop_assert!(!is_expired(issued, life, unix_seconds), "{unix_seconds} is too late");
                }
                Due::Wheel { slot } => prop_assert!(keeps_slot(slot, issued, life)),
            }
            let Due::Wheel { slot } = plan_refresh(issued, STANDARD_LIFETIME_SECONDS, jitter) else { panic!("not on the wheel") };
            prop_assert!(keeps_slot(slot, issued, STANDARD_LIFETIME_SECONDS), "slot {slot} is not for {issued}");
        }

        #[test]
        fn nothing_overflows(issued: i64, life: i64, jitter: u64, now: i64, slot: u32) {
            let _ = (plan_refresh(issued, life, jitter), keeps_slot(slot, issued, life), slots_between(issued, now));
            let _ = (is_due(issued, life, now), is_expired(issued, life, now));
        }
    }

    /// A month of minutes: the schedule ticks with some delay, now and then not at all, and refreshes what
    /// is due in the slots that came round.
    #[test]
    fn over_a_month_every_token_is_refreshed_in_time_and_the_rate_holds() {
        const MONTH: i64 = 30 * 24 * 3600;
        const ACCOUNTS: i64 = 200;
        let (random, start) = (StdRandom::seeded(7), 1_700_000_000);
        let slot = |issued, jitter| match plan_refresh(issued, STANDARD_LIFETIME_SECONDS, jitter) {
            Due::Wheel { slot } => slot,
            Due::Sorted { .. } => panic!("the standard lifetime rides the wheel"),
        };
        let mut accounts: Vec<(u32, i64)> = (0..ACCOUNTS)
            .map(|_| start - i64::try_from(random.below(5000)).unwrap())
            .map(|issued| (slot(issued, random.below(u64::MAX)), issued))
            .collect();
        let (mut refreshes, mut moved, mut last) = (0, 0, start / 60);
        for minute in start / 60 + 1..(start + MONTH) / 60 {
            if random.below(50) == 0 {
                continue; // a tick that did not come: the next one makes up for it
            }
            let now = minute * 60 + i64::try_from(random.below(60)).unwrap();
            for slot_now in slots_between(last, minute) {
                for (place, issued) in accounts.iter_mut().filter(|(place, _)| *place == slot_now) {
                    if !is_due(*issued, STANDARD_LIFETIME_SECONDS, now) {
                        continue;
                    }
                    assert!(!is_expired(*issued, STANDARD_LIFETIME_SECONDS, now), "refreshed too late");
                    (*issued, refreshes) = (now, refreshes + 1);
                    if !keeps_slot(*place, now, STANDARD_LIFETIME_SECONDS) {
                        (*place, moved) = (slot(now, random.below(u64::MAX)), moved + 1);
                    }
                }
            }
            last = minute;
            assert!(
                accounts.iter().all(|(_, issued)| !is_expired(*issued, STANDARD_LIFETIME_SECONDS, now)),
                "a token expired unseen"
            );
        }
        let per_second = f64::from(refreshes) / 2_592_000.0 * 100_000.0 / 200.0;
        assert!((15.0..=15.2).contains(&per_second), "{per_second} a second for 100,000 accounts");
        assert_eq!(moved, 0, "an index entry was rewritten without need");
    }
}
