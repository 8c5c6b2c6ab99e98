//! What each route requires: which key opens it, which scope that key needs, how much it counts.

use shared::model::scope::Scope;

/// Which key opens a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A tenant's, with this scope.
    Tenant(Scope),
    /// The operator's.
    Operator,
    /// A tenant's with this scope, or the operator's.
    Both(Scope),
}

/// What is checked for one method of one path before its handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutePolicy {
    /// Which key opens it.
    pub access: Access,
    /// The response member with a new API key: never stored, recomputed when the request is repeated.
    pub key_member: Option<&'static str>,
    /// How many requests of the rate limit one call counts as.
    pub weight: u64,
}

/// Weight of a list: a page reads dozens of items, where other reads take one or two.
pub const LIST_WEIGHT: u64 = 5;
/// Weight of a filtered list: a page may scan up to a thousand items or a megabyte.
pub const FILTERED_LIST_WEIGHT: u64 = 10;

impl RoutePolicy {
    /// Takes a tenant's key with this scope.
    pub const fn tenant(scope: Scope) -> Self {
        Self { access: Access::Tenant(scope), key_member: None, weight: 1 }
    }

    /// Takes the operator's key.
    pub const fn operator() -> Self {
        Self { access: Access::Operator, key_member: None, weight: 1 }
    }

    /// Takes both kinds of keys.
    pub const fn both(scope: Scope) -> Self {
        Self { access: Access::Both(scope), key_member: None, weight: 1 }
    }

    /// Marks the response member that holds a new API key.
    pub const fn with_key_member(mut self, member: &'static str) -> Self {
        self.key_member = Some(member);
        self
    }

    /// Makes one call count as this many requests of the tenant's rate.
    pub const fn with_weight(mut self, requests: u64) -> Self {
        self.weight = requests;
        self
    }

    /// The scope that a tenant's key needs; [`None`] where only the operator's key opens the route.
    pub fn scope(self) -> Option<Scope> {
        match self.access {
            Access::Tenant(scope) | Access::Both(scope) => Some(scope),
            Access::Operator => None,
        }
    }

    /// Whether the operator's key opens it.
    pub fn allows_operator(self) -> bool {
        matches!(self.access, Access::Operator | Access::Both(_))
    }
}
