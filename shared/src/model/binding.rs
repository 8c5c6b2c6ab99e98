//! Bindings: an attempt to bind an account, from the link to the result.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::binding_refusal::BindingRefusal;
use crate::secret::Secret;

/// A page that is opened again within this time shows the same code, so a reload uses up no other.
pub const PAGE_REUSED_SECONDS: i64 = 60;
/// How long the job of an authorization event is assumed to be at work, seconds.
const EVENT_JOB_SECONDS: i64 = 120;

/// The state of a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BindingStatus {
    /// No administrator has authorized yet.
    Pending,
    /// An account is bound.
    Bound,
    /// The account may not be bound; `reason` says why.
    Refused,
    /// No administrator authorized in time.
    Expired,
}

/// A binding as stored. No `Debug`: it holds a pre_auth_code.
#[derive(Clone, Serialize, Deserialize)]
pub struct Binding {
    /// `bnd_…`: whoever knows it may open its page.
    pub id: String,
    /// The tenant that gets the account.
    pub tenant_id: String,
    /// The state; a pending binding past `expires_at` is expired.
    pub status: BindingStatus,
    /// The account, after one was authorized.
    pub app_id: Option<String>,
    /// The name of that account, from WeChat.
    #[serde(default)]
    pub account_name: Option<String>,
    /// The only account that this binding accepts; none for any.
    #[serde(default)]
    pub only_app_id: Option<String>,
    /// Why it was refused.
    pub reason: Option<BindingRefusal>,
    /// Where the last page redirects to.
    pub return_url: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its link expires.
    pub expires_at: Timestamp,
    /// The pre_auth_code that the page shows, again after a reload; none after it was used.
    pub pre_auth_code: Option<String>,
    /// When that code was made, unix seconds; none in items of 0.1.
    #[serde(default)]
    pub pre_auth_at: Option<i64>,
    /// When that code expires, unix seconds.
    pub pre_auth_expires: Option<i64>,
    /// When WeChat's authorization event came, unix seconds: a job is handling it.
    pub event_at: Option<i64>,
    /// Queries about browsers' codes that WeChat refused or has not answered yet.
    #[serde(default, skip_serializing)]
    pub asked: BTreeSet<String>,
    /// Fingerprint of the authorization code that led to `status`.
    #[serde(default)]
    pub ended_by: Option<String>,
}

impl Binding {
    /// The code that the page may show again at `now`, unix seconds: made a moment ago, and not used.
    #[must_use]
    pub fn code_to_show(&self, now: i64) -> Option<Secret> {
        let (code, made) = (self.pre_auth_code.as_ref()?, self.pre_auth_at?);
        (made <= now && now < made + PAGE_REUSED_SECONDS).then(|| Secret::new(code))
    }

    /// Whether a job is handling WeChat's authorization event at `now`, unix seconds. A job that takes longer
    /// than [`EVENT_JOB_SECONDS`] is waiting for WeChat, and the page does not wait for it.
    #[must_use]
    pub fn is_being_bound(&self, now: i64) -> bool {
        self.event_at.is_some_and(|came| now < came + EVENT_JOB_SECONDS)
    }

    /// The state at `now`.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> BindingStatus {
        if self.status == BindingStatus::Pending && self.expires_at <= now {
            BindingStatus::Expired
        } else {
            self.status
        }
    }
}

/// The result of an attempt to bind.
#[derive(Debug, Clone, Copy)]
pub struct BindingOutcome<'a> {
    /// The account that was authorized.
    pub app_id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Why it may not be bound; none where it is bound.
    pub reason: Option<BindingRefusal>,
    /// Fingerprint of the authorization code.
    pub code: &'a str,
}
