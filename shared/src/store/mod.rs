//! DynamoDB. Only this room spells keys ([`keys`]); every tenant's thing is asked for with its tenant.

pub mod accounts;
pub mod bindings;
pub mod claims;
pub mod credentials;
pub mod customers;
pub mod fans;
pub mod idempotency;
pub mod imports;
pub mod keys;
pub mod messages;
pub mod open_imports;
pub mod table;
pub mod tenants;
pub mod timeline;

use std::sync::Arc;

use crate::{clock::Clock, config::Resources};

/// The five tables.
pub struct Store {
    pub(crate) db: aws_sdk_dynamodb::Client,
    pub(crate) platform: String,
    pub(crate) credentials: String,
    pub(crate) customers: String,
    pub(crate) timeline: String,
    pub(crate) work: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) account_cache: accounts::Cache,
    pub(crate) component_cache: credentials::ComponentCache,
    pub(crate) key_cache: tenants::Cache,
}

impl Store {
    /// Over `db`, with the table names of `resources`.
    #[must_use]
    pub fn new(db: aws_sdk_dynamodb::Client, resources: &Resources, clock: Arc<dyn Clock>) -> Self {
        Self {
            db,
            platform: resources.platform_table.clone(),
            credentials: resources.credentials_table.clone(),
            customers: resources.customers_table.clone(),
            timeline: resources.timeline_table.clone(),
            work: resources.work_table.clone(),
            clock,
            account_cache: accounts::Cache::default(),
            component_cache: credentials::ComponentCache::default(),
            key_cache: tenants::Cache::default(),
        }
    }
}
