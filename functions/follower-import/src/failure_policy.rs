//! What a failed job means for its import: a retry, a pause, or an end with a text that says what to do. Pure.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use shared::{
    error::Error,
    model::permission,
    retry::{self, Retry, retry},
    wechat::{
        ApiError,
        errcode::{self, ErrcodeClass, QuotaWait},
    },
};

/// The wait where a limit per minute is used up.
const MINUTE_QUOTA_WAIT: Duration = Duration::from_secs(60);
/// After so many receives a job pauses its import, well before the queue gives it up
/// (`JobQueue::max_receive_count`).
const MAX_RECEIVES: u32 = 8;
/// WeChat's id of the permission set for followers.
const FOLLOWERS_PERMISSION_SET: u32 = 2;
/// The longest pause: a paused import tries again at least this often.
const MAX_PAUSE_SECONDS: i64 = 3600;
/// The shortest pause. The job that resumes an import is queued before the pause is written, and must not
/// run before that; this is longer than the function may run.
const MIN_PAUSE_SECONDS: i64 = 90;
/// The pause after [`MAX_RECEIVES`] failures without a known end.
const FAILURE_PAUSE_SECONDS: i64 = 900;
/// The pause where the platform's ticket, secret or address is wrong: WeChat pushes a ticket every ten
/// minutes, and the operator corrects the rest.
const PLATFORM_PAUSE_SECONDS: i64 = 300;

/// What to do about an error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FailureDecision {
    /// Deliver the same message again.
    Retry(Duration),
    /// Queue the job as a new message, because waiting for the next minute is not a failed try.
    Requeue(Duration),
    /// Pause the import; the cause should be gone at `cause_ends_at`, in unix seconds.
    Pause { cause_ends_at: i64, why: String },
    /// End the import.
    Fail(String),
}

impl FailureDecision {
    /// Its name in the log.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Retry(_) | Self::Requeue(_) => "again",
            Self::Pause { .. } => "pause",
            Self::Fail(_) => "fail",
        }
    }
}

/// Decides about `error`, met at the `receives`-th delivery. Quotas and causes outside of the account never
/// end an import; it waits for as long as they last.
pub(crate) fn decide(error: &Error, receives: u32, now: Timestamp) -> FailureDecision {
    match (error, retry(error)) {
        (Error::WeChat(_) | Error::RefusedBefore(_), Retry::AfterQuota(QuotaWait::NextMinute)) => {
            match receives >= MAX_RECEIVES {
                true => FailureDecision::Requeue(MINUTE_QUOTA_WAIT),
                false => FailureDecision::Retry(MINUTE_QUOTA_WAIT),
            }
        }
        (Error::WeChat(refused) | Error::Account(refused), Retry::AfterQuota(wait)) => {
            pause_for_quota(refused, wait, errcode::wait_until(wait, now))
        }
        (Error::RefusedBefore(refusal), Retry::AfterQuota(wait)) => {
            pause_for_quota(error, wait, Timestamp::from_second(refusal.refused_until).unwrap_or(now))
        }
        (Error::WeChat(refused), Retry::Never) => FailureDecision::Fail(tenant_hint(refused)),
        (Error::NotAuthorized(_), _) => FailureDecision::Fail(
            "the account is not authorized any more; bind it again, which starts another import".into(),
        ),
        (_, Retry::Never) => FailureDecision::Fail(format!("{error}; start another import")),
        (Error::Platform(refused), _) if refused.class() == ErrcodeClass::Platform => {
            pause_for_platform(format!("{error}: {}", operator_hint(refused)), now)
        }
        (Error::NoTicket, _) => pause_for_platform(error.to_string(), now),
        _ => retry_or_pause(error, receives, now),
    }
}

fn pause_for_platform(why: String, now: Timestamp) -> FailureDecision {
    FailureDecision::Pause { cause_ends_at: now.as_second() + PLATFORM_PAUSE_SECONDS, why }
}

fn pause_for_quota(refused: &dyn fmt::Display, wait: QuotaWait, back: Timestamp) -> FailureDecision {
    let why = match wait {
        QuotaWait::NextBeijingMidnight => {
            format!("WeChat's daily quota is used up ({refused}); it is back at {back}")
        }
        _ => format!("WeChat's quota is used up ({refused})"),
    };
    FailureDecision::Pause { cause_ends_at: back.as_second(), why }
}

/// Retries with a longer wait each time, and pauses the import after [`MAX_RECEIVES`]: its tenant then reads why,
/// and a dead-lettered job would leave it `running` until the tick takes it up.
fn retry_or_pause(error: &Error, receives: u32, now: Timestamp) -> FailureDecision {
    if receives >= MAX_RECEIVES {
        return FailureDecision::Pause {
            cause_ends_at: now.as_second() + FAILURE_PAUSE_SECONDS,
            why: format!("it failed {MAX_RECEIVES} times: {error}"),
        };
    }
    FailureDecision::Retry(retry::wait(error, receives))
}

/// Until when to pause an import whose cause should be gone at `cause_ends_at`. All in unix seconds.
pub(crate) fn paused_until(cause_ends_at: i64, now: i64) -> i64 {
    cause_ends_at.clamp(now + MIN_PAUSE_SECONDS, now + MAX_PAUSE_SECONDS)
}

/// What the operator has to do.
fn operator_hint(refused: &ApiError) -> &'static str {
    match refused.errcode() {
        Some(40164 | 61004) => {
            "WeChat does not know this deployment's address; the operator adds it to the platform's IP list"
        }
        Some(40125) => {
            "WeChat does not take the platform's secret; the operator looks it up in WeChat's console"
        }
        _ => "WeChat pushes another ticket every ten minutes",
    }
}

