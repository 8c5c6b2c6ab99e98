//! Customers: one human over all accounts of a tenant.

use super::fan::Fan;

/// A customer with all its fans.
#[derive(Debug, Clone)]
pub struct CustomerRecord {
    /// `cus_…`.
    pub id: String,
    /// The fans, one or more for each account.
    pub fans: Vec<Fan>,
}
