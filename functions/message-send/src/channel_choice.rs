//! Chooses the channel of a message before WeChat is asked: pure.

use shared::{
    model::{
        account::{AccountStatus, capabilities},
        window::{WindowKind, Windows, next_window},
    },
    store::{accounts::AccountRecord, fans::Fan, messages::Channel},
};

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

/// The channel for a message, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelChoice {
    /// As a customer-service message. Holds the window whose send must be counted, if it is not yet.
    CustomerService(Option<WindowKind>),
    /// As a template message.
    Template,
    /// Not at all.
    Fail(NotSentReason),
}

impl ChannelChoice {
    /// The channel, if there is one.
    pub fn channel(self) -> Option<Channel> {
        match self {
            Self::CustomerService(_) => Some(Channel::CustomerService),
            Self::Template => Some(Channel::Template),
            Self::Fail(_) => None,
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
}

impl NotSentReason {
    /// The failure's code in the API, and what to do about it.
    pub fn code_and_hint(self) -> (&'static str, &'static str) {
        match self {
            Self::TenantSuspended => (
                "tenant_suspended",
                "The operator of this hub has suspended the tenant: nothing is sent for it.",
            ),
            Self::AccountNotBound => (
                "account_not_bound",
                "The account is not bound: its administrator has to authorize it again.",
            ),
            Self::CapabilityMissing => (
                "capability_missing",
                "The account's type, its verification or the permissions that it granted do not allow this \
                 kind of message.",
            ),
            Self::Unsubscribed => (
                "recipient_unreachable",
                "They do not follow the account any more; nothing reaches them until they follow again.",
            ),
            Self::UnknownRecipient => (
                "recipient_unreachable",
                "Nobody with this openid is known here as a follower of this account. `to` takes the openid of one \
                 of the customer's fans, not a customer's id.",
            ),
            Self::OutsideReplyWindow => (
                "outside_reply_window",
                "The fan has opened no reply window, or its sends are used up; give a template to send outside \
                 of it.",
            ),
        }
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
        return ChannelChoice::Fail(NotSentReason::TenantSuspended);
    }
    if !account.bound {
        return ChannelChoice::Fail(NotSentReason::AccountNotBound);
    }
    let may_content = payload.content && account.customer_service;
    let may_template = payload.template && account.template;
    if !may_content && !may_template {
        return ChannelChoice::Fail(NotSentReason::CapabilityMissing);
    }
    if to.unsubscribed {
        return ChannelChoice::Fail(NotSentReason::Unsubscribed);
    }
    if may_content {
        if window_counted && next_window(&with_unused_sends(&to.windows), now).is_some() {
            return ChannelChoice::CustomerService(None);
        }
        if let Some(window) = next_window(&to.windows, now) {
            return ChannelChoice::CustomerService(Some(window.kind));
        }
    }
    match (may_template, payload.template) {
        (true, _) => ChannelChoice::Template,
        (false, true) => ChannelChoice::Fail(NotSentReason::CapabilityMissing),
        (false, false) if !to.known => ChannelChoice::Fail(NotSentReason::UnknownRecipient),
        (false, false) => ChannelChoice::Fail(NotSentReason::OutsideReplyWindow),
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
        use NotSentReason::{
            AccountNotBound, CapabilityMissing, OutsideReplyWindow, UnknownRecipient, Unsubscribed,
        };
        let fan = |windows| RecipientState { known: true, unsubscribed: false, windows };
        let message = |at, used| Windows { message_at: Some(at), message_used: used, ..Windows::default() };
        let (open, used) = (fan(message(NOW - 10, 0)), fan(message(NOW - 10, 5)));
        let past = fan(message(NOW - 48 * 3600, 0));
        let follow = fan(Windows { follow_at: Some(NOW - 10), ..message(NOW - 10, 0) });
        let (none, stranger) = (fan(Windows::default()), RecipientState::default());
        let left = RecipientState { unsubscribed: true, ..open };
        let (content, template) =
            (Payload { content: true, template: false }, Payload { content: false, template: true });
        let both = Payload { content: true, template: true };
        let unbound = AccountCapabilities { bound: false, ..ALL };
        let no_service = AccountCapabilities { customer_service: false, ..ALL };
        let no_template = AccountCapabilities { template: false, ..ALL };
        let (message, direct) =
            (ChannelChoice::CustomerService(Some(WindowKind::Message)), ChannelChoice::Template);
        for (what, standing, carries, to, counted, plan) in [
            ("content in the window", ALL, content, open, false, message),
            (
                "content after a follow",
                ALL,
                content,
                follow,
                false,
                ChannelChoice::CustomerService(Some(WindowKind::Follow)),
            ),
            ("both in the window", ALL, both, open, false, message),
            ("both, its sends used up", ALL, both, used, false, direct),
            ("both, outside of it", ALL, both, past, false, direct),
            ("both, to one who never wrote", ALL, both, none, false, direct),
            ("both, to a stranger", ALL, both, stranger, false, direct),
            ("both, to one who left", ALL, both, left, false, ChannelChoice::Fail(Unsubscribed)),
            ("a template, to one who left", ALL, template, left, false, ChannelChoice::Fail(Unsubscribed)),
            ("one who left, unbound", unbound, both, left, false, ChannelChoice::Fail(AccountNotBound)),
            ("content outside of it", ALL, content, past, false, ChannelChoice::Fail(OutsideReplyWindow)),
            (
                "content to one who never wrote",
                ALL,
                content,
                none,
                false,
                ChannelChoice::Fail(OutsideReplyWindow),
            ),
            ("content to a stranger", ALL, content, stranger, false, ChannelChoice::Fail(UnknownRecipient)),
            (
                "content, its sends used up",
                ALL,
                content,
                used,
                false,
                ChannelChoice::Fail(OutsideReplyWindow),
            ),
            (
                "a send that was counted before",
                ALL,
                content,
                used,
                true,
                ChannelChoice::CustomerService(None),
            ),
            (
                "counted, but the window closed",
                ALL,
                content,
                past,
                true,
                ChannelChoice::Fail(OutsideReplyWindow),
            ),
            ("a template in the window", ALL, template, open, false, direct),
            (
                "of a suspended tenant",
                AccountCapabilities { suspended: true, ..ALL },
                both,
                open,
                false,
                ChannelChoice::Fail(NotSentReason::TenantSuspended),
            ),
            ("unbound", unbound, both, open, false, ChannelChoice::Fail(AccountNotBound)),
            ("no right to content", no_service, content, open, false, ChannelChoice::Fail(CapabilityMissing)),
            (
                "no right to content, no window",
                no_service,
                content,
                none,
                false,
                ChannelChoice::Fail(CapabilityMissing),
            ),
            ("no right to content, a template", no_service, both, open, false, direct),
            (
                "no right to templates",
                no_template,
                template,
                open,
                false,
                ChannelChoice::Fail(CapabilityMissing),
            ),
            ("no right to templates, a window", no_template, both, open, false, message),
            (
                "no right to templates, no window",
                no_template,
                both,
                past,
                false,
                ChannelChoice::Fail(CapabilityMissing),
            ),
            (
                "no right to anything",
                AccountCapabilities { bound: true, ..AccountCapabilities::default() },
                both,
                open,
                false,
                ChannelChoice::Fail(CapabilityMissing),
            ),
        ] {
            assert_eq!(choose_channel(standing, carries, &to, counted, NOW), plan, "{what}");
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
