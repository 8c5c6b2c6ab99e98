//! What is known of an authorization: the page on which it began, and the newest event of its account.

use serde::{Deserialize, Serialize};

use super::consent;
use crate::ids;

/// What the hub stores of a pre_auth_code or an authorization code: enough to find its item.
#[must_use]
pub fn code_fingerprint(code: &str) -> String {
    ids::fingerprint(&[code])
}

/// An authorization page that was opened, on which a consent may begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationPage {
    /// Its binding.
    pub binding_id: String,
    /// Its tenant; empty in items of 0.1, which do not bind any more.
    #[serde(default)]
    pub tenant_id: String,
    /// When its pre_auth_code was made, unix seconds.
    #[serde(default)]
    pub opened_at: i64,
    /// When that code expires, unix seconds.
    #[serde(default)]
    pub expires_at: i64,
    /// [`code_fingerprint`] of that code, under which the page is stored.
    #[serde(skip)]
    pub fingerprint: String,
}

impl AuthorizationPage {
    /// What the decision about a consent needs of it.
    #[must_use]
    pub fn for_consent(&self) -> consent::ConsentPage<'_> {
        consent::ConsentPage {
            tenant: &self.tenant_id,
            opened_at: self.opened_at,
            expires_at: self.expires_at,
        }
    }
}

/// The newest `authorized` or `updateauthorized` event of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentEvent {
    /// [`code_fingerprint`] of its authorization code.
    #[serde(default)]
    pub code: String,
    /// The binding of its page; none where the authorization began at WeChat.
    pub binding_id: Option<String>,
    /// WeChat's `CreateTime`, unix seconds.
    #[serde(default)]
    pub event_at: i64,
    /// Until when the binding is in progress, unix seconds: the account's pushes are asked to come again.
    #[serde(default)]
    pub under_way_until: i64,
}
