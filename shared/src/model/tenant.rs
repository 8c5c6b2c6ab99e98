//! Tenants: the companies that use the hub.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A tenant's time zone unless it has set another.
pub const DEFAULT_TIME_ZONE: &str = "Asia/Shanghai";

/// The state of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TenantStatus {
    /// Its keys work, and its messages are sent.
    #[default]
    Active,
    /// Its keys do not work and nothing is sent for it; pushes to its accounts are still stored.
    Suspended,
    /// It is being erased.
    Deleted,
}

/// A company that uses the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// `ten_…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// IANA name of its time zone.
    #[serde(default = "default_time_zone")]
    pub time_zone: String,
    /// Its state.
    #[serde(default)]
    pub status: TenantStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// Counts what must not happen concurrently: changes of status, and revocations of keys.
    #[serde(default)]
    pub revision: u64,
}

fn default_time_zone() -> String {
    DEFAULT_TIME_ZONE.to_owned()
}
