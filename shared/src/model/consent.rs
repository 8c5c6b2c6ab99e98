//! Which tenant a consent counts for. An account becomes bound to a tenant only by a consent that began on
//! a page of that tenant after the account's last unbinding; any other only renews an existing binding.
//!
//! Source: contract, binding rules.

/// WeChat accepts a pre_auth_code until it expires; its clock and ours may differ by this much, seconds.
const MAX_CLOCK_SKEW_SECONDS: i64 = 60;

/// A tenant's page, as opened by one browser: with its own pre_auth_code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsentPage<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// Earliest time at which it was opened, unix seconds.
    pub opened_at: i64,
    /// When its pre_auth_code expires, unix seconds.
    pub expires_at: i64,
}

impl ConsentPage<'_> {
    /// Whether this page can have led to a consent that WeChat dates `at`. An
    /// event from long after its expiry names a page that did not ask for it.
    #[must_use]
    pub fn may_have_asked_at(&self, at: i64) -> bool {
        at <= self.expires_at + MAX_CLOCK_SKEW_SECONDS
    }
}

/// What the hub knows about the binding of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountBinding<'a> {
    /// The tenant that has it, or had it before it was deleted.
    pub tenant: &'a str,
    /// It is bound.
    pub bound: bool,
    /// Its tenant deleted it: others may bind it.
    pub deleted: bool,
    /// When it was unbound, unix seconds.
    pub unbound_at: Option<i64>,
}

/// What a consent does to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentEffect {
    /// It becomes bound to the page's tenant.
    Binds,
    /// It is bound to this tenant already: tokens and permissions are new.
    Renews,
    /// It belongs to another tenant.
    BoundToOtherTenant,
    /// The page was opened before the account was unbound.
    PageTooOld,
    /// The consent did not begin on one of our pages, and no tenant has the account bound.
    NoPage,
    /// The page's tenant is suspended or deleted: nothing is bound
    /// to it. Only the store knows, in the write that would bind.
    TenantSuspended,
}

/// Decides what a consent does. `page` is where it began, `None` if at
/// WeChat; `account` is `None` for an account that was never bound.
#[must_use]
pub fn effect_of_consent(
    page: Option<ConsentPage<'_>>,
    account: Option<AccountBinding<'_>>,
) -> ConsentEffect {
    match (page, account) {
        (Some(page), Some(s)) if s.bound || !s.deleted => match (s.tenant == page.tenant, s.bound) {
            (false, _) => ConsentEffect::BoundToOtherTenant,
            (true, true) => ConsentEffect::Renews,
            (true, false) => after_unbinding(page, s),
        },
        (Some(page), Some(deleted)) => after_unbinding(page, deleted),
        (Some(_), None) => ConsentEffect::Binds,
        (None, Some(AccountBinding { bound: true, .. })) => ConsentEffect::Renews,
        (None, _) => ConsentEffect::NoPage,
    }
}

/// In the very second of the unbinding the page counts as opened after it: the order is unknown.
fn after_unbinding(page: ConsentPage<'_>, standing: AccountBinding<'_>) -> ConsentEffect {
    if standing.unbound_at.is_none_or(|at| page.opened_at >= at) {
        ConsentEffect::Binds
    } else {
        ConsentEffect::PageTooOld
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consent_binds_only_where_it_began_on_a_page_after_the_last_unbinding() {
        let page = |tenant, opened_at| Some(ConsentPage { tenant, opened_at, expires_at: opened_at + 600 });
        let bound = |tenant| Some(AccountBinding { tenant, bound: true, deleted: false, unbound_at: None });
        let unbound =
            |tenant, at| Some(AccountBinding { tenant, bound: false, deleted: false, unbound_at: Some(at) });
        let deleted =
            |tenant, at| Some(AccountBinding { tenant, bound: false, deleted: true, unbound_at: Some(at) });
        for (what, page, standing, is) in [
            ("a new account", page("mine", 100), None, ConsentEffect::Binds),
            ("one's own once more", page("mine", 100), bound("mine"), ConsentEffect::Renews),
            ("one's own, unbound before", page("mine", 100), unbound("mine", 99), ConsentEffect::Binds),
            (
                "one's own, unbound in that second",
                page("mine", 100),
                unbound("mine", 100),
                ConsentEffect::Binds,
            ),
            ("one's own, unbound since", page("mine", 100), unbound("mine", 101), ConsentEffect::PageTooOld),
            ("another's", page("mine", 100), bound("other"), ConsentEffect::BoundToOtherTenant),
            (
                "another's, unbound",
                page("mine", 100),
                unbound("other", 50),
                ConsentEffect::BoundToOtherTenant,
            ),
            ("another's, given away", page("mine", 100), deleted("other", 50), ConsentEffect::Binds),
            (
                "another's, given away since",
                page("mine", 100),
                deleted("other", 150),
                ConsentEffect::PageTooOld,
            ),
            ("one's own, given away before", page("mine", 100), deleted("mine", 50), ConsentEffect::Binds),
            (
                "one's own, given away since",
                page("mine", 100),
                deleted("mine", 150),
                ConsentEffect::PageTooOld,
            ),
            ("changed at WeChat", None, bound("other"), ConsentEffect::Renews),
            ("authorized at WeChat, once bound here", None, unbound("other", 50), ConsentEffect::NoPage),
            ("authorized at WeChat, given away", None, deleted("other", 50), ConsentEffect::NoPage),
            ("authorized at WeChat, never here", None, None, ConsentEffect::NoPage),
        ] {
            assert_eq!(effect_of_consent(page, standing), is, "{what}");
        }
    }

    #[test]
    fn a_page_asks_for_a_consent_until_its_code_expires() {
        let page = ConsentPage { tenant: "mine", opened_at: 100, expires_at: 700 };
        for (what, at, may) in [
            ("at once", 100, true),
            ("with the clocks apart", 99, true),
            ("at the end", 700, true),
            ("by a clock that is ahead", 760, true),
            ("weeks later, by an event that names the page again", 700 + 14 * 86_400, false),
        ] {
            assert_eq!(page.may_have_asked_at(at), may, "{what}");
        }
    }
}
