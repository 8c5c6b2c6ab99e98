//! The state of the platform without its secrets.

use serde::{Deserialize, Serialize};

/// The state of the platform as last stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PlatformStatus {
    /// When the newest ticket was pushed, unix seconds; none before the first.
    pub ticket_at: Option<i64>,
    /// When the component token expires, unix seconds; none before the first.
    pub component_token_expires_at: Option<i64>,
    /// Accounts whose tokens the schedule checks within ten minutes, as counted within the last five.
    pub tokens_expiring: u64,
}
