//! Keys of the tables. Only this file spells them; all others pass a [`Key`].
//!
//! | table | item | `pk` | `sk` | written by |
//! |---|---|---|---|---|
//! | platform | tenant | `TENANT#<tenant>` | `TENANT` | tenant-api |
//! | platform | a tenant on the list of all | `TENANTS` | tenant | tenant-api |
//! | platform | a key of a tenant | `TENANT#<tenant>` | `KEY#<key id>` | tenant-api |
//! | platform | an account of a tenant | `TENANT#<tenant>` | `ACCOUNT#<app_id>` | authorization-callback, tenant-api |
//! | platform | API key | `APIKEY#<sha256>` | `APIKEY` | tenant-api |
//! | platform | account | `ACCOUNT#<app_id>` | `ACCOUNT` | authorization-callback, tenant-api, token-refresh |
//! | platform | its tenant is suspended | `ACCOUNT#<app_id>` | `SUSPENDED` | tenant-api |
//! | platform | reply rules | `ACCOUNT#<app_id>` | `REPLY_RULES` | tenant-api |
//! | platform | the newest authorization event | `ACCOUNT#<app_id>` | `CONSENT` | authorization-callback (TTL) |
//! | platform | a handled event of the platform | `EVENT#<sha256>` | `EVENT` | authorization-callback (TTL) |
//! | platform | binding | `BINDING#<binding>` | `BINDING` | tenant-api, authorization-callback |
//! | platform | pre_auth_code (hashed) | `PREAUTH#<sha256>` | `PREAUTH` | authorization-callback (TTL) |
//! | platform | state of the platform | `PLATFORM` | `STATUS` | token-refresh, authorization-callback |
//! | platform | counters | `PLATFORM` | `COUNTERS` | authorization-callback, token-refresh |
//! | credentials | ticket and component token | `COMPONENT` | `COMPONENT` | authorization-callback, token-refresh |
//! | credentials | an account's tokens | `AUTHORIZER#<app_id>` | `AUTHORIZER` | authorization-callback, token-refresh, users of tokens |
//! | credentials | the minute last swept | `REFRESH` | `TICK` | token-refresh |
//! | customers | fan | `FAN#<tenant>#<app_id>#<open_id>` | `FAN` | message-callback, follower-import, message-send |
//! | customers | redirect of a merged customer | `CUSTOMER#<tenant>#<customer>` | `CUSTOMER` | follower-import |
//! | timeline | event | `FAN#<tenant>#<app_id>#<open_id>` | push identity | message-callback, message-send, follower-import |
//! | timeline | event of an account itself | `ACCOUNT#<tenant>#<app_id>` | push identity | message-callback |
//! | work | import | `IMPORT#<app_id>` | import id | authorization-callback, tenant-api, follower-import |
//! | work | lock with the running import | `IMPORT#<app_id>` | `RUNNING` | authorization-callback, tenant-api, follower-import |
//! | work | an unfinished import | `IMPORTS` | import id | authorization-callback, tenant-api, follower-import |
//! | work | a listed page | `PAGES#<import>#<page>` | `LIST` | follower-import (TTL) |
//! | work | a page's receipts | `PAGES#<import>` | `DONE#<page>` | follower-import (TTL) |
//! | work | message | `MESSAGE#<message>` | `MESSAGE` | tenant-api, message-send (TTL) |
//! | work | WeChat's id of a message | `WECHAT#<app_id>#<msgid>` | `MESSAGE` | message-send (TTL) |
//! | work | audit entry | `AUDIT#<tenant>#<month>` | entry's id | tenant-api, authorization-callback (TTL) |
//! | work | waiting line of a fan | `LINE#<tenant>#<app_id>#<open_id>` | channel | message-send (TTL) |
//! | work | timer | `TIMER#<00..15>` | `<due in ms, 13 digits>#<ordering key's hash, 16 hex digits>#<id>` | message-send, follower-import, token-refresh |
//! | work | lease of a shard of timers | `TIMER#<00..15>` | `SWEEP` | token-refresh |
//! | work | WeChat's refusal of an API | `QUOTA#<app_id>#<api>` | `QUOTA` | message-send, follower-import (TTL) |
//! | work | number of a tenant's requests | `RATE#<tenant>#<class>` | number of the window | tenant-api (TTL) |
//! | work | last failure of a job | `FAILED#<sha256>` | `FAILED` | whoever failed it (TTL) |
//! | work | idempotency record | `IDEMPOTENCY#<sha256>` | `IDEMPOTENCY` | tenant-api (TTL) |
//!
//! Imports that began in 0.1 have their lists at `PAGES#<import>`, `LIST#<page>`.
//!
//! Indexes: `credentials.due` (`due`, `due_at`); `customers.people` (`people`, `customer_id`): a tenant's
//! fans and customers, in [`CUSTOMER_SHARDS`] shards by customer; `timeline.by_time` (`pk`, `at_key`), local.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::ids;

