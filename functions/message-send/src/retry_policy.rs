//! What WeChat's answer means for a message, and when to try again: pure.

use std::time::Duration;

use shared::{
    error::Error,
    metrics::Cause,
    model::{
        failure_code::FailureCode,
        message::{Channel, MessageError},
        quota::QuotaRefusal,
    },
    retry::{backoff, retry},
    wechat::{ApiError, errcode::ErrcodeClass, transport::TransportError},
};

use crate::recovery::RESEND_WITHIN_SECONDS;

/// How long a message waits for what is outside, by its age: WeChat, a token, a quota.
pub const MAX_AGE_MS: i64 = 24 * 3600 * 1000;
/// After so many receives it waits in a timer instead of the queue.
const MAX_QUEUE_RECEIVES: u32 = 3;
/// The shortest and the longest wait in a timer. In between it waits as long as it is old, so that an outage
/// of a minute costs a minute, and one of a day about a hundred tries.
const TIMER_WAIT_MS: (i64, i64) = (60_000, 15 * 60_000);
/// The longest wait in the queue, because received jobs count against a limit that all tenants share.
const MAX_QUEUE_WAIT: Duration = Duration::from_mins(2);

/// The text for a message whose outcome was not recorded.
const OUTCOME_UNKNOWN_DETAIL: &str = "It may have been delivered: WeChat was asked, and its answer was lost. It was not sent again, \
     since that could have reached the fan twice.";

/// The error of a message that may have been delivered; `errcode` is WeChat's answer to a later try.
pub fn outcome_unknown(errcode: Option<i64>) -> MessageError {
    MessageError { code: FailureCode::OutcomeUnknown, errcode, detail: OUTCOME_UNKNOWN_DETAIL.into() }
}

/// What to do with a message that WeChat did not accept.
#[derive(Debug, Clone, PartialEq)]
pub enum SendFailureAction {
    /// The reply window turned out to be closed, and there is a template.
    UseTemplate,
    /// Release it and try again.
    Retry {
        /// Why.
        reason: RetryReason,
        /// Whether it may have reached the fan in spite of the failure.
        may_have_happened: bool,
        /// What the message shows if it is given up.
        error: MessageError,
    },
    /// Record why.
    Fail(MessageError),
}

/// What a message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryReason {
    /// WeChat, or a token; at least this long.
    Busy(Duration),
    /// A quota, which is refused until this unix second.
    Quota(i64),
}

impl RetryReason {
    /// A text for the operator.
    pub fn description(self) -> &'static str {
        match self {
            Self::Busy(_) => "WeChat does not answer, or there is no token",
            Self::Quota(_) => "WeChat's quota is used up",
        }
    }
}

/// Decides by a refusal of WeChat, or a missing answer. `template`: one exists and may be sent.
pub fn failure_action(channel: Channel, error: &ApiError, template: bool) -> SendFailureAction {
    let failed = |code, detail: String| MessageError { code, errcode: error.errcode(), detail };
    let wechat_text = || match error {
        ApiError::Refused { errmsg, .. } => errmsg.clone(),
        other => other.to_string(),
    };
    let busy = || SendFailureAction::Retry {
        reason: RetryReason::Busy(Duration::ZERO),
        may_have_happened: false,
        error: failed(
            FailureCode::WechatBusy,
            format!("WeChat could not be asked, or was busy, for 24 hours: {}", wechat_text()),
        ),
    };
    if error.may_have_happened() {
        return match channel {
            Channel::CustomerService => SendFailureAction::Fail(outcome_unknown(error.errcode())),
            Channel::Template => SendFailureAction::Retry {
                reason: RetryReason::Busy(Duration::ZERO),
                may_have_happened: true,
                error: outcome_unknown(error.errcode()),
            },
        };
    }
    if let ApiError::Transport(TransportError::NotSent(_)) = error {
        return busy();
    }
    match (error.errcode().unwrap_or_default(), error.class()) {
        (45015 | 45047, _) if channel == Channel::CustomerService && template => {
            SendFailureAction::UseTemplate
        }
        (45015 | 45047, _) => SendFailureAction::Fail(failed(FailureCode::OutsideReplyWindow, wechat_text())),
        (48001 | 61007, _) => SendFailureAction::Fail(failed(FailureCode::CapabilityMissing, wechat_text())),
        (40003 | 43004 | 43019 | 43101 | 48002 | 50005, _) => {
            SendFailureAction::Fail(failed(FailureCode::RecipientUnreachable, wechat_text()))
        }
        (61003, _) => SendFailureAction::Fail(failed(FailureCode::AccountNotBound, wechat_text())),
        (_, ErrcodeClass::Retry | ErrcodeClass::Platform | ErrcodeClass::Token) => busy(),
        _ => SendFailureAction::Fail(failed(FailureCode::WechatError, wechat_text())),
    }
}

