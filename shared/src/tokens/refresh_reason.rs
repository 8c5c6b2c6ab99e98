//! When a token is refreshed.

use crate::{
    model::{credentials::AccessToken, token},
    secret::Secret,
};

/// Why a token is asked for, which decides when it is refreshed.
#[derive(Debug, Clone, Copy)]
pub enum RefreshReason<'a> {
    /// The schedule says that it is due.
    Due,
    /// It is about to be used: refreshed if it has expired.
    Expired,
    /// WeChat refused this one.
    Refused(&'a Secret),
}

impl RefreshReason<'_> {
    /// Whether `token` must be replaced at `now`.
    pub(super) fn needs_refresh(self, token: Option<&AccessToken>, now: i64) -> bool {
        let Some(t) = token else { return true };
        match self {
            Self::Due => token::is_due(t.issued_at, t.expires_in, now),
            Self::Expired => token::is_expired(t.issued_at, t.expires_in, now),
            Self::Refused(refused) => t.token == *refused,
        }
    }
}
