//! What to do with a message that another worker has leased before: pure. This is the rule for crashes.
//!
//! A template message carries its message id as `client_msg_id`, by which WeChat delivers it once within ten
//! minutes: within nine it is sent again. A customer-service message has nothing of the kind: it is sent at
//! most once, and if its outcome was not recorded it fails as `outcome_unknown`.

use std::time::Duration;

use shared::store::{
    claims::CLAIM_SECONDS,
    messages::{Channel, Message, MessageStatus},
};

/// How long a template message may be sent again after its first try, seconds. WeChat deduplicates for 600; the
/// rest is for clocks, the call and the queue.
pub const RESEND_SECONDS: i64 = 540;

/// What to do with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing: its end is known.
    Ended,
    /// Wait: another worker may still be sending it.
    Busy(Duration),
    /// Nothing was sent: choose a channel again.
    Free {
        /// Whether a send of the reply window was counted for it.
        counted: bool,
    },
    /// It may have been sent as a template message: send it again with the id by which WeChat deduplicates.
    Resend,
    /// It may have been sent, and another try could reach the fan twice.
    Unknown,
}

/// Decides by the message's record.
pub fn found(message: &Message, now: i64) -> Found {
    let after = match message.status {
        MessageStatus::Sent | MessageStatus::Delivered | MessageStatus::Failed => return Found::Ended,
        MessageStatus::Sending => message.claimed_at,
        MessageStatus::Queued => None,
    };
    if let Some(left) = after.map(|at| at + CLAIM_SECONDS - now).filter(|left| *left > 0) {
        return Found::Busy(Duration::from_secs(left.unsigned_abs().min(CLAIM_SECONDS.unsigned_abs())));
    }
    let sending = message.status == MessageStatus::Sending;
    let resend = message.first_claimed_at.is_some_and(|at| now - at < RESEND_SECONDS);
    match message.channel {
        Some(Channel::CustomerService) if sending => Found::Unknown,
        // Released with this time still set: an earlier try may have reached the fan.
        Some(Channel::Template) if sending || message.first_claimed_at.is_some() => {
            if resend {
                Found::Resend
            } else {
                Found::Unknown
            }
        }
        channel => Found::Free { counted: channel == Some(Channel::CustomerService) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_735_689_600;

    #[test]
    fn a_message_that_was_taken_before_reaches_nobody_twice() {
        use MessageStatus::{Delivered, Failed, Queued, Sending, Sent};
        let (service, template) = (Some(Channel::CustomerService), Some(Channel::Template));
        let old = Some(NOW - CLAIM_SECONDS);
        for (what, status, channel, claimed, first, expected) in [
            ("sent", Sent, service, Some(5), Some(5), Found::Ended),
            ("delivered", Delivered, template, Some(5), Some(5), Found::Ended),
            ("failed", Failed, None, Some(5), Some(5), Found::Ended),
            ("taken just now", Sending, service, Some(NOW), Some(NOW), Found::Busy(Duration::from_secs(35))),
            (
                "taken 34 s ago",
                Sending,
                template,
                Some(NOW - 34),
                Some(NOW - 34),
                Found::Busy(Duration::from_secs(1)),
            ),
            ("a crash with a customer-service message", Sending, service, old, old, Found::Unknown),
            ("a crash with a template message", Sending, template, old, old, Found::Resend),
            (
                "the same, 9 minutes after the first try",
                Sending,
                template,
                old,
                Some(NOW - 540),
                Found::Unknown,
            ),
            ("the same, a second earlier", Sending, template, old, Some(NOW - 539), Found::Resend),
            ("a crash before anything would go out", Sending, None, old, old, Found::Free { counted: false }),
            ("never taken", Queued, None, None, None, Found::Free { counted: false }),
            ("given back", Queued, service, old, None, Found::Free { counted: true }),
            ("a template given back", Queued, template, old, None, Found::Free { counted: false }),
            ("a template without an answer", Queued, template, old, old, Found::Resend),
            ("the same, long ago", Queued, template, old, Some(NOW - 3600), Found::Unknown),
        ] {
            let message = Message {
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
                claimed_at: claimed,
                claimed_by: None,
                first_claimed_at: first,
            };
            assert_eq!(found(&message, NOW), expected, "{what}");
        }
    }
}
