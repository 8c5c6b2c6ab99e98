//! What `template.yaml` allows each function: read from its role and checked before each request, as IAM does.
//! A forgotten permission fails here before it fails on AWS.
//!
//! | module | what it is |
//! |---|---|
//! | [`policy`] | the permissions in a role's statements |
//! | [`required_permissions`] | the permissions that a request of the SDK needs |
//! | [`authorizing_client`] | refuses forbidden requests, between a function's SDK and the services |

pub mod authorizing_client;
pub mod policy;
pub mod required_permissions;

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

impl Permissions {
    /// Returns the permissions that a request needs, if all of them are granted.
    ///
    /// # Errors
    /// The missing permission, or why the request is not understood.
    pub fn check(&self, target: &str, body: &[u8]) -> Result<Vec<Permission>, String> {
        let needed = required_permissions::required(target, body)?;
        match needed.iter().find(|right| !self.0.contains(right)) {
            None => Ok(needed),
            Some(right) => Err(right.to_string()),
        }
    }
}