/// A table's primary key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
}

impl Key {
    fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    /// In the form that DynamoDB takes.
    #[must_use]
    pub fn attributes(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            ("pk".into(), AttributeValue::S(self.pk.clone())),
            ("sk".into(), AttributeValue::S(self.sk.clone())),
        ])
    }
}

/// An index of a table.
#[derive(Debug, Clone, Copy)]
pub struct Index {
    /// Its name.
    pub name: &'static str,
    /// The attribute that is its partition key.
    pub pk: &'static str,
    /// The attribute that is its sort key.
    pub sk: &'static str,
    /// Local to a partition of the table: only such a one can be read with strong consistency.
    pub is_local: bool,
}

/// Shards of a tenant's customers: 16 partitions take 16,000 writes a second.
pub const CUSTOMER_SHARDS: u32 = 16;
/// Shards of the accounts with unusual token lifetimes, sorted by time.
pub const DUE_SHARDS: u32 = 4;
/// Shards of the timers: 16 partitions take 16,000 writes a second.
pub const TIMER_SHARDS: u32 = 16;
/// Sort-key prefix of a tenant's accounts.
pub const TENANT_ACCOUNT_PREFIX: &str = "ACCOUNT#";
/// Sort-key prefix of a tenant's keys.
pub const TENANT_KEY_PREFIX: &str = "KEY#";
/// Sort-key prefix of a page's receipts.
pub const PAGE_DONE_PREFIX: &str = "DONE#";
/// Index of tokens by the time when they are due.
pub const DUE_INDEX: Index = Index { name: "due", pk: "due", sk: "due_at", is_local: false };
/// Index of a tenant's fans by customer.
pub const CUSTOMER_INDEX: Index = Index { name: "people", pk: "people", sk: "customer_id", is_local: false };
/// Local index of a timeline's events by time.
pub const TIME_INDEX: Index = Index { name: "by_time", pk: "pk", sk: "at_key", is_local: true };

