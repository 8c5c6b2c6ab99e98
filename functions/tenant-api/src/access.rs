//! Whom a route is for: which key it takes, and what that key must grant.

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

/// What holds for one method of one path, besides what its handler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Which key opens it.
    pub access: Access,
    /// The member of its answer that shows a new API key. It is made again for a repetition, and stored nowhere.
    pub shows: Option<&'static str>,
    /// How many requests one counts as.
    pub weight: u64,
}

/// What a list counts as: a page of it reads some dozens of items, where the other reads take one or two.
pub const LIST: u64 = 5;
/// What a list counts as that looks through far more than it shows: up to a thousand items, or a megabyte, for a page.
pub const SIFTED: u64 = 10;

impl Rule {
    /// Takes a tenant's key with this scope.
    pub const fn needs(scope: Scope) -> Self {
        Self { access: Access::Tenant(scope), shows: None, weight: 1 }
    }

    /// Takes the operator's key.
    pub const fn operator() -> Self {
        Self { access: Access::Operator, shows: None, weight: 1 }
    }

    /// Takes both kinds of keys.
    pub const fn both(scope: Scope) -> Self {
        Self { access: Access::Both(scope), shows: None, weight: 1 }
    }

    /// Answers a new API key in this member.
    pub const fn shows(mut self, member: &'static str) -> Self {
        self.shows = Some(member);
        self
    }

    /// Counts as so many requests of the tenant's rate.
    pub const fn weighs(mut self, requests: u64) -> Self {
        self.weight = requests;
        self
    }

    /// The scope that a tenant's key needs; [`None`] where none opens it.
    pub fn scope(self) -> Option<Scope> {
        match self.access {
            Access::Tenant(scope) | Access::Both(scope) => Some(scope),
            Access::Operator => None,
        }
    }

    /// Whether the operator's key opens it.
    pub fn takes_operator(self) -> bool {
        matches!(self.access, Access::Operator | Access::Both(_))
    }
}
