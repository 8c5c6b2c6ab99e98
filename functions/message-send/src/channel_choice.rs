//! Chooses the channel of a message before WeChat is asked: pure.

use shared::model::{
    account::{AccountRecord, AccountStatus},
    capability::capabilities,
    failure_code::FailureCode,
    fan::Fan,
    message::{Channel, MessageError},
    window::{WindowKind, Windows, next_window},
};

use crate::retry_policy::outcome_unknown;

/// What the account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountCapabilities {
    /// The operator has suspended its tenant.
    pub suspended: bool,
    /// Its tenant has it, and its authorization stands.
    pub bound: bool,
    /// Customer-service messages.
    pub customer_service: bool,
    /// Template messages.
    pub template: bool,
}

impl AccountCapabilities {
    /// The capabilities of an account, if `tenant` has it.
    pub fn of(account: Option<&AccountRecord>, tenant: &str) -> Self {
        let Some(account) = account.filter(|a| a.tenant_id == tenant) else { return Self::default() };
        let can = capabilities(account.account_type, account.verified, &account.granted);
        let can = |name| can.get(name).copied().unwrap_or_default();
        Self {
            suspended: false,
            bound: account.status == AccountStatus::Bound,
            customer_service: can("customer_service_message"),
            template: can("template_message"),
        }
    }

    /// Whether its tenant may send template messages from it.
    pub fn may_send_template(self) -> bool {
        self.bound && self.template && !self.suspended
    }
}

/// What is known about the fan that a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecipientState {
    /// The fan is stored.
    pub known: bool,
    /// The fan unsubscribed, and has done nothing since.
    pub unsubscribed: bool,
    /// The fan's reply windows.
    pub windows: Windows,
}

impl RecipientState {
    /// From a stored fan. Whoever writes or follows after unsubscribing is back, even if the push for it
    /// was lost.
    pub fn of(fan: &Fan) -> Self {
        let since = |left_at: i64| {
            [fan.message_at, fan.menu_at, fan.follow_at].iter().flatten().any(|at| *at > left_at)
        };
        let left = !fan.subscribed && fan.status_at.is_some_and(|left_at| !since(left_at));
        Self { known: true, unsubscribed: left, windows: fan.windows() }
    }
}

/// What the message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// A customer-service message.
    pub content: bool,
    /// A template message.
    pub template: bool,
}

/// How a message goes out, or why it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelChoice {
    /// By this channel.
    Send(Channel),
    /// As a customer-service message, once a send is counted in this window.
    UseWindow(WindowKind),
    /// Not, for this reason.
    Refuse(NotSentReason),
}

impl ChannelChoice {
    /// The channel, if there is one.
    pub fn channel(self) -> Option<Channel> {
        match self {
            Self::Send(channel) => Some(channel),
            Self::UseWindow(_) => Some(Channel::CustomerService),
            Self::Refuse(_) => None,
        }
    }

    /// The window in which a send must be counted first, if there is one.
    pub fn window(self) -> Option<WindowKind> {
        match self {
            Self::UseWindow(kind) => Some(kind),
            Self::Send(_) | Self::Refuse(_) => None,
        }
    }
}

/// Why a message is not sent, decided without asking WeChat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSentReason {
    /// The operator has suspended the tenant.
    TenantSuspended,
    /// No account, or its authorization is gone.
    AccountNotBound,
    /// Its type, its verification or what it granted does not allow it.
    CapabilityMissing,
    /// The fan has unsubscribed.
    Unsubscribed,
    /// No fan with that openid is stored, and there is no template.
    UnknownRecipient,
    /// No window is open, and there is no template.
    OutsideReplyWindow,
    /// It may have been sent before.
    OutcomeUnknown,
}

