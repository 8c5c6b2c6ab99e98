//! What an answer of WeChat means for a message: pure.

use std::time::Duration;

use jiff::Timestamp;
use shared::{
    error::{Error, Retry},
    metrics::Cause,
    store::messages::{Channel, MessageError},
    wechat::{
        ApiError,
        errcode::{ErrcodeClass, QuotaWait, wait_until},
        transport::TransportError,
    },
};

/// Tries against a WeChat that is busy or not reached.
const BUSY_TRIES: u32 = 8;
/// How long a message waits for a quota, milliseconds.
const QUOTA_PATIENCE_MS: i64 = 24 * 3600 * 1000;
/// The longest wait before a look whether the quota is back.
const QUOTA_LOOK: Duration = Duration::from_hours(1);
/// The first wait for the quota of the minute; it doubles, up to [`QUOTA_LOOK`].
const MINUTE: Duration = Duration::from_mins(1);
/// From this receive on nothing is given back: the queue moves a message to the dead letters at 60.
pub const LAST_RECEIVE: u32 = 55;
/// The longest wait between two tries.
const BACKOFF_MAX: Duration = Duration::from_mins(5);

/// Said of a message whose outcome nobody noted.
pub const UNKNOWN: &str = "It may have been delivered: WeChat was asked, and its answer was lost. It was not sent again, \
     since that could have reached the fan twice.";

/// What to do with a message that WeChat did not take.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The reply window is closed after all, and there is a template.
    UseTemplate,
    /// Give it back and try again.
    Again {
        /// Why.
        why: Wait,
        /// Whether it may have reached the fan all the same.
        may_have_happened: bool,
        /// What the message shows if it is given up.
        error: MessageError,
    },
    /// Record why.
    Fail(MessageError),
}

/// What a message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// A WeChat that answers; at least so long.
    Busy(Duration),
    /// A quota.
    Quota(QuotaWait),
}

/// Reads a refusal of WeChat, or the want of an answer. `template`: whether there is one that may be sent.
pub fn outcome(channel: Channel, error: &ApiError, template: bool) -> Outcome {
    let failed =
        |code: &str, detail: String| MessageError { code: code.into(), errcode: error.errcode(), detail };
    let said = || match error {
        ApiError::Refused { errmsg, .. } => errmsg.clone(),
        other => other.to_string(),
    };
    let busy = |may_have_happened: bool| Outcome::Again {
        why: Wait::Busy(Duration::ZERO),
        may_have_happened,
        error: if may_have_happened {
            failed("outcome_unknown", UNKNOWN.into())
        } else {
            failed(
                "wechat_busy",
                format!("WeChat could not be asked, or was busy, {BUSY_TRIES} times: {}", said()),
            )
        },
    };
    if error.may_have_happened() {
        return match channel {
            Channel::CustomerService => Outcome::Fail(failed("outcome_unknown", UNKNOWN.into())),
            Channel::Template => busy(true),
        };
    }
    if let ApiError::Transport(TransportError::NotSent(_)) = error {
        return busy(false);
    }
    match (error.errcode().unwrap_or_default(), error.class()) {
        (45015 | 45047, _) if channel == Channel::CustomerService && template => Outcome::UseTemplate,
        (45015 | 45047, _) => Outcome::Fail(failed("outside_reply_window", said())),
        (48001 | 61007, _) => Outcome::Fail(failed("capability_missing", said())),
        (43004 | 43019 | 48002 | 50005, _) => Outcome::Fail(failed("recipient_unreachable", said())),
        (61003, _) => Outcome::Fail(failed("account_not_bound", said())),
        (_, ErrcodeClass::Retry | ErrcodeClass::Platform) => busy(false),
        (_, ErrcodeClass::Token) => Outcome::Again {
            why: Wait::Busy(Duration::ZERO),
            may_have_happened: false,
            error: failed("wechat_error", said()),
        },
        (_, ErrcodeClass::Quota(quota)) => Outcome::Again {
            why: Wait::Quota(quota),
            may_have_happened: false,
            error: failed("quota_exceeded", format!("WeChat's quota was used up for 24 hours: {}", said())),
        },
        _ => Outcome::Fail(failed("wechat_error", said())),
    }
}

