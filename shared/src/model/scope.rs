//! What an API key may do.

use serde::{Deserialize, Serialize};

/// One thing that a key may do. Each route of the API names the one that it needs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Read everything of the tenant, except keys.
    Read,
    /// Send messages.
    Send,
    /// Change rules and the settings of accounts at WeChat; start imports.
    Configure,
    /// Begin bindings, delete accounts.
    Bind,
    /// Change, merge, export and erase customers.
    People,
    /// List, make and revoke keys; read the audit.
    Keys,
}

impl Scope {
    /// All scopes, which a tenant's first key has.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Send, Self::Configure, Self::Bind, Self::People, Self::Keys];

    /// As the API spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Send => "send",
            Self::Configure => "configure",
            Self::Bind => "bind",
            Self::People => "people",
            Self::Keys => "keys",
        }
    }

    /// The scope of this name; [`None`] for an unknown one, perhaps of another release.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_spelled_as_they_are_read() {
        for scope in Scope::ALL {
            assert_eq!(Scope::from_name(scope.name()), Some(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.name());
        }
        assert_eq!(Scope::from_name("everything"), None);
    }
}
