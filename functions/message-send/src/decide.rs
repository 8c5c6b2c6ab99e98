//! Chooses the channel of a message before WeChat is asked: pure.

use shared::{
    model::{
        account::{AccountStatus, capabilities},
        window::{WindowKind, Windows, choose},
    },
    store::{accounts::AccountRecord, fans::Fan, messages::Channel},
};

/// What the account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// The operator has suspended its tenant.
    pub suspended: bool,
    /// Its tenant has it, and its authorization stands.
    pub bound: bool,
    /// Customer-service messages.
    pub customer_service: bool,
    /// Template messages.
    pub template: bool,
}

impl Standing {
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
pub struct Recipient {
    /// The fan is stored.
    pub known: bool,
    /// The fan unsubscribed, and has done nothing since.
    pub left: bool,
    /// The fan's reply windows.
    pub windows: Windows,
}

impl Recipient {
    /// From a stored fan. Whoever writes or follows after unsubscribing is back, even if the push for it
    /// was lost.
    pub fn of(fan: &Fan) -> Self {
        let since = |left_at: i64| {
            [fan.message_at, fan.menu_at, fan.follow_at].iter().flatten().any(|at| *at > left_at)
        };
        let left = !fan.subscribed && fan.status_at.is_some_and(|left_at| !since(left_at));
        Self { known: true, left, windows: fan.windows() }
    }
}

/// What the message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carries {
    /// A customer-service message.
    pub content: bool,
    /// A template message.
    pub template: bool,
}

/// The channel for a message, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// As a customer-service message. Holds the window whose send must be counted, if it is not yet.
    CustomerService(Option<WindowKind>),
    /// As a template message.
    Template,
    /// Not at all.
    Fail(Refusal),
}