/// Reads why there is no token to send with: nothing went out.
pub fn no_token(error: &Error) -> Outcome {
    let failed =
        |code: &str| MessageError { code: code.into(), errcode: error.errcode(), detail: error.to_string() };
    match error {
        Error::NotAuthorized(_) => Outcome::Fail(failed("account_not_bound")),
        _ => {
            let least = match error.retry() {
                Retry::After(wait) => wait,
                Retry::Never => Duration::ZERO,
            };
            Outcome::Again { why: Wait::Busy(least), may_have_happened: false, error: failed("wechat_busy") }
        }
    }
}

/// Who can do something about a message that failed with the contract's word `code`.
pub fn cause(code: &str) -> Cause {
    match code {
        "account_not_bound" | "capability_missing" | "outside_reply_window" | "recipient_unreachable" => {
            Cause::Account
        }
        "outcome_unknown" => Cause::Hub,
        _ => Cause::WeChat, // wechat_busy, wechat_error, quota_exceeded
    }
}

/// How long to wait before the next try, or [`None`] to give up. `tries` counts those that were made, `age_ms`
/// is the message's.
pub fn wait(why: Wait, tries: u32, receives: u32, age_ms: i64, now: Timestamp) -> Option<Duration> {
    if receives >= LAST_RECEIVE {
        return None;
    }
    match why {
        Wait::Busy(_) if tries >= BUSY_TRIES => None,
        Wait::Busy(least) => Some(backoff(tries).max(least)),
        Wait::Quota(_) if age_ms >= QUOTA_PATIENCE_MS => None,
        Wait::Quota(QuotaWait::NextMinute) => {
            Some(MINUTE.saturating_mul(doubled(tries.saturating_sub(1))).min(QUOTA_LOOK))
        }
        Wait::Quota(quota) => {
            let then = wait_until(quota, now).as_second() - now.as_second();
            Some(Duration::from_secs(then.max(1).unsigned_abs()).min(QUOTA_LOOK))
        }
    }
}

/// 2 s, 4 s, 8 s, … for the first, second, third failure.
pub fn backoff(failures: u32) -> Duration {
    Duration::from_secs(doubled(failures).into()).min(BACKOFF_MAX)
}