impl NotSentReason {
    /// The failure as the API shows it, with what to do about it.
    pub fn error(self) -> MessageError {
        let (code, detail) = match self {
            Self::TenantSuspended => (
                FailureCode::TenantSuspended,
                "The operator of this hub has suspended the tenant: nothing is sent for it.",
            ),
            Self::AccountNotBound => (
                FailureCode::AccountNotBound,
                "The account is not bound: its administrator has to authorize it again.",
            ),
            Self::CapabilityMissing => (
                FailureCode::CapabilityMissing,
                "The account's type, its verification or the permissions that it granted do not allow this \
                 kind of message.",
            ),
            Self::Unsubscribed => (
                FailureCode::RecipientUnreachable,
                "They do not follow the account any more; nothing reaches them until they follow again.",
            ),
            Self::UnknownRecipient => (
                FailureCode::RecipientUnreachable,
                "Nobody with this openid is known here as a follower of this account. `to` takes the openid of one \
                 of the customer's fans, not a customer's id.",
            ),
            Self::OutsideReplyWindow => (
                FailureCode::OutsideReplyWindow,
                "The fan has opened no reply window, or its sends are used up; give a template to send outside \
                 of it.",
            ),
            Self::OutcomeUnknown => return outcome_unknown(None),
        };
        MessageError { code, errcode: None, detail: detail.into() }
    }
}

/// Chooses. `window_counted`: an earlier try has counted its send in the window already.
///
/// If the account may not send the content, the template is used if there is one: the tenant gave it for
/// whenever the content cannot be sent. Of several reasons, the one to correct first is returned.
pub fn choose_channel(
    account: AccountCapabilities,
    payload: Payload,
    to: &RecipientState,
    window_counted: bool,
    now: i64,
) -> ChannelChoice {
    if account.suspended {
        return ChannelChoice::Refuse(NotSentReason::TenantSuspended);
    }
    if !account.bound {
        return ChannelChoice::Refuse(NotSentReason::AccountNotBound);
    }
    let may_content = payload.content && account.customer_service;
    let may_template = payload.template && account.template;
    if !may_content && !may_template {
        return ChannelChoice::Refuse(NotSentReason::CapabilityMissing);
    }
    if to.unsubscribed {
        return ChannelChoice::Refuse(NotSentReason::Unsubscribed);
    }
    if may_content {
        if window_counted && next_window(&with_unused_sends(&to.windows), now).is_some() {
            return ChannelChoice::Send(Channel::CustomerService);
        }
        if let Some(window) = next_window(&to.windows, now) {
            return ChannelChoice::UseWindow(window.kind);
        }
    }
    match (may_template, payload.template) {
        (true, _) => ChannelChoice::Send(Channel::Template),
        (false, true) => ChannelChoice::Refuse(NotSentReason::CapabilityMissing),
        (false, false) if !to.known => ChannelChoice::Refuse(NotSentReason::UnknownRecipient),
        (false, false) => ChannelChoice::Refuse(NotSentReason::OutsideReplyWindow),
    }
}

