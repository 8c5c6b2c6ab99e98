//! Table keys. The only place that spells one; everyone else passes a [`Key`].
//!
//! | table | item | `pk` | `sk` | written by |
//! |---|---|---|---|---|
//! | platform | tenant | `TENANT#<tenant>` | `TENANT` | tenant-api |
//! | platform | a tenant on the list of all | `TENANTS` | tenant | tenant-api |
//! | platform | a key of a tenant | `TENANT#<tenant>` | `KEY#<key id>` | tenant-api |
//! | platform | an account of a tenant | `TENANT#<tenant>` | `ACCOUNT#<app_id>` | authorization-callback, tenant-api |
//! | platform | API key | `APIKEY#<sha256>` | `APIKEY` | tenant-api |
//! | platform | account | `ACCOUNT#<app_id>` | `ACCOUNT` | authorization-callback, tenant-api |
//! | platform | its tenant is suspended | `ACCOUNT#<app_id>` | `SUSPENDED` | tenant-api |
//! | platform | reply rules | `ACCOUNT#<app_id>` | `REPLY_RULES` | tenant-api |
//! | platform | what an authorization event said last | `ACCOUNT#<app_id>` | `CONSENT` | authorization-callback (TTL) |
//! | platform | an event of the platform that was seen | `EVENT#<sha256>` | `EVENT` | authorization-callback (TTL) |
//! | platform | binding | `BINDING#<binding>` | `BINDING` | tenant-api, authorization-callback |
//! | platform | pre_auth_code (hashed) | `PREAUTH#<sha256>` | `PREAUTH` | authorization-callback (TTL) |
//! | platform | how the platform stands | `PLATFORM` | `STATUS` | token-refresh, authorization-callback |
//! | platform | counters | `PLATFORM` | `COUNTERS` | authorization-callback |
//! | credentials | ticket and component token | `COMPONENT` | `COMPONENT` | authorization-callback, token-refresh |
//! | credentials | an account's tokens | `AUTHORIZER#<app_id>` | `AUTHORIZER` | authorization-callback, token-refresh, users of tokens |
//! | credentials | the minute last swept | `REFRESH` | `TICK` | token-refresh |
//! | customers | fan | `FAN#<tenant>#<app_id>#<open_id>` | `FAN` | message-callback, follower-import, message-send |
//! | customers | person | `CUSTOMER#<tenant>#<customer>` | `CUSTOMER` | tenant-api, follower-import |
//! | timeline | event | `FAN#<tenant>#<app_id>#<open_id>` | push identity | message-callback, message-send, follower-import |
//! | timeline | event of an account itself | `ACCOUNT#<tenant>#<app_id>` | push identity | message-callback |
//! | work | import | `IMPORT#<app_id>` | import id | tenant-api, follower-import |
//! | work | the import that runs | `IMPORT#<app_id>` | `RUNNING` | tenant-api, follower-import |
//! | work | an import that has not ended | `IMPORTS` | import id | authorization-callback, tenant-api, follower-import |
//! | work | a listed page | `PAGES#<import>#<page>` | `LIST` | follower-import (TTL) |
//! | work | a page's receipts | `PAGES#<import>` | `DONE#<page>` | follower-import (TTL) |
//! | work | message | `MESSAGE#<message>` | `MESSAGE` | tenant-api, message-callback, message-send (TTL) |
//! | work | WeChat's id of a message | `WECHAT#<app_id>#<msgid>` | `MESSAGE` | message-send (TTL) |
//! | work | who did what | `AUDIT#<tenant>#<month>` | entry's id | tenant-api (TTL) |
//! | work | who waits to reach a fan by a channel | `LINE#<tenant>#<app_id>#<open_id>` | channel | message-send (TTL) |
//! | work | timer | `TIMER#<00..15>` | `<due in ms, 13 digits>#<line, 16 hex digits>#<id>` | message-send, follower-import, token-refresh |
//! | work | who sweeps a shard of timers | `TIMER#<00..15>` | `SWEEP` | token-refresh |
//! | work | what WeChat has refused until when | `QUOTA#<app_id>#<api>` | `QUOTA` | message-send, follower-import (TTL) |
//! | work | requests of a tenant in a window | `RATE#<tenant>#<class>` | number of the window | tenant-api (TTL) |
//! | work | why a job was given up | `FAILED#<sha256>` | `FAILED` | whoever failed it (TTL) |
//! | work | idempotency record | `IDEMPOTENCY#<sha256>` | `IDEMPOTENCY` | tenant-api (TTL) |
//!
//! Imports that 0.1 began have their lists at `PAGES#<import>`, `LIST#<page>`.
//!
//! Indexes: `credentials.due` (`due`, `due_at`); `customers.people` (`people`, `customer_id`): every fan and
//! person of a tenant, in [`PEOPLE_SHARDS`] shards by customer; `timeline.by_time` (`pk`, `at_key`), local.

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

    /// As DynamoDB takes it.
    #[must_use]
    pub fn attributes(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            ("pk".into(), AttributeValue::S(self.pk.clone())),
            ("sk".into(), AttributeValue::S(self.sk.clone())),
        ])
    }
}

