//! WeChat's error codes and what a caller may do about each.
//!
//! Source: WeChat's table of global return codes; the classes are ours.

use jiff::Timestamp;

/// What a caller may do after an errcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrcodeClass {
    /// The call succeeded: 0, or it had been done before (45065, 45081).
    Ok,
    /// WeChat is busy: retry with back-off, a few times.
    Retry,
    /// Replace the refused token, if it is still the current one, then retry once.
    Token,
    /// A quota is used up: retry after [`wait_until`].
    Quota(QuotaWait),
    /// The platform's own ticket, secret or address is not accepted, for any account: it says nothing
    /// about the account, the code or the message. The next ticket cures it, or the operator; retry later.
    Platform,
    /// Not possible for this account or resource: tell the tenant, do not retry.
    Permanent,
    /// The request is wrong: do not retry it unchanged.
    Caller,
    /// Not in the table: treat it as permanent and show the number.
    Unknown,
}

/// When a used-up quota is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaWait {
    /// Counted by the minute.
    NextMinute,
    /// Counted by the day, which WeChat ends at midnight in Beijing.
    NextBeijingMidnight,
    /// Only the fan's next message or click renews it: give up, do not wait.
    Window,
    /// No time is known.
    Other,
}

/// How long to wait where no time is known, in seconds. What waits looks again at least every hour.
pub const UNKNOWN_WAIT_SECONDS: i64 = 3600;

/// Beijing is eight hours ahead of UTC all year, so its midnight is 16:00 UTC.
const BEIJING_MIDNIGHT_UTC_SECONDS: i64 = 16 * 3600;
const DAY_SECONDS: i64 = 24 * 3600;

/// The class of an errcode.
#[must_use]
pub fn class(errcode: i64) -> ErrcodeClass {
    use ErrcodeClass::{Caller, Ok, Permanent, Platform, Quota, Retry, Token, Unknown};
    use QuotaWait::{NextBeijingMidnight, NextMinute, Other, Window};
    match errcode {
        0 | 45065 | 45081 => Ok,
        -1 | 61450 => Retry,
        40091 | 40125 | 40164 | 61004..=61006 => Platform,
        40001 | 40014 | 42001 | 42006 => Token,
        45011 | 45066 => Quota(NextMinute),
        45009 => Quota(NextBeijingMidnight),
        45047 => Quota(Window),
        43100 | 45010 | 45028 | 45040 | 45061 | 45102 | 48006 | 61503 | 89501..=89507 => Quota(Other),
        40030 | 40066 | 40094 | 40099 | 40116 | 40127 | 40163 | 40243 => Permanent,
        42002 | 42003 | 42007 | 43004 | 43005 | 43019 | 43101..=43106 => Permanent,
        45015 | 45026 | 45027 | 45029 | 45031 | 45033 | 45035 | 45060 | 45064 | 45080 | 45087 | 45094 => {
            Permanent
        }
        45103 | 45168 | 48001..=48005 | 48008 | 48010..=48015 | 50001 | 50002 | 50004 | 50005 | 50007 => {
            Permanent
        }
        53404..=53406 | 53503..=53505 | 61003 | 61007 | 61016 | 61017 | 61023 => Permanent,
        61025 | 61028..=61030 | 65413..=65415 | 88000..=88011 | 89000..=89004 | 9_001_001..=9_001_036 => {
            Permanent
        }
        40002..=40013 | 40015..=40029 | 40031..=40033 | 40035..=40039 | 40048 | 40050..=40055 => Caller,
        40059 | 40060 | 40071..=40080 | 40097 | 40109 | 40114 | 40117..=40121 | 40130 | 40132 | 40137 => {
            Caller
        }
        40155 | 40165..=40168 | 40201..=40203 | 41001..=41009 | 41018..=41021 | 41030 | 41039 => Caller,
        43001..=43003 | 44001..=44006 | 45001..=45008 | 45012..=45014 | 45016..=45018 => Caller,
        45056..=45059 | 45067 | 45072 | 45083 | 45084 | 45098 | 45099 | 45157..=45159 | 45166 => Caller,
        46001..=46004 | 47001..=47003 | 49003 | 53600 | 61008..=61015 | 61024 | 61451..=61457 => Caller,
        61500..=61502 | 65301..=65318 | 65400..=65417 | 76001..=76004 | 76021 | 76022 | 87009 => Caller,
        200_011..=200_021 => Caller,
        _ => Unknown,
    }
}

