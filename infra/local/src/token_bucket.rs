//! Token buckets, by which AWS limits rates.

/// A token bucket; rate and burst are passed with each call.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    tokens: f64,
    refilled_at_ms: i64,
}

impl TokenBucket {
    /// A full one.
    #[must_use]
    pub fn full(burst: u32, now_ms: i64) -> Self {
        Self { tokens: f64::from(burst), refilled_at_ms: now_ms }
    }

    fn refill(&mut self, rate: u32, burst: u32, now_ms: i64) {
        let passed = i32::try_from(now_ms.saturating_sub(self.refilled_at_ms).max(0)).unwrap_or(i32::MAX);
        self.refilled_at_ms = self.refilled_at_ms.max(now_ms);
        self.tokens = (self.tokens + f64::from(passed) * f64::from(rate) / 1000.0).min(f64::from(burst));
    }

    /// Takes `amount` in any case: the number of tokens may become negative.
    pub fn take_into_debt(&mut self, amount: u32, rate: u32, burst: u32, now_ms: i64) {
        self.refill(rate, burst, now_ms);
        self.tokens -= f64::from(amount);
    }

    /// Takes `amount` if there are enough tokens. An `amount` larger than the burst needs a full bucket and empties it.
    /// A bucket in debt refuses even an `amount` of 0.
    pub fn try_take(&mut self, amount: u32, rate: u32, burst: u32, now_ms: i64) -> bool {
        self.refill(rate, burst, now_ms);
        let (amount, burst) = (f64::from(amount), f64::from(burst));
        let enough = self.tokens >= amount.min(burst);
        if enough {
            self.tokens = (self.tokens - amount).max(0.0);
        }
        enough
    }

    /// Whether the bucket has had the time to fill up.
    #[must_use]
    pub fn is_full(&self, rate: u32, burst: u32, now_ms: i64) -> bool {
        let mut bucket = *self;
        bucket.try_take(burst, rate, burst, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = TokenBucket::full(3, 0);
        let mut take = |amount: u32, now: i64| bucket.try_take(amount, 2, 3, now);
        for (what, amount, now, given) in [
            ("the burst", 3, 0, true),
            ("no more at once", 1, 0, false),
            ("half a second later one", 1, 500, true),
            ("and no second", 1, 500, false),
            ("never more than the burst", 4, 60_000, true),
            ("which is gone then", 1, 60_000, false),
            ("a clock that goes back gives nothing", 1, 0, false),
        ] {
            assert_eq!(take(amount, now), given, "{what}");
        }
        assert!(!bucket.is_full(2, 3, 60_100) && bucket.is_full(2, 3, 62_000));
    }
}
