//! Daily call limits. Counters reset at 00:00 in Beijing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::ApiError;

/// Beijing is UTC+8 all year.
const BEIJING_OFFSET_SECONDS: i64 = 8 * 3600;
/// Resets of an account per month, website and API together.
const MAX_CLEARS_PER_MONTH: u32 = 10;

/// Calls of today, limits, and resets of this month.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Quotas {
    day: i64,
    used: BTreeMap<String, BTreeMap<String, u64>>,
    limits: BTreeMap<String, BTreeMap<String, u64>>,
    clears: BTreeMap<String, (i64, u32)>,
}

/// One API's quota for one app id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quota {
    /// Calls a day.
    pub daily_limit: u64,
    /// Calls so far.
    pub used: u64,
    /// What is left.
    pub remain: u64,
}

impl Quotas {
    /// Counts a call.
    ///
    /// # Errors
    /// 45009 when none is left; a refused call is not counted.
    pub fn count_call(
        &mut self,
        app_id: &str,
        path: &str,
        daily: Option<u64>,
        now: i64,
    ) -> Result<(), ApiError> {
        let quota = self.get(app_id, path, daily, now);
        if quota.remain == 0 {
            return Err(ApiError::new(45009));
        }
        *self.used.entry(app_id.into()).or_default().entry(path.into()).or_default() += 1;
        Ok(())
    }

    /// What is used and left.
    pub fn get(&mut self, app_id: &str, path: &str, daily: Option<u64>, now: i64) -> Quota {
        let today = (now + BEIJING_OFFSET_SECONDS).div_euclid(86_400);
        if self.day != today {
            self.day = today;
            self.used.clear();
        }
        let own = |map: &BTreeMap<String, BTreeMap<String, u64>>, key: &str| {
            map.get(key).and_then(|paths| paths.get(path)).copied()
        };
        let daily_limit = own(&self.limits, app_id)
            .or_else(|| own(&self.limits, "*"))
            .or(daily)
            .unwrap_or(u64::from(u32::MAX));
        let used = own(&self.used, app_id).unwrap_or(0);
        Quota { daily_limit, used, remain: daily_limit.saturating_sub(used) }
    }

    /// Sets a limit for one app id, or for every one with `*`.
    pub fn set_limit(&mut self, app_id: &str, path: &str, daily: u64) {
        self.limits.entry(app_id.into()).or_default().insert(path.into(), daily);
    }

    /// Sets how many calls were made today.
    pub fn set_used(&mut self, app_id: &str, path: &str, used: u64, now: i64) {
        let _ = self.get(app_id, path, None, now);
        self.used.entry(app_id.into()).or_default().insert(path.into(), used);
    }

    /// `clear_quota`: all counters of one app id.
    ///
    /// # Errors
    /// 48006 after ten in a month.
    pub fn clear(&mut self, app_id: &str, month: i64) -> Result<(), ApiError> {
        let clears = self.clears.entry(app_id.into()).or_default();
        if clears.0 != month {
            *clears = (month, 0);
        }
        if clears.1 >= MAX_CLEARS_PER_MONTH {
            return Err(ApiError::new(48006));
        }
        clears.1 += 1;
        self.used.remove(app_id);
        Ok(())
    }
}

/// The Beijing month of a time, counted from year 0.
#[must_use]
pub fn beijing_month(unix: i64) -> i64 {
    // Days to civil month: Howard Hinnant's algorithm, reduced to year and month.
    let z = (unix + BEIJING_OFFSET_SECONDS).div_euclid(86_400) + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    (era * 400 + yoe) * 12 + (5 * doy + 2) / 153
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2025-01-01 00:00 in Beijing.
    const NEW_YEAR: i64 = 1_735_660_800;

    #[test]
    fn a_quota_ends_and_starts_anew_at_beijing_midnight() {
        let mut quotas = Quotas::default();
        for _ in 0..2 {
            quotas.count_call("wx1", "/a", Some(2), NEW_YEAR - 1).unwrap();
        }
        assert_eq!(quotas.count_call("wx1", "/a", Some(2), NEW_YEAR - 1).unwrap_err().errcode, 45009);
        quotas.count_call("wx2", "/a", Some(2), NEW_YEAR - 1).unwrap();
        quotas.count_call("wx1", "/a", Some(2), NEW_YEAR).unwrap();
        assert_eq!(quotas.get("wx1", "/a", Some(2), NEW_YEAR).used, 1);
    }

    #[test]
    fn ten_resets_a_month() {
        let mut quotas = Quotas::default();
        let (december, january) = (beijing_month(NEW_YEAR - 1), beijing_month(NEW_YEAR));
        assert_ne!(december, january);
        assert_eq!(january, beijing_month(NEW_YEAR + 30 * 86_400));
        for _ in 0..10 {
            quotas.clear("wx1", january).unwrap();
        }
        assert_eq!(quotas.clear("wx1", january).unwrap_err().errcode, 48006);
        quotas.clear("wx1", january + 1).unwrap();
    }
}
