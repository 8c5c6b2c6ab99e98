//! API keys, as stored: without the key itself.

use serde::{Deserialize, Serialize};

use super::{audit::Actor, scope::Scope};

/// An API key as stored. [`ApiKey::is_legacy`] recognises a key of 0.1, which stored the tenant alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiKey {
    /// `key_…`
    pub id: String,
    /// The tenant.
    pub tenant_id: String,
    /// The name that its maker gave it.
    pub name: String,
    /// Its first characters, by which people recognise it.
    pub prefix: String,
    /// What it may do; scopes of another release are kept and grant nothing here.
    pub scopes: Vec<String>,
    /// When it was made, unix seconds.
    pub created_at: i64,
    /// When it ends, unix seconds.
    pub expires_at: Option<i64>,
    /// When it was last used, to the hour, unix seconds.
    pub last_used_at: Option<i64>,
    /// Who made it; none in keys of before this was stored.
    pub made_by: Option<Actor>,
}

impl ApiKey {
    /// Whether it is a key of 0.1, of which the tenant alone was stored.
    #[must_use]
    pub fn is_legacy(&self) -> bool {
        self.id.is_empty()
    }

    /// Whether it grants `scope`.
    #[must_use]
    pub fn grants(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|name| name == scope.name())
    }

    /// Whether it can make keys at `now`, unix seconds.
    #[must_use]
    pub fn can_make_keys(&self, now: i64) -> bool {
        self.grants(Scope::Keys) && self.is_valid_at(now)
    }

    /// Whether it has not expired at `now`, unix seconds.
    #[must_use]
    pub fn is_valid_at(&self, now: i64) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}
