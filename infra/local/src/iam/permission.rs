//! What a function may do to tables and queues.

use std::{collections::BTreeSet, fmt};

/// One action on one table, index or queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// As IAM spells it: `dynamodb:Query`.
    pub action: String,
    /// Logical id of a table or queue; an index is `CustomersTable/index/people`.
    pub resource: String,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.action, self.resource)
    }
}

/// All that a function may do to tables and queues.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions(pub BTreeSet<Permission>);
