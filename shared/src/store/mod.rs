//! DynamoDB. Only [`keys`] spells keys, and every read of a tenant's data names the tenant.
//!
//! [`Store`] hands out what belongs to one noun: `store.accounts().get(tenant, app_id)`. Each noun has a file, with its
//! reads and writes and what only these have; the nouns themselves and what is decided about them is in
//! [`crate::model`]. [`dynamo`] makes requests and knows no noun. A noun that needs another one's part of a transaction
//! asks that one's file for it; where two would ask each other, what both need has a file of its own.
//!
//! | files | nouns |
//! |---|---|
//! | [`tenants`], [`api_keys`], [`audit`], [`request_counts`], [`idempotency`] | who uses the API, and what they did |
//! | [`accounts`], [`account_entries`], [`suspensions`], [`reply_rules`] | accounts, and what a push asks of them |
//! | [`bindings`], [`consents`], [`component_events`] | how accounts become bound |
//! | [`component`], [`authorizers`], [`refresh_wheel`], [`platform_status`] | tickets and tokens |
//! | [`fans`], [`customers`], [`timeline`] | followers, and what they said and did |
//! | [`imports`], [`import_progress`], [`unfinished_imports`] | imports of followers |
//! | [`messages`], [`message_leases`], [`send_context`], [`waiting_lines`], [`quotas`] | sending |
//! | [`timers`], [`job_failures`] | jobs |

pub mod account_cache;
pub mod account_entries;
pub mod accounts;
pub mod api_keys;
pub mod audit;
pub mod authorizers;
pub mod bindings;
pub mod component;
pub mod component_events;
pub mod consents;
pub mod customers;
mod dynamo;
pub mod fans;
pub mod idempotency;
pub mod import_progress;
pub mod imports;
pub mod job_failures;
pub mod keys;
pub mod message_leases;
pub mod messages;
pub mod platform_status;
pub mod quotas;
pub mod refresh_wheel;
pub mod reply_rules;
pub mod request_counts;
pub mod send_context;
pub mod suspensions;
mod tenant_items;
pub mod tenants;
pub mod timeline;
pub mod timers;
pub mod token_leases;
mod ttl_cache;
pub mod unfinished_imports;
pub mod waiting_lines;

use std::sync::Arc;

pub use dynamo::writer_id::WriterId;

use crate::{clock::Clock, config::Config, random::Random};
use dynamo::database::Database;

/// The five tables, and what an instance caches of them.
pub struct Store {
    db: Database,
    /// How long an event is stored, seconds.
    event_retention_seconds: i64,
    account_cache: account_cache::AccountCache,
    component_cache: component::ComponentCache,
    key_cache: api_keys::KeyCache,
}

