//! What to do with a message that another worker has leased before: pure. This is the rule for crashes.
//!
//! A template message carries its message id as `client_msg_id`, by which WeChat delivers it once within ten
//! minutes: within nine it is sent again. A customer-service message has nothing of the kind: it is sent at
//! most once, and if its outcome was not recorded it fails as `outcome_unknown`.

use std::time::Duration;

use shared::{
    model::message::{Channel, MessageRecord, MessageStatus},
    store::message_leases::MESSAGE_LEASE_SECONDS,
};

/// How long a template message may be sent again after its first try, seconds. WeChat deduplicates for 600; the
/// rest is for clocks, the call and the queue.
pub const RESEND_WITHIN_SECONDS: i64 = 540;

/// What to do with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryAction {
    /// Nothing: its end is known.
    Ended,
    /// Wait: another worker may still be sending it.
    Wait(Duration),
    /// Nothing was sent: choose a channel again.
    StartAgain {
        /// Whether a send of the reply window was counted for it.
        window_counted: bool,
    },
    /// It may have been sent as a template message: send it again with the id by which WeChat deduplicates.
    Resend,
    /// It may have been sent, and another try could reach the fan twice.
    FailUnknown,
}

/// Decides by the message's record.
pub fn recovery_action(message: &MessageRecord, now: i64) -> RecoveryAction {
    let after = match message.status {
        MessageStatus::Sent | MessageStatus::Delivered | MessageStatus::Failed => {
            return RecoveryAction::Ended;
        }
        MessageStatus::Sending => message.claimed_at,
        MessageStatus::Queued => None,
    };
    if let Some(left) = after.map(|at| at + MESSAGE_LEASE_SECONDS - now).filter(|left| *left > 0) {
        return RecoveryAction::Wait(Duration::from_secs(
            left.unsigned_abs().min(MESSAGE_LEASE_SECONDS.unsigned_abs()),
        ));
    }
    let sending = message.status == MessageStatus::Sending;
    let resend = message.first_claimed_at.is_some_and(|at| now - at < RESEND_WITHIN_SECONDS);
    match message.channel {
        Some(Channel::CustomerService) if sending => RecoveryAction::FailUnknown,
        // Released with this time still set: an earlier try may have reached the fan.
        Some(Channel::Template) if sending || message.first_claimed_at.is_some() => {
            if resend {
                RecoveryAction::Resend
            } else {
                RecoveryAction::FailUnknown
            }
        }
        channel => RecoveryAction::StartAgain { window_counted: channel == Some(Channel::CustomerService) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_735_689_600;

    #[test]
    fn a_message_that_was_taken_before_reaches_nobody_twice() {
        use MessageStatus::{Delivered, Failed, Queued, Sending, Sent};
        use RecoveryAction::{Ended, FailUnknown, Resend, StartAgain, Wait};
        #[derive(Clone, Copy)]
        struct Case {
            what: &'static str,
            status: MessageStatus,
            channel: Option<Channel>,
            claimed_at: Option<i64>,
            first_claimed_at: Option<i64>,
            expected: RecoveryAction,
        }
        let long_ago = Some(NOW - MESSAGE_LEASE_SECONDS);
        let (service, template) = (Some(Channel::CustomerService), Some(Channel::Template));
        let wait = |seconds| Wait(Duration::from_secs(seconds));
        let ended = |what, status| Case {
            what,
            status,
            channel: service,
            claimed_at: Some(5),
            first_claimed_at: Some(5),
            expected: Ended,
        };
        let crashed = |what, channel, expected| Case {
            what,
            status: Sending,
            channel,
            claimed_at: long_ago,
            first_claimed_at: long_ago,
            expected,
        };
        let released = |what, channel, first_claimed_at, expected| Case {
            what,
            status: Queued,
            channel,
            claimed_at: long_ago,
            first_claimed_at,
            expected,
        };
        let template_crash = crashed("a crash with a template message", template, Resend);
        let taken_at = |at| Case { claimed_at: Some(at), first_claimed_at: Some(at), ..template_crash };
        for case in [
            ended("sent", Sent),
            ended("delivered", Delivered),
            ended("failed", Failed),
            Case { what: "taken just now", expected: wait(35), ..taken_at(NOW) },
            Case { what: "taken 34 s ago", expected: wait(1), ..taken_at(NOW - 34) },
            crashed("a crash with a customer-service message", service, FailUnknown),
            template_crash,
            Case {
                what: "the same, a second before nine minutes",
                first_claimed_at: Some(NOW - 539),
                ..template_crash
            },
            Case {
                what: "the same, 9 minutes after the first try",
                first_claimed_at: Some(NOW - 540),
                expected: FailUnknown,
                ..template_crash
            },
            crashed("a crash before anything would go out", None, StartAgain { window_counted: false }),
            Case {
                claimed_at: None,
                ..released("never taken", None, None, StartAgain { window_counted: false })
            },
            released("given back", service, None, StartAgain { window_counted: true }),
            released("a template given back", template, None, StartAgain { window_counted: false }),
            released("a template without an answer", template, long_ago, Resend),
            released("the same, long ago", template, Some(NOW - 3600), FailUnknown),
        ] {
            let Case { what, status, channel, claimed_at, first_claimed_at, expected } = case;
            let message = MessageRecord {
                id: "msg_1".into(),
                tenant_id: "ten_1".into(),
                app_id: "wx1".into(),
                to: "o1".into(),
                status,
                channel,
                content: None,
                template: None,
                wechat_msg_id: None,
                error: None,
                created_at: 0,
                sent_at: None,
                claimed_at,
                claimed_by: None,
                first_claimed_at,
            };
            assert_eq!(recovery_action(&message, NOW), expected, "{what}");
        }
    }
}
