//! When an invocation has to end. It is passed down so that nothing begins which
//! cannot end in time: work that Lambda kills may have taken effect without a record.

use std::time::Duration;

use crate::clock::Clock;

/// A moment, unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(i64);

impl Deadline {
    /// No deadline.
    pub const NEVER: Self = Self(i64::MAX);

    /// At the unix millisecond `at`.
    #[must_use]
    pub fn at_unix_ms(at: i64) -> Self {
        Self(at)
    }

    /// So long from now.
    #[must_use]
    pub fn after(clock: &dyn Clock, wait: Duration) -> Self {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Self(clock.now().as_millisecond().saturating_add(wait))
    }

    /// Earlier by `what_follows`, to leave time for it.
    #[must_use]
    pub fn earlier_by(self, what_follows: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(what_follows.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time that is left.
    #[must_use]
    pub fn remaining(self, clock: &dyn Clock) -> Duration {
        let left = self.0.saturating_sub(clock.now().as_millisecond());
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    /// Whether there is time for something that takes up to `longest`.
    #[must_use]
    pub fn allows(self, clock: &dyn Clock, longest: Duration) -> bool {
        Self::after(clock, longest) <= self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn nothing_begins_that_cannot_end_in_time() {
        let clock = ManualClock::at(1_700_000_000);
        let until = Deadline::after(&clock, Duration::from_secs(30));
        assert!(until.allows(&clock, Duration::from_secs(30)));
        assert!(Deadline::NEVER.allows(&clock, Duration::MAX));
        clock.advance(20);
        assert_eq!(until.remaining(&clock), Duration::from_secs(10));
        assert!(until.allows(&clock, Duration::from_secs(10)));
        assert!(!until.allows(&clock, Duration::from_secs(11)));
        assert!(!until.earlier_by(Duration::from_secs(1)).allows(&clock, Duration::from_secs(10)));
        clock.advance(20);
        assert_eq!(until.remaining(&clock), Duration::ZERO);
    }
}