pub(super) fn tenant(id: &str) -> Key {
    Key::new(format!("TENANT#{id}"), "TENANT")
}
pub(super) fn listed_tenant(id: &str) -> Key {
    Key::new("TENANTS", id)
}
pub(super) fn tenant_key(tenant: &str, key_id: &str) -> Key {
    Key::new(format!("TENANT#{tenant}"), format!("{TENANT_KEY_PREFIX}{key_id}"))
}
pub(super) fn tenant_account(tenant: &str, app_id: &str) -> Key {
    Key::new(format!("TENANT#{tenant}"), format!("{TENANT_ACCOUNT_PREFIX}{app_id}"))
}
pub(super) fn api_key(hash: &str) -> Key {
    Key::new(format!("APIKEY#{hash}"), "APIKEY")
}
pub(super) fn account(app_id: &str) -> Key {
    Key::new(format!("ACCOUNT#{app_id}"), "ACCOUNT")
}
/// The account of a partition key that [`account`] and its like make.
pub(super) fn account_of(pk: &str) -> Option<&str> {
    pk.strip_prefix("ACCOUNT#")
}
pub(super) fn suspension(app_id: &str) -> Key {
    Key::new(format!("ACCOUNT#{app_id}"), "SUSPENDED")
}
pub(super) fn reply_rules(app_id: &str) -> Key {
    Key::new(format!("ACCOUNT#{app_id}"), "REPLY_RULES")
}
pub(super) fn consent(app_id: &str) -> Key {
    Key::new(format!("ACCOUNT#{app_id}"), "CONSENT")
}
pub(super) fn binding(id: &str) -> Key {
    Key::new(format!("BINDING#{id}"), "BINDING")
}
/// By the fingerprint of the pre_auth_code.
pub(super) fn pre_auth_code(fingerprint: &str) -> Key {
    Key::new(format!("PREAUTH#{fingerprint}"), "PREAUTH")
}
pub(super) fn component_event(fingerprint: &str) -> Key {
    Key::new(format!("EVENT#{fingerprint}"), "EVENT")
}
pub(super) fn counters() -> Key {
    Key::new("PLATFORM", "COUNTERS")
}
pub(super) fn platform_status() -> Key {
    Key::new("PLATFORM", "STATUS")
}
pub(super) fn component() -> Key {
    Key::new("COMPONENT", "COMPONENT")
}
pub(super) fn authorizer(app_id: &str) -> Key {
    Key::new(format!("AUTHORIZER#{app_id}"), "AUTHORIZER")
}
/// The app id in an authorizer's partition key.
pub(super) fn authorizer_of(pk: &str) -> Option<&str> {
    pk.strip_prefix("AUTHORIZER#")
}
pub(super) fn refresh_tick() -> Key {
    Key::new("REFRESH", "TICK")
}
/// Partition of the due index for a slot of the wheel.
pub(super) fn due_slot(slot: u32) -> String {
    format!("WHEEL#{slot:03}")
}
/// The slot of the wheel for a partition of the due index.
pub(super) fn wheel_slot(due: &str) -> Option<u32> {
    due.strip_prefix("WHEEL#")?.parse().ok()
}
/// Partition of the due index for accounts with unusual token lifetimes, sorted by time.
pub(super) fn due_sorted(shard: u32) -> String {
    format!("AT#{shard}")
}
pub(super) fn fan(tenant: &str, app_id: &str, open_id: &str) -> Key {
    Key::new(format!("FAN#{tenant}#{app_id}#{open_id}"), "FAN")
}
/// The app id and openid in a fan's partition key.
pub(super) fn fan_of(pk: &str) -> Option<(&str, &str)> {
    pk.strip_prefix("FAN#")?.split_once('#')?.1.split_once('#')
}
pub(super) fn customer(tenant: &str, id: &str) -> Key {
    Key::new(format!("CUSTOMER#{tenant}#{id}"), "CUSTOMER")
}
/// Partition of the index `people` for one shard of a tenant's customers.
pub(super) fn customers_partition(tenant: &str, shard: u32) -> String {
    format!("TENANT#{tenant}#{shard:02}")
}
pub(super) fn event(tenant: &str, app_id: &str, open_id: &str, identity: &str) -> Key {
    Key::new(fan(tenant, app_id, open_id).pk, identity)
}
/// An event of an account itself.
pub(super) fn account_event(tenant: &str, app_id: &str, identity: &str) -> Key {
    Key::new(format!("ACCOUNT#{tenant}#{app_id}"), identity)
}
pub(super) fn import(app_id: &str, import_id: &str) -> Key {
    Key::new(format!("IMPORT#{app_id}"), import_id)
}
pub(super) fn import_lock(app_id: &str) -> Key {
    Key::new(format!("IMPORT#{app_id}"), "RUNNING")
}
/// An entry of the list of unfinished imports, oldest first.
pub(super) fn unfinished_import(import_id: &str) -> Key {
    Key::new("IMPORTS", import_id)
}
/// A partition per page: a list is hundreds of read units, and every shard's reconciling reads all.
pub(super) fn page_list(import_id: &str, page: u32) -> Key {
    Key::new(format!("PAGES#{import_id}#{page:06}"), "LIST")
}
/// The same for an import that began in 0.1.
pub(super) fn page_list_of_0_1(import_id: &str, page: u32) -> Key {
    Key::new(format!("PAGES#{import_id}"), format!("LIST#{page:06}"))
}
pub(super) fn page_done(import_id: &str, page: u32) -> Key {
    Key::new(format!("PAGES#{import_id}"), format!("{PAGE_DONE_PREFIX}{page:06}"))
}
pub(super) fn message(id: &str) -> Key {
    Key::new(format!("MESSAGE#{id}"), "MESSAGE")
}
pub(super) fn wechat_message(app_id: &str, msg_id: &str) -> Key {
    Key::new(format!("WECHAT#{app_id}#{msg_id}"), "MESSAGE")
}
pub(super) fn request_count(tenant: &str, class: &str, window: i64) -> Key {
    Key::new(format!("RATE#{tenant}#{class}"), format!("{window:012}"))
}
/// An entry of a tenant's audit trail in `month` (`2026-11`).
pub(super) fn audit(tenant: &str, month: &str, id: &str) -> Key {
    Key::new(format!("AUDIT#{tenant}#{month}"), id)
}
pub(super) fn idempotency(tenant: &str, route: &str, key: &str) -> Key {
    Key::new(format!("IDEMPOTENCY#{}", ids::fingerprint(&[tenant, route, key])), "IDEMPOTENCY")
}
/// The shard follows from `ordering_key`, so that timers of one ordering key are swept in order; those of
/// them that are due together are adjacent.
pub(super) fn timer(ordering_key: &str, due_ms: i64, id: &str) -> Key {
    let mut key_hash = ids::fingerprint(&[ordering_key]);
    key_hash.truncate(16);
    Key::new(
        timer_partition(ids::shard(ordering_key, TIMER_SHARDS)),
        format!("{:013}#{key_hash}#{id}", due_ms.max(0)),
    )
}
/// The first sort key after all timers that have the ordering key and the time of the one at `sk`.
pub(super) fn after_ordering_key(sk: &str) -> String {
    let mut parts = sk.splitn(3, '#');
    let (due, line) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{due}#{line}$") // `$` comes after `#`
}
/// The first sort key that may come after `sk`.
pub(super) fn after(sk: &str) -> String {
    format!("{sk}\u{1}")
}
/// The first and the last key that a timer of `shard` may have that is due at `now_ms`.
pub(super) fn timers_until(shard: u32, now_ms: i64) -> (Key, Key) {
    (
        Key::new(timer_partition(shard), "0"),
        Key::new(timer_partition(shard), format!("{:013}~", now_ms.max(0))),
    )
}
pub(super) fn timer_sweep(shard: u32) -> Key {
    Key::new(timer_partition(shard), "SWEEP") // behind every digit
}
fn timer_partition(shard: u32) -> String {
    format!("TIMER#{shard:02}")
}
pub(super) fn quota(app_id: &str, api: &str) -> Key {
    Key::new(format!("QUOTA#{app_id}#{api}"), "QUOTA")
}
/// By the fingerprint of the job.
pub(super) fn job_failure(fingerprint: &str) -> Key {
    Key::new(format!("FAILED#{fingerprint}"), "FAILED")
}
pub(super) fn waiting_line(tenant: &str, app_id: &str, open_id: &str, channel: &str) -> Key {
    Key::new(format!("LINE#{tenant}#{app_id}#{open_id}"), channel)
}