/// Whether `api_query_auth` refused the code itself: used, invalid, or too old. Any other error may pass.
#[must_use]
pub fn is_about_authorization_code(errcode: i64) -> bool {
    matches!(errcode, 61009 | 61010)
}

/// Whether an account's authorization has been withdrawn.
#[must_use]
pub fn is_unauthorized(errcode: i64) -> bool {
    errcode == 61003
}

/// When to retry after a used-up quota; always later than `now`. For [`QuotaWait::Window`] no wait helps:
/// it gets the same hour as [`QuotaWait::Other`], but a sender gives up or takes another channel instead.
#[must_use]
pub fn wait_until(wait: QuotaWait, now: Timestamp) -> Timestamp {
    let unix = now.as_second();
    let then = match wait {
        QuotaWait::NextMinute => next_boundary(unix, 60, 0),
        QuotaWait::NextBeijingMidnight => next_boundary(unix, DAY_SECONDS, BEIJING_MIDNIGHT_UTC_SECONDS),
        QuotaWait::Window | QuotaWait::Other => unix.saturating_add(UNKNOWN_WAIT_SECONDS),
    };
    Timestamp::from_second(then).unwrap_or(now)
}

/// The first second after `unix` that is `offset` into a period.
fn next_boundary(unix: i64, period: i64, offset: i64) -> i64 {
    let past = unix.saturating_sub(offset).rem_euclid(period);
    unix.saturating_add(period - past)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errcode_tells_what_may_be_done() {
        use ErrcodeClass::*;
        for (what, code, expected) in [
            ("success", 0, Ok),
            ("a message that was accepted before", 45065, Ok),
            ("system busy", -1, Retry),
            ("a ticket that expired", 61005, Platform),
            ("a ticket that is not the newest", 61006, Platform),
            ("a ticket that is none", 40091, Platform),
            ("the platform's secret, rotated", 40125, Platform),
            ("an address that the platform has not listed", 61004, Platform),
            ("a token that is not the latest", 40001, Token),
            ("a malformed token", 40014, Token),
            ("an expired token", 42001, Token),
            ("an expired component token", 42006, Token),
            ("the daily quota", 45009, Quota(QuotaWait::NextBeijingMidnight)),
            ("the quota of the minute", 45011, Quota(QuotaWait::NextMinute)),
            ("the sends of the reply window", 45047, Quota(QuotaWait::Window)),
            ("the administrator has not confirmed", 89503, Quota(QuotaWait::Other)),
            ("a closed reply window", 45015, Permanent),
            ("an API that this account type lacks", 48001, Permanent),
            ("an account that is unbound", 61003, Permanent),
            ("a permission set that was not granted", 61007, Permanent),
            ("a revoked refresh token", 61023, Permanent),
            ("an address that is not on the list", 40164, Platform),
            ("an openid of another account", 40003, Caller),
            ("an authorization code used before", 61009, Caller),
            ("no staff session", 65413, Permanent),
            ("a wrong request about staff", 65400, Caller),
            ("a code of next year", 99_999_999, Unknown),
            ("a negative code", -2, Unknown),
        ] {
            assert_eq!(class(code), expected, "{what}");
        }
    }

    #[test]
    fn a_quota_is_back_when_its_period_turns() {
        for (what, wait, now, then) in [
            ("inside a minute", QuotaWait::NextMinute, "2026-03-01T10:00:30Z", "2026-03-01T10:01:00Z"),
            ("on a minute", QuotaWait::NextMinute, "2026-03-01T10:00:00Z", "2026-03-01T10:01:00Z"),
            (
                "a Beijing evening",
                QuotaWait::NextBeijingMidnight,
                "2026-03-01T10:00:00Z",
                "2026-03-01T16:00:00Z",
            ),
            (
                "a Beijing morning",
                QuotaWait::NextBeijingMidnight,
                "2026-02-28T23:00:00Z",
                "2026-03-01T16:00:00Z",
            ),
            (
                "Beijing's last second",
                QuotaWait::NextBeijingMidnight,
                "2026-03-01T15:59:59Z",
                "2026-03-01T16:00:00Z",
            ),
            (
                "Beijing's midnight",
                QuotaWait::NextBeijingMidnight,
                "2026-03-01T16:00:00Z",
                "2026-03-02T16:00:00Z",
            ),
            ("an unknown time", QuotaWait::Other, "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"),
        ] {
            let (now, then): (Timestamp, Timestamp) = (now.parse().unwrap(), then.parse().unwrap());
            assert_eq!(wait_until(wait, now), then, "{what}");
        }
    }
}
