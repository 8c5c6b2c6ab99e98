//! What an Official Account is, and an account as stored.
//!
//! Source: WeChat's api_get_authorizer_info (`service_type_info`, `verify_type_info`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::consent::AccountBinding;

/// The kind of an Official Account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountType {
    /// Four broadcasts a month for each fan, and all APIs.
    Service,
    /// One broadcast a day, and fewer APIs.
    Subscription,
}

impl AccountType {
    /// From WeChat's `service_type_info.id`; `None` if it is not an Official Account.
    #[must_use]
    pub fn from_service_type(id: i64) -> Option<Self> {
        match id {
            0 | 1 => Some(Self::Subscription), // 1: upgraded from a historic kind
            2 => Some(Self::Service),
            _ => None,
        }
    }
}

/// Whether WeChat's `verify_type_info.id` gives API rights: verified by WeChat (0), or
/// qualification verified but not yet the name (3, 4, 5). A Weibo verification (1, 2) gives none.
#[must_use]
pub fn is_verified(verify_type: i64) -> bool {
    matches!(verify_type, 0 | 3 | 4 | 5)
}

/// Whether the account is bound to its tenant now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// WeChat pushes its messages to us.
    Bound,
    /// The administrator ended the authorization; everything is kept.
    Unbound,
}

/// An account as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// WeChat's app id.
    pub app_id: String,
    /// The tenant that has it.
    pub tenant_id: String,
    /// `gh_…`: the `ToUserName` of its pushes.
    pub original_id: String,
    /// Shown name.
    pub name: String,
    /// WeChat id, often empty.
    pub alias: String,
    /// Head picture.
    pub avatar_url: String,
    /// Its own QR code; hotlink protected by WeChat.
    pub qr_code_url: String,
    /// The company behind it.
    pub principal_name: String,
    /// Service or subscription.
    pub account_type: AccountType,
    /// WeChat's verification, qualification at least.
    pub verified: bool,
    /// Whether it is bound.
    pub status: AccountStatus,
    /// WeChat's ids of the permission sets (`funcscope`) that were granted.
    pub granted: Vec<u32>,
    /// When it was bound (last), unix seconds.
    pub bound_at: i64,
    /// Fingerprint of the authorization code that bound it, or that renewed it from a page of its tenant;
    /// none in items of 0.1.
    #[serde(default)]
    pub bound_by: Option<String>,
    /// When WeChat last confirmed the authorization, unix seconds: an older `unauthorized` changes nothing. 0
    /// in items of 0.1, see [`AccountRecord::authorized_at`].
    #[serde(default, rename = "authorized_at")]
    pub stored_authorized_at: i64,
    /// When its authorization was withdrawn, unix seconds.
    pub unbound_at: Option<i64>,
    /// Deleted by its tenant, or released by the operator: another tenant may bind it.
    #[serde(default)]
    pub deleted: bool,
    /// Counts the writes; each write is conditional on the revision that it read.
    pub revision: u64,
}

impl AccountRecord {
    /// When WeChat last confirmed the authorization, unix seconds.
    #[must_use]
    pub fn authorized_at(&self) -> i64 {
        self.stored_authorized_at.max(self.bound_at)
    }

    /// What the decision about a consent needs of it.
    #[must_use]
    pub fn for_consent(&self) -> AccountBinding<'_> {
        let bound = self.status == AccountStatus::Bound && !self.deleted;
        AccountBinding { tenant: &self.tenant_id, bound, deleted: self.deleted, unbound_at: self.unbound_at }
    }
}