/// What a used-up quota means.
pub fn action_for_quota(refusal: QuotaRefusal) -> SendFailureAction {
    SendFailureAction::Retry {
        reason: RetryReason::Quota(refusal.refused_until),
        may_have_happened: false,
        error: MessageError {
            code: FailureCode::QuotaExceeded,
            errcode: Some(refusal.errcode),
            detail: "WeChat's quota was used up for 24 hours.".into(),
        },
    }
}

/// There is no time left to ask: nothing went out.
pub fn action_out_of_time() -> SendFailureAction {
    SendFailureAction::Retry {
        reason: RetryReason::Busy(Duration::from_secs(1)),
        may_have_happened: false,
        error: MessageError {
            code: FailureCode::WechatBusy,
            errcode: None,
            detail: "WeChat was too slow to be asked for 24 hours.".into(),
        },
    }
}

/// Decides by why there is no token: nothing was sent.
pub fn action_without_token(error: &Error) -> SendFailureAction {
    let failed = |code| MessageError { code, errcode: error.errcode(), detail: error.to_string() };
    match error {
        Error::NotAuthorized(_) => SendFailureAction::Fail(failed(FailureCode::AccountNotBound)),
        _ => SendFailureAction::Retry {
            reason: RetryReason::Busy(retry(error).least_wait()),
            may_have_happened: false,
            error: failed(FailureCode::WechatBusy),
        },
    }
}

/// Who can correct the cause of a failure.
pub fn failure_cause(code: FailureCode) -> Cause {
    match code {
        FailureCode::AccountNotBound
        | FailureCode::CapabilityMissing
        | FailureCode::OutsideReplyWindow
        | FailureCode::RecipientUnreachable
        | FailureCode::TenantSuspended
        | FailureCode::UserBlocked => Cause::Account,
        FailureCode::OutcomeUnknown | FailureCode::Unknown => Cause::Hub,
        FailureCode::QuotaExceeded
        | FailureCode::SystemFailed
        | FailureCode::WechatBusy
        | FailureCode::WechatError => Cause::WeChat,
    }
}

/// When a message is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAttempt {
    /// After this long, in the queue.
    InQueue(Duration),
    /// At this unix millisecond, by a timer.
    ByTimer(i64),
    /// Never.
    GiveUp,
}

/// When to try again a message that waits for something outside: by its age, never by the number of tries.
/// `waited`: it was in a timer before.
pub fn next_attempt(why: RetryReason, waited: bool, receives: u32, age_ms: i64, now_ms: i64) -> NextAttempt {
    if age_ms >= MAX_AGE_MS {
        return NextAttempt::GiveUp;
    }
    let last_attempt_ms = now_ms.saturating_add(MAX_AGE_MS - age_ms); // then it is looked at for the last time
    match why {
        // a limit per minute may be used up again for many minutes
        RetryReason::Quota(until) => {
            let again = now_ms.saturating_add(age_ms.clamp(0, TIMER_WAIT_MS.1));
            NextAttempt::ByTimer(until.saturating_mul(1000).max(again).min(last_attempt_ms))
        }
        RetryReason::Busy(least) if !waited && receives <= MAX_QUEUE_RECEIVES && least <= MAX_QUEUE_WAIT => {
            NextAttempt::InQueue(backoff(receives).max(least))
        }
        RetryReason::Busy(least) => {
            let least = i64::try_from(least.as_millis()).unwrap_or(i64::MAX);
            let wait = age_ms.clamp(TIMER_WAIT_MS.0, TIMER_WAIT_MS.1).max(least);
            NextAttempt::ByTimer(now_ms.saturating_add(wait).min(last_attempt_ms))
        }
    }
}

/// When to repeat a template message that may have reached the fan since the unix second `since`: soon, while
/// WeChat still deduplicates it. Each wait is as long as all before it.
pub fn next_resend(why: RetryReason, since: i64, now_ms: i64) -> NextAttempt {
    let past = now_ms.saturating_sub(since.saturating_mul(1000)).max(0);
    let least = match why {
        RetryReason::Busy(least) => least,
        RetryReason::Quota(until) => {
            Duration::from_millis(u64::try_from(until.saturating_mul(1000) - now_ms).unwrap_or(0))
        }
    };
    let wait = Duration::from_millis(past.unsigned_abs()).clamp(backoff(1), MAX_QUEUE_WAIT).max(least);
    let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    match past.saturating_add(wait_ms) {
        late if late >= RESEND_WITHIN_SECONDS * 1000 => NextAttempt::GiveUp,
        _ if wait > MAX_QUEUE_WAIT => NextAttempt::ByTimer(now_ms.saturating_add(wait_ms)),
        _ => NextAttempt::InQueue(wait),
    }
}

