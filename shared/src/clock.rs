//! Time as an argument: a simulation runs through a month of it from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Where code asks what time it is. Nothing else in the workspace may read the system's clock.
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;

    /// Now, in whole seconds since 1970: WeChat's `CreateTime`.
    fn unix(&self) -> i64 {
        self.now().as_second()
    }
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that a test or a simulation drives. Clones share their time; it never goes back.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Starts at `unix` seconds since 1970.
    #[must_use]
    pub fn at(unix: i64) -> Self {
        Self(Arc::new(AtomicI64::new(unix.saturating_mul(1000))))
    }

    /// Moves on by `ms` milliseconds; negative steps are ignored.
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms.max(0), Ordering::SeqCst);
    }

    /// Moves on by `secs` seconds.
    pub fn advance(&self, secs: i64) {
        self.advance_ms(secs.saturating_mul(1000));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}