/// Shards of a tenant's people: 16 partitions take 16,000 writes a second.
pub const PEOPLE_SHARDS: u32 = 16;
/// Shards of the accounts whose lifetime is not the usual one.
pub const DUE_SHARDS: u32 = 4;
/// Shards of the timers: 16 partitions take 16,000 writes a second.
pub const TIMER_SHARDS: u32 = 16;
/// Sort-key prefix of a tenant's accounts.
pub const TENANT_ACCOUNT: &str = "ACCOUNT#";
/// Sort-key prefix of a tenant's keys.
pub const TENANT_KEY: &str = "KEY#";
/// Sort key of a page's receipts: prefix.
pub const PAGE_DONE: &str = "DONE#";
/// Index of tokens by when they are due.
pub const DUE_INDEX: &str = "due";
/// Index of a tenant's fans and persons.
pub const PEOPLE_INDEX: &str = "people";
/// Local index of an owner's events by time.
pub const TIME_INDEX: &str = "by_time";

pub(super) fn tenant(id: &str) -> Key {
    Key::new(format!("TENANT#{id}"), "TENANT")
}
pub(super) fn listed_tenant(id: &str) -> Key {
    Key::new("TENANTS", id)
}
pub(super) fn tenant_key(tenant: &str, key_id: &str) -> Key {
    Key::new(format!("TENANT#{tenant}"), format!("{TENANT_KEY}{key_id}"))
}
pub(super) fn tenant_account(tenant: &str, app_id: &str) -> Key {
    Key::new(format!("TENANT#{tenant}"), format!("{TENANT_ACCOUNT}{app_id}"))
}
pub(super) fn api_key(hash: &str) -> Key {
    Key::new(format!("APIKEY#{hash}"), "APIKEY")
}
pub(super) fn account(app_id: &str) -> Key {
    Key::new(format!("ACCOUNT#{app_id}"), "ACCOUNT")
}
pub(super) fn suspended(app_id: &str) -> Key {
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
/// Of a pre_auth_code's fingerprint.
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
/// The account of an authorizer's partition key.
pub(super) fn authorizer_of(pk: &str) -> Option<&str> {
    pk.strip_prefix("AUTHORIZER#")
}
pub(super) fn refresh_tick() -> Key {
    Key::new("REFRESH", "TICK")
}
/// The index partition of a wheel's slot.
pub(super) fn due_wheel(slot: u32) -> String {
    format!("WHEEL#{slot:03}")
}
/// The slot of a wheel's index partition.
pub(super) fn wheel_slot(due: &str) -> Option<u32> {
    due.strip_prefix("WHEEL#")?.parse().ok()
}
/// The index partition of an account whose tokens live unusually long or short.
pub(super) fn due_at(shard: u32) -> String {
    format!("AT#{shard}")
}
pub(super) fn fan(tenant: &str, app_id: &str, open_id: &str) -> Key {
    Key::new(format!("FAN#{tenant}#{app_id}#{open_id}"), "FAN")
}
/// The account and openid of a fan's partition key.
pub(super) fn fan_of(pk: &str) -> Option<(&str, &str)> {
    pk.strip_prefix("FAN#")?.split_once('#')?.1.split_once('#')
}
pub(super) fn customer(tenant: &str, id: &str) -> Key {
    Key::new(format!("CUSTOMER#{tenant}#{id}"), "CUSTOMER")
}
/// The index partition of a tenant's people in one shard.
pub(super) fn people(tenant: &str, shard: u32) -> String {
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
pub(super) fn import_running(app_id: &str) -> Key {
    Key::new(format!("IMPORT#{app_id}"), "RUNNING")
}
/// In the list of imports that have not ended, oldest first.
pub(super) fn open_import(import_id: &str) -> Key {
    Key::new("IMPORTS", import_id)
}
/// A partition of its own for each: a list is hundreds of read units, and every shard's reconciling reads them all.
pub(super) fn page_list(import_id: &str, page: u32) -> Key {
    Key::new(format!("PAGES#{import_id}#{page:06}"), "LIST")
}
/// The same of an import that 0.1 began.
pub(super) fn page_list_of_0_1(import_id: &str, page: u32) -> Key {
    Key::new(format!("PAGES#{import_id}"), format!("LIST#{page:06}"))
}
pub(super) fn page_done(import_id: &str, page: u32) -> Key {
    Key::new(format!("PAGES#{import_id}"), format!("{PAGE_DONE}{page:06}"))
}
pub(super) fn message(id: &str) -> Key {
    Key::new(format!("MESSAGE#{id}"), "MESSAGE")
}
pub(super) fn wechat_message(app_id: &str, msg_id: &str) -> Key {
    Key::new(format!("WECHAT#{app_id}#{msg_id}"), "MESSAGE")
}
pub(super) fn requests(tenant: &str, class: &str, window: i64) -> Key {
    Key::new(format!("RATE#{tenant}#{class}"), format!("{window:012}"))
}
/// An entry of a tenant's audit in `month` (`2026-11`).
pub(super) fn audit(tenant: &str, month: &str, id: &str) -> Key {
    Key::new(format!("AUDIT#{tenant}#{month}"), id)
}
pub(super) fn idempotency(tenant: &str, route: &str, key: &str) -> Key {
    Key::new(format!("IDEMPOTENCY#{}", ids::fingerprint(&[tenant, route, key])), "IDEMPOTENCY")
}
/// A timer of `line`, which names the shard, so that one line is swept in order; those of a line that are due together
/// lie together.
pub(super) fn timer(line: &str, due_ms: i64, id: &str) -> Key {
    let mut mark = ids::fingerprint(&[line]);
    mark.truncate(16);
    Key::new(timers(ids::shard(line, TIMER_SHARDS)), format!("{:013}#{mark}#{id}", due_ms.max(0)))
}
/// The first sort key that lies behind all timers of the line of the one at `sk` that are due together with it.
pub(super) fn behind_line(sk: &str) -> String {
    let mut parts = sk.splitn(3, '#');
    let (due, line) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{due}#{line}$") // `$` comes after `#`
}
/// The first sort key that may lie behind `sk`.
pub(super) fn behind(sk: &str) -> String {
    format!("{sk}\u{1}")
}
/// The first and the last key that a timer of `shard` may have which is due at `now_ms`.
pub(super) fn timers_until(shard: u32, now_ms: i64) -> (Key, Key) {
    (Key::new(timers(shard), "0"), Key::new(timers(shard), format!("{:013}~", now_ms.max(0))))
}
pub(super) fn timer_sweep(shard: u32) -> Key {
    Key::new(timers(shard), "SWEEP") // behind every digit
}
fn timers(shard: u32) -> String {
    format!("TIMER#{shard:02}")
}
pub(super) fn quota(app_id: &str, api: &str) -> Key {
    Key::new(format!("QUOTA#{app_id}#{api}"), "QUOTA")
}
/// Of a job, told by its fingerprint.
pub(super) fn failure(fingerprint: &str) -> Key {
    Key::new(format!("FAILED#{fingerprint}"), "FAILED")
}
pub(super) fn line(tenant: &str, app_id: &str, open_id: &str, channel: &str) -> Key {
    Key::new(format!("LINE#{tenant}#{app_id}#{open_id}"), channel)
}
