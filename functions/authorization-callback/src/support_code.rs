//! The word at the foot of a page that tells the tenant's support what happened.

use std::fmt;

use shared::model::binding_refusal::BindingRefusal;

/// What happened, as support knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SupportCode {
    /// The account may not be bound.
    Refused(BindingRefusal),
    /// The link's hour is over.
    LinkExpired,
    /// The administrator agreed on a page of WeChat's that is older than what the account's owner did since.
    PageTooOld,
    /// The consent belongs to another page.
    AnotherPage,
    /// The operator suspended the tenant.
    TenantSuspended,
    /// WeChat has not pushed a ticket yet.
    NoTicket,
}

impl fmt::Display for SupportCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(refusal) => refusal.name(),
            Self::LinkExpired => "expired",
            Self::PageTooOld => "page_too_old",
            Self::AnotherPage => "another_page",
            Self::TenantSuspended => "tenant_suspended",
            Self::NoTicket => "component_verify_ticket missing",
        })
    }
}