fn tenant_hint(refused: &ApiError) -> String {
    let step = match refused.errcode() {
        Some(61003 | 61023 | 42007) => "the account is not authorized any more; bind it again",
        Some(61007) => {
            let set = followers_permission_name();
            return format!("{refused}: {set} was not granted; authorize the account again with it");
        }
        Some(48001 | 48004 | 50001 | 61016 | 61017) => {
            "this account may not list its followers; WeChat grants that to verified accounts"
        }
        Some(50002 | 50007) => {
            "WeChat has restricted the account; its owner finds out why in WeChat's console"
        }
        _ => "start another import; if it fails again, the number and rid tell WeChat's staff why",
    };
    format!("{refused}: {step}")
}

/// The name of the followers' permission set, as the API and the hub's pages show it.
fn followers_permission_name() -> String {
    let sets = permission::permissions(&[]);
    sets.into_iter().find(|set| set.id == FOLLOWERS_PERMISSION_SET).map(|set| set.name).unwrap_or_default()
}

/// For whom WeChat refuses details.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DetailsRefused {
    /// For somebody in this list.
    ForThisList,
    /// For all: some subscription accounts may list their followers but not read details.
    ForAccount,
}

/// Whether to store followers without details after `refused`; [`None`] where the job cannot continue.
pub(crate) fn details_refused(refused: &ApiError) -> Option<DetailsRefused> {
    if matches!(refused, ApiError::Malformed(_)) {
        return Some(DetailsRefused::ForThisList); // what somebody typed was not escaped, and hides the others
    }
    match (refused.errcode()?, refused.class()) {
        (45103 | 48001 | 48004 | 50001 | 61007 | 61016 | 61017, _) => Some(DetailsRefused::ForAccount),
        (_, ErrcodeClass::Caller | ErrcodeClass::Unknown) => Some(DetailsRefused::ForThisList),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use shared::{error::StoreError, model::quota::QuotaRefusal, queue::JobQueue};

    use super::*;

    #[test]
    fn an_error_decides_what_becomes_of_the_import() {
        let now: Timestamp = "2026-03-01T15:30:00Z".parse().unwrap(); // half an hour before Beijing's midnight
        let api = |errcode| ApiError::Refused { errcode, errmsg: "no".into(), rid: None };
        let refused = |errcode| Error::WeChat(api(errcode));
        let before = |errcode, seconds_left| {
            let refused_until = now.as_second() + seconds_left;
            Error::RefusedBefore(QuotaRefusal { refused_until, refused_at: 0, errcode })
        };
        let kind = |error: &Error, receives, now| match decide(error, receives, now) {
            FailureDecision::Retry(after) => format!("again in {}", after.as_secs()),
            FailureDecision::Requeue(after) => format!("later in {}", after.as_secs()),
            FailureDecision::Pause { cause_ends_at, .. } => {
                format!("pause of {}", paused_until(cause_ends_at, now.as_second()) - now.as_second())
            }
            FailureDecision::Fail(_) => "fail".into(),
        };
        for (what, error, receives, expected) in [
            ("the daily quota", refused(45009), 1, "pause of 1800"),
            ("a quota of unknown length", refused(45102), 1, "pause of 3600"),
            ("the same that was met fifty minutes ago", before(45102, 600), 1, "pause of 600"),
            ("the minute's limit, met before", before(45011, 30), 1, "again in 60"),
            ("the minute's limit", refused(45011), 1, "again in 60"),
            ("the minute's limit, long", refused(45011), MAX_RECEIVES, "later in 60"),
            ("busy", refused(-1), 1, "again in 5"),
            ("busy, again", refused(-1), 3, "again in 8"),
            ("busy for long", refused(-1), MAX_RECEIVES, "pause of 900"),
            ("a token that is refused twice", Error::Account(api(40001)), 1, "again in 5"),
            ("an address that is not listed", Error::Platform(api(40164)), 1, "pause of 300"),
            ("a stale ticket, for long", Error::Platform(api(61006)), MAX_RECEIVES, "pause of 300"),
            ("a secret that was rotated", Error::Platform(api(40125)), 1, "pause of 300"),
            ("the platform's WeChat is busy", Error::Platform(api(-1)), 1, "again in 30"),
            ("the same for long", Error::Platform(api(-1)), MAX_RECEIVES, "pause of 900"),
            ("the quota of refreshes", Error::Account(api(45009)), 1, "pause of 1800"),
            ("a store that fails", StoreError::Throttled.into(), 1, "again in 2"),
            ("no ticket yet", Error::NoTicket, 1, "pause of 300"),
            ("an account that withdrew", Error::NotAuthorized("wx1".into()), 1, "fail"),
            ("an account that is unbound", refused(61003), 1, "fail"),
            ("an account that may not", refused(48001), 1, "fail"),
            ("a code of next year", refused(99_999_999), 1, "fail"),
        ] {
            assert_eq!(kind(&error, receives, now), expected, "{what}");
        }
        let evening: Timestamp = "2026-03-01T15:59:50Z".parse().unwrap();
        assert_eq!(kind(&refused(45009), 1, evening), "pause of 90", "never before the pause is written");
        let morning: Timestamp = "2026-03-01T16:00:00Z".parse().unwrap();
        assert_eq!(kind(&refused(45009), 1, morning), "pause of 3600", "it looks again each hour");
    }

    /// Storing a pause or a timer needs the database: where that fails, only the queue's receives count on.
    #[test]
    fn a_job_outlasts_two_hours_without_a_database() {
        for queue in [JobQueue::Import, JobQueue::Follower] {
            let waits: Duration = (1..queue.max_receive_count()).map(retry::backoff).sum();
            assert!(waits >= Duration::from_hours(2), "{}: {waits:?}", queue.name());
        }
    }
}