#[cfg(test)]
mod tests {
    use shared::error::StoreError;

    use super::*;

    fn refused(errcode: i64) -> ApiError {
        ApiError::Refused { errcode, errmsg: "as WeChat says".into(), rid: None }
    }

    /// What is done, and the API's code of it.
    fn summary(action: &SendFailureAction) -> (&'static str, Option<FailureCode>) {
        match action {
            SendFailureAction::UseTemplate => ("template", None),
            SendFailureAction::Retry { error, may_have_happened: true, .. } => {
                ("again, may be", Some(error.code))
            }
            SendFailureAction::Retry { error, reason: RetryReason::Busy(_), .. } => {
                ("again", Some(error.code))
            }
            SendFailureAction::Retry { error, reason: RetryReason::Quota(_), .. } => {
                ("quota", Some(error.code))
            }
            SendFailureAction::Fail(error) => ("fail", Some(error.code)),
        }
    }

    #[test]
    fn an_answer_means_one_thing_for_a_message() {
        use Channel::{CustomerService, Template};
        use FailureCode::*;
        let lost = ApiError::Transport(TransportError::Unanswered("timed out".into()));
        let unsent = ApiError::Transport(TransportError::NotSent("no connection".into()));
        let garbled = ApiError::Malformed("no JSON".into());
        for (what, channel, error, expected) in [
            ("the window closed", CustomerService, refused(45015), ("template", None)),
            ("its sends used up", CustomerService, refused(45047), ("template", None)),
            ("busy", CustomerService, refused(-1), ("again", Some(WechatBusy))),
            ("our address is not listed", CustomerService, refused(61004), ("again", Some(WechatBusy))),
            ("busy with a template", Template, refused(-1), ("again", Some(WechatBusy))),
            ("no connection", CustomerService, unsent.clone(), ("again", Some(WechatBusy))),
            ("no connection for a template", Template, unsent, ("again", Some(WechatBusy))),
            ("no answer", CustomerService, lost.clone(), ("fail", Some(OutcomeUnknown))),
            ("no answer to a template", Template, lost, ("again, may be", Some(OutcomeUnknown))),
            ("a garbled answer", CustomerService, garbled.clone(), ("fail", Some(OutcomeUnknown))),
            ("a garbled answer to a template", Template, garbled, ("again, may be", Some(OutcomeUnknown))),
            ("an API that it lacks", Template, refused(48001), ("fail", Some(CapabilityMissing))),
            ("a permission withdrawn", CustomerService, refused(61007), ("fail", Some(CapabilityMissing))),
            ("nobody's openid", Template, refused(40003), ("fail", Some(RecipientUnreachable))),
            ("no follower", Template, refused(43004), ("fail", Some(RecipientUnreachable))),
            ("on the blacklist", CustomerService, refused(43019), ("fail", Some(RecipientUnreachable))),
            ("refuses messages", Template, refused(43101), ("fail", Some(RecipientUnreachable))),
            ("wants none", CustomerService, refused(48002), ("fail", Some(RecipientUnreachable))),
            ("left", Template, refused(50005), ("fail", Some(RecipientUnreachable))),
            ("unbound meanwhile", Template, refused(61003), ("fail", Some(AccountNotBound))),
            ("a wrong parameter", Template, refused(47003), ("fail", Some(WechatError))),
            ("a number of next year", Template, refused(99_999_999), ("fail", Some(WechatError))),
            ("a token refused twice", Template, refused(40001), ("again", Some(WechatBusy))),
        ] {
            let action = failure_action(channel, &error, true);
            assert_eq!(summary(&action), expected, "{what}");
            if let SendFailureAction::Fail(failed) | SendFailureAction::Retry { error: failed, .. } = action {
                assert_eq!(failed.errcode, error.errcode(), "{what}");
            }
        }
        for errcode in [45015, 45047] {
            let action = failure_action(CustomerService, &refused(errcode), false);
            assert_eq!(summary(&action), ("fail", Some(OutsideReplyWindow)), "{errcode} and no template");
        }
        let refusal = QuotaRefusal { refused_until: 9, refused_at: 5, errcode: 45009 };
        assert_eq!(summary(&action_for_quota(refusal)), ("quota", Some(QuotaExceeded)));
        assert_eq!(summary(&action_out_of_time()), ("again", Some(WechatBusy)));
    }

