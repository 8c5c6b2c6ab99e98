//! A consent as it reaches the hub, and how it ends.

use shared::{
    model::{
        authorization::{self, AuthorizationPage},
        binding_refusal::BindingRefusal,
        credentials::AccessToken,
    },
    secret::Secret,
    store::WriterId,
};

/// How a consent ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ConsentOutcome {
    /// The account is bound.
    Bound,
    /// It may not be bound.
    Refused(BindingRefusal),
    /// The account was unbound after the page was opened, or in the same second: the page must be reopened.
    PageTooOld,
    /// The page's tenant is suspended or deleted.
    TenantSuspended,
    /// No page of the hub, or another page than the browser's, began the consent.
    AnotherPage,
    /// WeChat refuses the code: it is used, expired or invented.
    InvalidCode,
}

/// Where a consent comes from.
#[derive(Clone, Copy)]
pub(crate) enum ConsentSource<'a> {
    /// WeChat's signed event. A used code is no error: the browser was faster, or an earlier try of this job
    /// crashed after it had redeemed the code.
    Event {
        /// The account.
        app_id: &'a str,
        /// The page that began it; [`None`] where it began on WeChat's own pages.
        page: Option<&'a AuthorizationPage>,
    },
    /// A browser that returned from WeChat.
    Browser {
        /// The page that it opened.
        page: &'a AuthorizationPage,
        /// The id under which its one query of the code was counted.
        query: WriterId,
    },
}

/// A consent as it reaches the hub, from one of its two sources.
pub(crate) struct IncomingConsent<'a> {
    /// WeChat's authorization code.
    pub code: &'a Secret,
    /// Where it comes from.
    pub source: ConsentSource<'a>,
    /// The time of WeChat's event, or when the browser returned; unix seconds.
    pub at: i64,
}

impl<'a> IncomingConsent<'a> {
    /// The fingerprint of its code.
    pub(crate) fn fingerprint(&self) -> String {
        authorization::code_fingerprint(self.code.expose())
    }

    /// The page on which it began, as far as its source knows.
    pub(crate) fn page(&self) -> Option<&'a AuthorizationPage> {
        match self.source {
            ConsentSource::Event { page, .. } => page,
            ConsentSource::Browser { page, .. } => Some(page),
        }
    }
}

/// What WeChat returned for the code.
pub(crate) struct ExchangedCode {
    /// The account.
    pub app_id: String,
    /// An access token that came without a refresh token, and is therefore not stored yet.
    pub unstored_token: Option<AccessToken>,
    /// The permission sets; empty where the other source redeemed the code.
    pub granted: Vec<u32>,
}