impl Plan {
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
pub enum Refusal {
    /// The operator has suspended the tenant.
    TenantSuspended,
    /// No account, or its authorization is gone.
    AccountNotBound,
    /// Its type, its verification or what it granted does not allow it.
    CapabilityMissing,
    /// The fan has unsubscribed.
    Left,
    /// No fan with that openid is stored, and there is no template.
    Unknown,
    /// No window is open, and there is no template.
    OutsideReplyWindow,
}

impl Refusal {
    /// The failure's code in the API, and what to do about it.
    pub fn words(self) -> (&'static str, &'static str) {
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
            Self::Left => (
                "recipient_unreachable",
                "They do not follow the account any more; nothing reaches them until they follow again.",
            ),
            Self::Unknown => (
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
pub fn decide(standing: Standing, carries: Carries, to: &Recipient, counted: bool, now: i64) -> Plan {
    if standing.suspended {
        return Plan::Fail(Refusal::TenantSuspended);
    }
    if !standing.bound {
        return Plan::Fail(Refusal::AccountNotBound);
    }
    let may_content = carries.content && standing.customer_service;
    let may_template = carries.template && standing.template;
    if !may_content && !may_template {
        return Plan::Fail(Refusal::CapabilityMissing);
    }
    if to.left {
        return Plan::Fail(Refusal::Left);
    }
    if may_content {
        if counted && choose(&unused(&to.windows), now).is_some() {
            return Plan::CustomerService(None);
        }
        if let Some(window) = choose(&to.windows, now) {
            return Plan::CustomerService(Some(window.kind));
        }
    }
    match (may_template, carries.template) {
        (true, _) => Plan::Template,
        (false, true) => Plan::Fail(Refusal::CapabilityMissing),
        (false, false) if !to.known => Plan::Fail(Refusal::Unknown),
        (false, false) => Plan::Fail(Refusal::OutsideReplyWindow),
    }
}

/// The windows without their counts, so that only their times matter.
fn unused(windows: &Windows) -> Windows {
    Windows { message_used: 0, menu_used: 0, follow_used: 0, ..*windows }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_735_689_600;
    const ALL: Standing = Standing { suspended: false, bound: true, customer_service: true, template: true };

    #[test]
    fn a_message_goes_the_way_that_wechat_allows() {
        use Refusal::{AccountNotBound, CapabilityMissing, Left, OutsideReplyWindow, Unknown};
        let fan = |windows| Recipient { known: true, left: false, windows };
        let message = |at, used| Windows { message_at: Some(at), message_used: used, ..Windows::default() };
        let (open, used) = (fan(message(NOW - 10, 0)), fan(message(NOW - 10, 5)));
        let past = fan(message(NOW - 48 * 3600, 0));
        let follow = fan(Windows { follow_at: Some(NOW - 10), ..message(NOW - 10, 0) });
        let (none, stranger) = (fan(Windows::default()), Recipient::default());
        let left = Recipient { left: true, ..open };
        let (content, template) =
            (Carries { content: true, template: false }, Carries { content: false, template: true });
        let both = Carries { content: true, template: true };
        let unbound = Standing { bound: false, ..ALL };
        let no_service = Standing { customer_service: false, ..ALL };
        let no_template = Standing { template: false, ..ALL };
        let (message, direct) = (Plan::CustomerService(Some(WindowKind::Message)), Plan::Template);
        for (what, standing, carries, to, counted, plan) in [
            ("content in the window", ALL, content, open, false, message),
            (
                "content after a follow",
                ALL,
                content,
                follow,
                false,
                Plan::CustomerService(Some(WindowKind::Follow)),
            ),
            ("both in the window", ALL, both, open, false, message),
            ("both, its sends used up", ALL, both, used, false, direct),
            ("both, outside of it", ALL, both, past, false, direct),
            ("both, to one who never wrote", ALL, both, none, false, direct),
            ("both, to a stranger", ALL, both, stranger, false, direct),
            ("both, to one who left", ALL, both, left, false, Plan::Fail(Left)),
            ("a template, to one who left", ALL, template, left, false, Plan::Fail(Left)),
            ("one who left, unbound", unbound, both, left, false, Plan::Fail(AccountNotBound)),
            ("content outside of it", ALL, content, past, false, Plan::Fail(OutsideReplyWindow)),
            ("content to one who never wrote", ALL, content, none, false, Plan::Fail(OutsideReplyWindow)),
            ("content to a stranger", ALL, content, stranger, false, Plan::Fail(Unknown)),
            ("content, its sends used up", ALL, content, used, false, Plan::Fail(OutsideReplyWindow)),
            ("a send that was counted before", ALL, content, used, true, Plan::CustomerService(None)),
            ("counted, but the window closed", ALL, content, past, true, Plan::Fail(OutsideReplyWindow)),
            ("a template in the window", ALL, template, open, false, direct),
            (
                "of a suspended tenant",
                Standing { suspended: true, ..ALL },
                both,
                open,
                false,
                Plan::Fail(Refusal::TenantSuspended),
            ),
            ("unbound", unbound, both, open, false, Plan::Fail(AccountNotBound)),
            ("no right to content", no_service, content, open, false, Plan::Fail(CapabilityMissing)),
            (
                "no right to content, no window",
                no_service,
                content,
                none,
                false,
                Plan::Fail(CapabilityMissing),
            ),
            ("no right to content, a template", no_service, both, open, false, direct),
            ("no right to templates", no_template, template, open, false, Plan::Fail(CapabilityMissing)),
            ("no right to templates, a window", no_template, both, open, false, message),
            (
                "no right to templates, no window",
                no_template,
                both,
                past,
                false,
                Plan::Fail(CapabilityMissing),
            ),
            (
                "no right to anything",
                Standing { bound: true, ..Standing::default() },
                both,
                open,
                false,
                Plan::Fail(CapabilityMissing),
            ),
        ] {
            assert_eq!(decide(standing, carries, &to, counted, NOW), plan, "{what}");
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
            assert_eq!(Recipient::of(&fan).left, left, "{what}");
        }
    }
}
