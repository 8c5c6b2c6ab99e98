//! Tickets and tokens, as stored.

use serde::Deserialize;

use crate::secret::Secret;

/// An access token with its lifetime.
#[derive(Debug, Clone, Deserialize)]
pub struct AccessToken {
    /// The token.
    pub token: Secret,
    /// When WeChat issued it, unix seconds.
    pub issued_at: i64,
    /// How long it lives, seconds.
    pub expires_in: i64,
}

/// The third-party platform's own credentials.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ComponentCredentials {
    /// The newest ticket.
    pub ticket: Option<Secret>,
    /// When it was pushed (its `CreateTime`), unix seconds.
    #[serde(default)]
    pub ticket_at: i64,
    /// component_access_token.
    #[serde(flatten)]
    pub token: Option<AccessToken>,
    /// Counts the tokens that were stored.
    #[serde(default)]
    pub version: u64,
    /// Until when it is leased, unix seconds.
    #[serde(default)]
    pub lease_until: i64,
    /// WeChat's last refusal, if any.
    #[serde(flatten)]
    pub lately: LastRefusal,
}

/// The last refusal of a token by WeChat.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct LastRefusal {
    /// Until when WeChat is not asked again, unix seconds.
    #[serde(default)]
    pub refused_until: i64,
    /// How long that pause is, seconds: the next is twice as long.
    #[serde(default)]
    pub refused_wait: i64,
    /// The errcode; none where WeChat did not answer.
    pub refused_errcode: Option<i64>,
}

/// A refusal of a token by WeChat, to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRefusal {
    /// Until when nobody asks again, unix seconds.
    pub until: i64,
    /// How long that is, seconds.
    pub wait: i64,
    /// The errcode; none where WeChat did not answer.
    pub errcode: Option<i64>,
}

/// An account's credentials.
#[derive(Debug, Clone, Deserialize)]
pub struct AuthorizerCredentials {
    /// The tenant; empty until the account is bound.
    #[serde(default)]
    pub tenant_id: String,
    /// authorizer_access_token.
    #[serde(flatten)]
    pub token: Option<AccessToken>,
    /// authorizer_refresh_token; empty in an item of which only the record of the account's end is left.
    #[serde(default)]
    pub refresh_token: Secret,
    /// Counts the tokens that were stored.
    #[serde(default)]
    pub version: u64,
    /// Until when it is leased, unix seconds.
    #[serde(default)]
    pub lease_until: i64,
    /// Its partition in the due index.
    pub due: Option<String>,
    /// Since when WeChat refuses the refresh token for good, unix seconds: only a new authorization helps.
    pub gone_at: Option<i64>,
    /// Which call stored this authorization; empty in items of 0.1.
    #[serde(default)]
    pub authorized_by: String,
    /// Fingerprint of the authorization code that it came from; empty in items of 0.1.
    #[serde(default)]
    pub code: String,
    /// WeChat's last refusal, if any.
    #[serde(flatten)]
    pub lately: LastRefusal,
}
