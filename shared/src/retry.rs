//! Whether and when to try again what failed. Pure: the test shows every case.
//!
//! What WeChat answers to a message is judged by message-send itself (`retry_policy::failure_action`): there a
//! code decides what the tenant reads. The functions add what only they know: a message's age (message-send's `retry_policy`), an import's pauses
//! (follower-import's `failure_policy`), and tokens' refusals, which are remembered (`tokens/refresh_backoff`).

use std::time::Duration;

use crate::{
    error::{Error, StoreError},
    wechat::errcode::{ErrcodeClass, QuotaWait, class},
};

/// The longest [`backoff`].
const MAX_BACKOFF: Duration = Duration::from_mins(2);
/// The shortest wait after WeChat refused a call or was not reached.
const WECHAT_WAIT: Duration = Duration::from_secs(5);

/// What to do after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Try again, not before this long.
    After(Duration),
    /// WeChat's quota is used up: try again when it is back.
    AfterQuota(QuotaWait),
    /// Give up: a retry would give the same.
    Never,
}

impl Retry {
    /// The shortest wait of a job that is tried again in any case; zero where the error names none.
    #[must_use]
    pub fn least_wait(self) -> Duration {
        match self {
            Self::After(wait) => wait,
            Self::AfterQuota(_) => WECHAT_WAIT,
            Self::Never => Duration::ZERO,
        }
    }
}

/// Whether and when to try again after `error`.
#[must_use]
pub fn retry(error: &Error) -> Retry {
    match error {
        Error::Store(StoreError::Missing(_)) | Error::Item(_) | Error::NotAuthorized(_) => Retry::Never,
        Error::Store(
            StoreError::Unavailable(_)
            | StoreError::Throttled
            | StoreError::Contended(_)
            | StoreError::Rejected(_), // until the deployment is corrected
        )
        | Error::Queue(_) => Retry::After(Duration::from_secs(2)),
        Error::RefreshRunning => Retry::After(Duration::from_secs(1)),
        Error::NoTicket => Retry::After(Duration::from_secs(60)),
        Error::Platform(_) => Retry::After(Duration::from_secs(30)),
        Error::Account(refused) => match refused.class() {
            ErrcodeClass::Quota(wait) => Retry::AfterQuota(wait),
            _ => Retry::After(WECHAT_WAIT), // the account's owner may lift a restriction
        },
        Error::RefusedBefore(refusal) => match class(refusal.errcode) {
            ErrcodeClass::Quota(wait) => Retry::AfterQuota(wait),
            _ => Retry::After(WECHAT_WAIT), // a later release knew a quota of this errcode
        },
        Error::WeChat(refused) => match refused.class() {
            ErrcodeClass::Quota(wait) => Retry::AfterQuota(wait),
            ErrcodeClass::Permanent | ErrcodeClass::Caller => Retry::Never,
            ErrcodeClass::Unknown if refused.errcode().is_some() => Retry::Never,
            ErrcodeClass::Ok
            | ErrcodeClass::Retry
            | ErrcodeClass::Token
            | ErrcodeClass::Platform
            | ErrcodeClass::Unknown => Retry::After(WECHAT_WAIT),
        },
    }
}

/// 2 s, 4 s, 8 s, … up to two minutes, after the first, second, third failure.
#[must_use]
pub fn backoff(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(16)).min(MAX_BACKOFF)
}

/// The wait before a job that met `error` is delivered for the time after `receives`: [`backoff`], and longer
/// where the error says so.
#[must_use]
pub fn wait(error: &Error, receives: u32) -> Duration {
    backoff(receives).max(retry(error).least_wait())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::quota::QuotaRefusal,
        wechat::{ApiError, transport::TransportError},
    };

    #[test]
    fn an_error_says_whether_and_when_to_try_again() {
        let refused = |errcode| ApiError::Refused { errcode, errmsg: "no".into(), rid: None };
        let wechat = |errcode| Error::from(refused(errcode));
        let lost = || ApiError::Transport(TransportError::Unanswered("timed out".into()));
        let after = |seconds| Retry::After(Duration::from_secs(seconds));
        // the error, what to do, and the waits in seconds after one, three and nine failures
        for (what, error, expected, waits) in [
            (
                "no answer of the store",
                StoreError::Unavailable("timed out".into()).into(),
                after(2),
                [2, 8, 120],
            ),
            ("a throttled table", StoreError::Throttled.into(), after(2), [2, 8, 120]),
            ("a lost race", StoreError::Contended("others write").into(), after(2), [2, 8, 120]),
            ("no such table", StoreError::Rejected("no table".into()).into(), after(2), [2, 8, 120]),
            (
                "an item that is gone",
                StoreError::Missing("the import is gone").into(),
                Retry::Never,
                [2, 8, 120],
            ),
            ("an unreadable item", Error::Item("no number".into()), Retry::Never, [2, 8, 120]),
            ("no answer of the queue", Error::Queue("timed out".into()), after(2), [2, 8, 120]),
            ("another refreshes", Error::RefreshRunning, after(1), [2, 8, 120]),
            ("no ticket yet", Error::NoTicket, after(60), [60, 60, 120]),
            ("a stale ticket", wechat(61006), after(30), [30, 30, 120]),
            ("a secret that was rotated", Error::Platform(refused(40125)), after(30), [30, 30, 120]),
            ("an account that withdrew", Error::NotAuthorized("wx1".into()), Retry::Never, [2, 8, 120]),
            ("a restricted account", Error::Account(refused(50002)), after(5), [5, 8, 120]),
            (
                "the quota of refreshes",
                Error::Account(refused(45009)),
                Retry::AfterQuota(QuotaWait::NextBeijingMidnight),
                [5, 8, 120],
            ),
            ("a day's quota", wechat(45009), Retry::AfterQuota(QuotaWait::NextBeijingMidnight), [5, 8, 120]),
            (
                "a day's quota that was met before",
                Error::RefusedBefore(QuotaRefusal { refused_until: 0, refused_at: 0, errcode: 45009 }),
                Retry::AfterQuota(QuotaWait::NextBeijingMidnight),
                [5, 8, 120],
            ),
            ("a busy WeChat", wechat(-1), after(5), [5, 8, 120]),
            ("no answer of WeChat", lost().into(), after(5), [5, 8, 120]),
            ("a garbled answer", Error::WeChat(ApiError::Malformed("no JSON".into())), after(5), [5, 8, 120]),
            ("a permission that is missing", wechat(48001), Retry::Never, [2, 8, 120]),
            ("a wrong request", wechat(40013), Retry::Never, [2, 8, 120]),
            ("a code of next year", wechat(99_999_999), Retry::Never, [2, 8, 120]),
        ] {
            assert_eq!(retry(&error), expected, "{what}");
            assert_eq!([1, 3, 9].map(|failures| wait(&error, failures).as_secs()), waits, "{what}");
        }
    }
}
