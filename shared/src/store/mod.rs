//! DynamoDB. Only [`keys`] spells keys, and every read of a tenant's data names the tenant.

pub mod account_cache;
pub mod accounts;
pub mod api_keys;
pub mod audit;
mod backoff;
pub mod batch_operations;
pub mod bindings;
pub mod consents;
pub mod credentials;
pub mod customers;
pub mod dynamo;
pub mod fans;
pub mod idempotency;
pub mod import_progress;
pub mod imports;
mod item_operations;
pub mod job_failures;
pub mod keys;
pub mod message_leases;
pub mod messages;
pub mod platform_status;
pub mod quotas;
pub mod request_counts;
pub mod send_context;
pub mod tenants;
pub mod timeline;
pub mod timers;
pub mod unfinished_imports;
pub mod waiting_lines;
pub mod writer_id;

use std::sync::Arc;

use crate::{clock::Clock, config::Config, random::Random};

/// The five tables.
pub struct Store {
    pub(crate) db: aws_sdk_dynamodb::Client,
    pub(crate) platform: String,
    pub(crate) credentials: String,
    pub(crate) customers: String,
    pub(crate) timeline: String,
    pub(crate) work: String,
    /// How long an event is stored, seconds.
    pub(crate) event_retention_seconds: i64,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) account_cache: account_cache::AccountCache,
    pub(crate) component_cache: credentials::ComponentCache,
    pub(crate) key_cache: api_keys::KeyCache,
}

impl Store {
    /// Uses `db`, with the table names and the event retention of `config`.
    #[must_use]
    pub fn new(
        db: aws_sdk_dynamodb::Client,
        config: &Config,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let resources = &config.resources;
        Self {
            db,
            platform: resources.platform_table.clone(),
            credentials: resources.credentials_table.clone(),
            customers: resources.customers_table.clone(),
            timeline: resources.timeline_table.clone(),
            work: resources.work_table.clone(),
            event_retention_seconds: config.timeline_days * 24 * 3600,
            clock,
            random,
            account_cache: account_cache::AccountCache::default(),
            component_cache: credentials::ComponentCache::default(),
            key_cache: api_keys::KeyCache::default(),
        }
    }
}