/// The windows without their counts, so that only their times matter.
fn with_unused_sends(windows: &Windows) -> Windows {
    Windows { message_used: 0, menu_used: 0, follow_used: 0, ..*windows }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_735_689_600;
    const ALL: AccountCapabilities =
        AccountCapabilities { suspended: false, bound: true, customer_service: true, template: true };

    #[test]
    fn a_message_goes_the_way_that_wechat_allows() {
        use ChannelChoice::{Refuse, Send, UseWindow};
        use NotSentReason::{
            AccountNotBound, CapabilityMissing, OutsideReplyWindow, TenantSuspended, UnknownRecipient,
            Unsubscribed,
        };
        #[derive(Clone, Copy)]
        struct Case {
            what: &'static str,
            account: AccountCapabilities,
            payload: Payload,
            to: RecipientState,
            window_counted: bool,
            expected: ChannelChoice,
        }
        let windows = |at, used| Windows { message_at: Some(at), message_used: used, ..Windows::default() };
        let fan = |windows| RecipientState { known: true, unsubscribed: false, windows };
        let (open, used_up) = (fan(windows(NOW - 10, 0)), fan(windows(NOW - 10, 5)));
        let closed = fan(windows(NOW - 48 * 3600, 0));
        let follows = fan(Windows { follow_at: Some(NOW - 10), ..windows(NOW - 10, 0) });
        let never_wrote = fan(Windows::default());
        let stranger = RecipientState::default();
        let left = RecipientState { unsubscribed: true, ..open };
        let (content, template) =
            (Payload { content: true, template: false }, Payload { content: false, template: true });
        let unbound = AccountCapabilities { bound: false, ..ALL };
        let no_service = AccountCapabilities { customer_service: false, ..ALL };
        let no_template = AccountCapabilities { template: false, ..ALL };
        let both = Case {
            what: "both in the window",
            account: ALL,
            payload: Payload { content: true, template: true },
            to: open,
            window_counted: false,
            expected: UseWindow(WindowKind::Message),
        };
        let by_template = Case { expected: Send(Channel::Template), ..both };
        let refused = |what, why| Case { what, expected: Refuse(why), ..both };
        for case in [
            both,
            Case { what: "content in the window", payload: content, ..both },
            Case {
                what: "content after a follow",
                payload: content,
                to: follows,
                expected: UseWindow(WindowKind::Follow),
                ..both
            },
            Case { what: "both, its sends used up", to: used_up, ..by_template },
            Case { what: "both, outside of it", to: closed, ..by_template },
            Case { what: "both, to one who never wrote", to: never_wrote, ..by_template },
            Case { what: "both, to a stranger", to: stranger, ..by_template },
            Case { what: "a template in the window", payload: template, ..by_template },
            Case { to: left, ..refused("both, to one who left", Unsubscribed) },
            Case { payload: template, to: left, ..refused("a template, to one who left", Unsubscribed) },
            Case { account: unbound, to: left, ..refused("to one who left, unbound", AccountNotBound) },
            Case { payload: content, to: closed, ..refused("content outside of it", OutsideReplyWindow) },
            Case {
                payload: content,
                to: used_up,
                ..refused("content, its sends used up", OutsideReplyWindow)
            },
            Case {
                payload: content,
                to: never_wrote,
                ..refused("content to one who never wrote", OutsideReplyWindow)
            },
            Case { payload: content, to: stranger, ..refused("content to a stranger", UnknownRecipient) },
            Case {
                what: "a send that was counted before",
                payload: content,
                to: used_up,
                window_counted: true,
                expected: Send(Channel::CustomerService),
                ..both
            },
            Case {
                payload: content,
                to: closed,
                window_counted: true,
                ..refused("counted, but the window closed", OutsideReplyWindow)
            },
            Case {
                account: AccountCapabilities { suspended: true, ..ALL },
                ..refused("of a suspended tenant", TenantSuspended)
            },
            Case { account: unbound, ..refused("unbound", AccountNotBound) },
            Case {
                account: no_service,
                payload: content,
                ..refused("no right to content", CapabilityMissing)
            },
            Case {
                account: no_service,
                payload: content,
                to: never_wrote,
                ..refused("no right to content, no window", CapabilityMissing)
            },
            Case { what: "no right to content, a template", account: no_service, ..by_template },
            Case {
                account: no_template,
                payload: template,
                ..refused("no right to templates", CapabilityMissing)
            },
            Case { what: "no right to templates, a window", account: no_template, ..both },
            Case {
                account: no_template,
                to: closed,
                ..refused("no right to templates, no window", CapabilityMissing)
            },
            Case {
                account: AccountCapabilities { bound: true, ..AccountCapabilities::default() },
                ..refused("no right to anything", CapabilityMissing)
            },
        ] {
            let Case { what, account, payload, to, window_counted, expected } = case;
            assert_eq!(choose_channel(account, payload, &to, window_counted, NOW), expected, "{what}");
        }
    }

    #[test]
    fn who_left_and_did_something_since_is_back() {
        for (what, subscribed, status_at, message_at, left) in [
            ("follows", true, Some(50), None, false),
            ("left", false, Some(50), None, true),
            ("left after a message", false, Some(50), Some(40), true),
            ("wrote after it", false, Some(50), Some(60), false),
            ("nobody ever said", false, None, None, false),
        ] {
            let fan = Fan { subscribed, status_at, message_at, ..Fan::default() };
            assert_eq!(RecipientState::of(&fan).unsubscribed, left, "{what}");
        }
    }
}