impl Store {
    /// Uses `client`, with the table names and the event retention of `config`.
    #[must_use]
    pub fn new(
        client: aws_sdk_dynamodb::Client,
        config: &Config,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            db: Database::new(client, &config.resources, clock, random),
            event_retention_seconds: config.timeline_days * 24 * 3600,
            account_cache: account_cache::AccountCache::default(),
            component_cache: component::ComponentCache::default(),
            key_cache: api_keys::new_key_cache(),
        }
    }

    /// A new random id, for one write or for all writes of one request.
    #[must_use]
    pub fn new_writer_id(&self) -> WriterId {
        self.db.new_writer_id()
    }

    /// The accounts of tenants.
    #[must_use]
    pub fn accounts(&self) -> accounts::Accounts<'_> {
        accounts::Accounts { db: &self.db, cache: &self.account_cache, authorizers: self.authorizers() }
    }

    /// The API keys of tenants.
    #[must_use]
    pub fn api_keys(&self) -> api_keys::ApiKeys<'_> {
        api_keys::ApiKeys { db: &self.db, cache: &self.key_cache }
    }

    /// Who did what.
    #[must_use]
    pub fn audit(&self) -> audit::AuditTrail<'_> {
        audit::AuditTrail { db: &self.db }
    }

    /// The tokens of accounts.
    #[must_use]
    pub fn authorizers(&self) -> authorizers::Authorizers<'_> {
        authorizers::Authorizers { db: &self.db }
    }

    /// Links by which tenants bind accounts.
    #[must_use]
    pub fn bindings(&self) -> bindings::Bindings<'_> {
        bindings::Bindings { db: &self.db }
    }

    /// The third-party platform's own credentials.
    #[must_use]
    pub fn component(&self) -> component::Component<'_> {
        component::Component { db: &self.db, cache: &self.component_cache }
    }

    /// Events that WeChat pushed about the platform and its accounts.
    #[must_use]
    pub fn component_events(&self) -> component_events::ComponentEvents<'_> {
        component_events::ComponentEvents { db: &self.db }
    }

    /// What is known of authorizations.
    #[must_use]
    pub fn consents(&self) -> consents::Consents<'_> {
        consents::Consents { db: &self.db }
    }

    /// The customers of tenants.
    #[must_use]
    pub fn customers(&self) -> customers::Customers<'_> {
        customers::Customers { db: &self.db }
    }

    /// The followers of accounts.
    #[must_use]
    pub fn fans(&self) -> fans::Fans<'_> {
        fans::Fans { db: &self.db }
    }

    /// Requests that carried an `Idempotency-Key`.
    #[must_use]
    pub fn idempotency(&self) -> idempotency::IdempotencyRecords<'_> {
        idempotency::IdempotencyRecords { db: &self.db }
    }

    /// The progress of imports.
    #[must_use]
    pub fn import_progress(&self) -> import_progress::ImportProgress<'_> {
        import_progress::ImportProgress { db: &self.db }
    }

    /// The imports of accounts.
    #[must_use]
    pub fn imports(&self) -> imports::Imports<'_> {
        imports::Imports { db: &self.db }
    }

    /// Why jobs failed.
    #[must_use]
    pub fn job_failures(&self) -> job_failures::JobFailures<'_> {
        job_failures::JobFailures { db: &self.db }
    }

    /// Leases of messages.
    #[must_use]
    pub fn message_leases(&self) -> message_leases::MessageLeases<'_> {
        message_leases::MessageLeases { db: &self.db }
    }

    /// Outgoing messages.
    #[must_use]
    pub fn messages(&self) -> messages::Messages<'_> {
        messages::Messages { db: &self.db, timeline: self.timeline() }
    }

    /// What is stored of the state of the platform.
    #[must_use]
    pub fn platform_status(&self) -> platform_status::PlatformState<'_> {
        platform_status::PlatformState { db: &self.db }
    }

    /// What WeChat has refused to accounts.
    #[must_use]
    pub fn quotas(&self) -> quotas::Quotas<'_> {
        quotas::Quotas { db: &self.db }
    }

    /// When the tokens of accounts are due.
    #[must_use]
    pub fn refresh_wheel(&self) -> refresh_wheel::RefreshWheel<'_> {
        refresh_wheel::RefreshWheel { db: &self.db }
    }

    /// The reply rules of accounts.
    #[must_use]
    pub fn reply_rules(&self) -> reply_rules::RuleSets<'_> {
        reply_rules::RuleSets { db: &self.db, cache: &self.account_cache }
    }

    /// How many requests tenants made.
    #[must_use]
    pub fn request_counts(&self) -> request_counts::RequestCounts<'_> {
        request_counts::RequestCounts { db: &self.db }
    }

    /// What rounds of sending read.
    #[must_use]
    pub fn send_contexts(&self) -> send_context::SendContexts<'_> {
        send_context::SendContexts { db: &self.db }
    }

    /// The tenants.
    #[must_use]
    pub fn tenants(&self) -> tenants::Tenants<'_> {
        tenants::Tenants { db: &self.db, accounts: self.accounts(), keys: self.api_keys() }
    }

    /// The timelines of fans and accounts.
    #[must_use]
    pub fn timeline(&self) -> timeline::Timeline<'_> {
        timeline::Timeline { db: &self.db, retention_seconds: self.event_retention_seconds }
    }

    /// Jobs for a later time.
    #[must_use]
    pub fn timers(&self) -> timers::Timers<'_> {
        timers::Timers { db: &self.db }
    }

    /// The waiting lines of fans.
    #[must_use]
    pub fn waiting_lines(&self) -> waiting_lines::WaitingLines<'_> {
        waiting_lines::WaitingLines { db: &self.db }
    }
}