    #[test]
    fn without_a_token_a_message_waits_or_its_account_is_gone() {
        use FailureCode::*;
        for (what, error, expected) in [
            ("revoked", Error::NotAuthorized("wx1".into()), ("fail", Some(AccountNotBound))),
            ("an address that is not listed", Error::Platform(refused(40164)), ("again", Some(WechatBusy))),
            ("a secret that was rotated", Error::Platform(refused(40125)), ("again", Some(WechatBusy))),
            ("no ticket", Error::NoTicket, ("again", Some(WechatBusy))),
            ("another refreshes", Error::RefreshRunning, ("again", Some(WechatBusy))),
            ("the refresh failed", Error::Account(refused(-1)), ("again", Some(WechatBusy))),
            ("no database", StoreError::Throttled.into(), ("again", Some(WechatBusy))),
        ] {
            assert_eq!(summary(&action_without_token(&error)), expected, "{what}");
        }
    }

    #[test]
    fn waiting_has_an_end() {
        const NOW: i64 = 1_735_689_600_000;
        const DAY: i64 = 24 * 3600;
        struct Case {
            what: &'static str,
            reason: RetryReason,
            waited: bool,
            receives: u32,
            age_seconds: i64,
            expected: NextAttempt,
        }
        let busy = RetryReason::Busy(Duration::ZERO);
        let quota = |seconds: i64| RetryReason::Quota(NOW / 1000 + seconds);
        let in_queue = |seconds| NextAttempt::InQueue(Duration::from_secs(seconds));
        let by_timer = |seconds: i64| NextAttempt::ByTimer(NOW + seconds * 1000);
        let queued = |what, reason, receives, expected| Case {
            what,
            reason,
            waited: false,
            receives,
            age_seconds: 6,
            expected,
        };
        let waited = |what, reason, age_seconds, expected| Case {
            what,
            reason,
            waited: true,
            receives: 1,
            age_seconds,
            expected,
        };
        for case in [
            queued("busy once", busy, 1, in_queue(2)),
            queued("busy three times", busy, 3, in_queue(8)),
            queued("busy four times", busy, 4, by_timer(60)),
            queued("no ticket yet", RetryReason::Busy(Duration::from_secs(60)), 1, in_queue(60)),
            queued("the quota of the minute", quota(30), 1, by_timer(30)),
            queued("the quota of the day", quota(7 * 3600), 1, by_timer(7 * 3600)),
            waited("busy after a wait", busy, 120, by_timer(120)),
            waited("busy for hours", busy, 5 * 3600, by_timer(900)),
            waited("busy, a minute before the day is over", busy, DAY - 60, by_timer(60)),
            waited("busy for a day", busy, DAY, NextAttempt::GiveUp),
            waited("the quota of the minute, for long", quota(30), 300, by_timer(300)),
            waited("a quota that is back too late", quota(7 * 3600), 20 * 3600, by_timer(4 * 3600)),
            waited("a quota for a day", quota(7 * 3600), DAY, NextAttempt::GiveUp),
        ] {
            let Case { what, reason, waited, receives, age_seconds, expected } = case;
            assert_eq!(next_attempt(reason, waited, receives, age_seconds * 1000, NOW), expected, "{what}");
        }
        assert_eq!(backoff(60), MAX_QUEUE_WAIT, "nothing stays in the queue for longer");
    }

    #[test]
    fn a_template_is_sent_again_only_while_wechat_deduplicates() {
        const SINCE: i64 = 1_735_689_600;
        let busy = RetryReason::Busy(Duration::ZERO);
        let no_ticket = RetryReason::Busy(Duration::from_secs(60));
        let quota = |seconds: i64| RetryReason::Quota(SINCE + seconds);
        let in_queue = |seconds| NextAttempt::InQueue(Duration::from_secs(seconds));
        let by_timer = |seconds: i64| NextAttempt::ByTimer((SINCE + seconds) * 1000);
        for (what, reason, seconds_later, expected) in [
            ("no answer at first", busy, 0, in_queue(2)),
            ("none to the second try either", busy, 10, in_queue(10)),
            ("none for minutes", busy, 300, in_queue(120)),
            ("no ticket meanwhile", no_ticket, 10, in_queue(60)),
            ("a quota for longer than the queue waits", quota(200), 10, by_timer(200)),
            ("a last time", busy, 419, in_queue(120)),
            ("beyond that WeChat delivers it twice", busy, 420, NextAttempt::GiveUp),
            ("the day's quota", quota(7 * 3600), 10, NextAttempt::GiveUp),
        ] {
            assert_eq!(next_resend(reason, SINCE, (SINCE + seconds_later) * 1000), expected, "{what}");
        }
    }
}