fn doubled(times: u32) -> u32 {
    1 << times.min(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errcode: i64) -> ApiError {
        ApiError::Refused { errcode, errmsg: "as WeChat says".into(), rid: None }
    }

    fn code(outcome: &Outcome) -> (&'static str, String) {
        match outcome {
            Outcome::UseTemplate => ("template", String::new()),
            Outcome::Again { error, may_have_happened: true, .. } => ("again, may be", error.code.clone()),
            Outcome::Again { error, why: Wait::Busy(_), .. } => ("again", error.code.clone()),
            Outcome::Again { error, why: Wait::Quota(_), .. } => ("quota", error.code.clone()),
            Outcome::Fail(error) => ("fail", error.code.clone()),
        }
    }

    #[test]
    fn an_answer_means_one_thing_for_a_message() {
        use Channel::{CustomerService, Template};
        let lost = ApiError::Transport(TransportError::Unanswered("timed out".into()));
        let unsent = ApiError::Transport(TransportError::NotSent("no connection".into()));
        let garbled = ApiError::Malformed("no JSON".into());
        for (what, channel, error, template, (act, word)) in [
            ("the window closed", CustomerService, refused(45015), true, ("template", "")),
            ("its sends used up", CustomerService, refused(45047), true, ("template", "")),
            ("no template", CustomerService, refused(45015), false, ("fail", "outside_reply_window")),
            ("no template either", CustomerService, refused(45047), false, ("fail", "outside_reply_window")),
            ("busy", CustomerService, refused(-1), true, ("again", "wechat_busy")),
            ("our address is not listed", CustomerService, refused(61004), true, ("again", "wechat_busy")),
            ("busy with a template", Template, refused(-1), true, ("again", "wechat_busy")),
            ("no connection", CustomerService, unsent.clone(), true, ("again", "wechat_busy")),
            ("no connection for a template", Template, unsent, true, ("again", "wechat_busy")),
            ("no answer", CustomerService, lost.clone(), true, ("fail", "outcome_unknown")),
            ("no answer to a template", Template, lost, true, ("again, may be", "outcome_unknown")),
            ("a garbled answer", CustomerService, garbled.clone(), true, ("fail", "outcome_unknown")),
            ("a garbled answer to a template", Template, garbled, true, ("again, may be", "outcome_unknown")),
            ("the quota of the day", Template, refused(45009), true, ("quota", "quota_exceeded")),
            ("the quota of the minute", CustomerService, refused(45011), false, ("quota", "quota_exceeded")),
            ("an API that it lacks", Template, refused(48001), true, ("fail", "capability_missing")),
            ("a permission withdrawn", CustomerService, refused(61007), true, ("fail", "capability_missing")),
            ("no follower", Template, refused(43004), true, ("fail", "recipient_unreachable")),
            ("on the blacklist", CustomerService, refused(43019), false, ("fail", "recipient_unreachable")),
            ("wants none", CustomerService, refused(48002), false, ("fail", "recipient_unreachable")),
            ("left", Template, refused(50005), true, ("fail", "recipient_unreachable")),
            ("unbound meanwhile", Template, refused(61003), true, ("fail", "account_not_bound")),
            ("a wrong parameter", Template, refused(47003), true, ("fail", "wechat_error")),
            ("a number of next year", Template, refused(99_999_999), true, ("fail", "wechat_error")),
            ("a token refused twice", Template, refused(40001), true, ("again", "wechat_error")),
        ] {
            let outcome = outcome(channel, &error, template);
            assert_eq!(code(&outcome), (act, word.to_owned()), "{what}");
            if let Outcome::Fail(failed) | Outcome::Again { error: failed, .. } = outcome {
                assert_eq!(failed.errcode, error.errcode(), "{what}");
            }
        }
    }

    #[test]
    fn without_a_token_a_message_waits_or_its_account_is_gone() {
        for (what, error, expected) in [
            ("revoked", Error::NotAuthorized("wx1".into()), ("fail", "account_not_bound")),
            ("an address that is not listed", Error::Platform(refused(40164)), ("again", "wechat_busy")),
            ("a secret that was rotated", Error::Platform(refused(40125)), ("again", "wechat_busy")),
            ("no ticket", Error::NoTicket, ("again", "wechat_busy")),
            ("another refreshes", Error::RefreshRunning, ("again", "wechat_busy")),
            ("the refresh failed", Error::Account(refused(-1)), ("again", "wechat_busy")),
            ("no database", Error::Store("down".into()), ("again", "wechat_busy")),
        ] {
            assert_eq!(code(&no_token(&error)), (expected.0, expected.1.to_owned()), "{what}");
        }
    }

    #[test]
    fn waiting_has_an_end() {
        let now: Timestamp = "2026-03-01T15:30:00Z".parse().unwrap();
        let (busy, minute) = (Wait::Busy(Duration::ZERO), Wait::Quota(QuotaWait::NextMinute));
        let day = Wait::Quota(QuotaWait::NextBeijingMidnight);
        let hours = |h: i64| h * 3_600_000;
        for (what, why, tries, receives, age, seconds) in [
            ("busy once", busy, 1, 1, 0, Some(2)),
            ("busy twice", busy, 2, 2, 0, Some(4)),
            ("busy seven times", busy, 7, 7, 0, Some(128)),
            ("busy eight times", busy, 8, 8, 0, None),
            ("no ticket yet", Wait::Busy(MINUTE), 1, 1, 0, Some(60)),
            ("the minute, once", minute, 1, 1, 0, Some(60)),
            ("the minute, three times", minute, 3, 3, 0, Some(240)),
            ("the minute, many times", minute, 30, 30, hours(23), Some(3600)),
            ("half an hour before Beijing's midnight", day, 1, 1, 0, Some(1800)),
            ("a quota for a day", day, 24, 24, hours(24), None),
            ("received too often", minute, 3, LAST_RECEIVE, 0, None),
        ] {
            let got = wait(why, tries, receives, age, now).map(|w| w.as_secs());
            assert_eq!(got, seconds, "{what}");
        }
        let early: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
        assert_eq!(wait(day, 1, 1, 0, early), Some(QUOTA_LOOK));
    }
}
