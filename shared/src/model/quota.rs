//! Until when WeChat refuses an account's calls of an API.

use serde::Deserialize;

/// An API that WeChat refuses to an account for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct QuotaRefusal {
    /// Until when the API is not called, unix seconds.
    pub refused_until: i64,
    /// When WeChat refused, unix seconds.
    pub refused_at: i64,
    /// The errcode.
    pub errcode: i64,
}
