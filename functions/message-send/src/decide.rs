//! How a message goes out, before WeChat is asked: pure.

use shared::{
    model::{
        account::{AccountStatus, capabilities},
        window::{WindowKind, Windows, choose},
    },
    store::accounts::AccountRecord,
};

/// What the account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Its tenant has it, and its authorization stands.
    pub bound: bool,
    /// Customer-service messages.
    pub customer_service: bool,
    /// Template messages.
    pub template: bool,
}

impl Standing {
    /// Of an account, as `tenant` has it.
    pub fn of(account: Option<&AccountRecord>, tenant: &str) -> Self {
        let Some(account) = account.filter(|a| a.tenant_id == tenant) else { return Self::default() };
        let can = capabilities(account.account_type, account.verified, &account.granted);
        let can = |name| can.get(name).copied().unwrap_or_default();
        Self {
            bound: account.status == AccountStatus::Bound,
            customer_service: can("customer_service_message"),
            template: can("template_message"),
        }
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

/// How a message goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Within a reply window; a send of that window has to be taken, or was taken at an earlier try.
    CustomerService(Option<WindowKind>),
    /// As a template message.
    Template,
    /// Not at all.
    Fail(Refusal),
}

/// Why a message does not go out, without asking WeChat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No account, or its authorization is gone.
    AccountNotBound,
    /// Its type, its verification or what it granted does not allow it.
    CapabilityMissing,
    /// No window is open, and there is no template.
    OutsideReplyWindow,
}

impl Refusal {
    /// The contract's word and what to do about it.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::AccountNotBound => (
                "account_not_bound",
                "The account is not bound: its administrator has to authorize it again.",
            ),
            Self::CapabilityMissing => (
                "capability_missing",
                "The account's type, its verification or the permissions that it granted do not allow this \
                 kind of message.",
            ),
            Self::OutsideReplyWindow => (
                "outside_reply_window",
                "The fan has opened no reply window, or its sends are used up; give a template to send outside \
                 of it.",
            ),
        }
    }
}

/// Decides. `counted`: an earlier try took its send from the window already.
///
/// A content that the account may not send leaves the template, if there is one: it is what the tenant named
/// for whenever the content cannot go.
pub fn decide(standing: Standing, carries: Carries, windows: &Windows, counted: bool, now: i64) -> Plan {
    if !standing.bound {
        return Plan::Fail(Refusal::AccountNotBound);
    }
    let may_content = carries.content && standing.customer_service;
    if may_content {
        if counted && choose(&unused(windows), now).is_some() {
            return Plan::CustomerService(None);
        }
        if let Some(window) = choose(windows, now) {
            return Plan::CustomerService(Some(window.kind));
        }
    }
    match (carries.template, standing.template) {
        (true, true) => Plan::Template,
        (true, false) => Plan::Fail(Refusal::CapabilityMissing),
        (false, _) if carries.content && !standing.customer_service => Plan::Fail(Refusal::CapabilityMissing),
        (false, _) => Plan::Fail(Refusal::OutsideReplyWindow),
    }
}

/// The windows as if no send had been taken: only their times count.
fn unused(windows: &Windows) -> Windows {
    Windows { message_used: 0, menu_used: 0, follow_used: 0, ..*windows }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_735_689_600;
    const ALL: Standing = Standing { bound: true, customer_service: true, template: true };

    #[test]
    fn a_message_goes_the_way_that_wechat_allows() {
        use Refusal::{AccountNotBound, CapabilityMissing, OutsideReplyWindow};
        let open = Windows { message_at: Some(NOW - 10), ..Windows::default() };
        let used = Windows { message_used: 5, ..open };
        let past = Windows { message_at: Some(NOW - 48 * 3600), ..Windows::default() };
        let follow = Windows { follow_at: Some(NOW - 10), ..open };
        let none = Windows::default();
        let (content, template) =
            (Carries { content: true, template: false }, Carries { content: false, template: true });
        let both = Carries { content: true, template: true };
        let unbound = Standing { bound: false, ..ALL };
        let no_service = Standing { customer_service: false, ..ALL };
        let no_template = Standing { template: false, ..ALL };
        let (message, direct) = (Plan::CustomerService(Some(WindowKind::Message)), Plan::Template);
        for (what, standing, carries, windows, counted, plan) in [
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
            ("both, to a stranger", ALL, both, none, false, direct),
            ("content outside of it", ALL, content, past, false, Plan::Fail(OutsideReplyWindow)),
            ("content to a stranger", ALL, content, none, false, Plan::Fail(OutsideReplyWindow)),
            ("content, its sends used up", ALL, content, used, false, Plan::Fail(OutsideReplyWindow)),
            ("a send that was counted before", ALL, content, used, true, Plan::CustomerService(None)),
            ("counted, but the window closed", ALL, content, past, true, Plan::Fail(OutsideReplyWindow)),
            ("a template in the window", ALL, template, open, false, direct),
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
            assert_eq!(decide(standing, carries, &windows, counted, NOW), plan, "{what}");
        }
    }
}
