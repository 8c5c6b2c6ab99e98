//! What an instance caches of accounts: that they are bound, and their reply rules. An account that is not
//! bound is not cached but read for each push, so that a new binding takes effect at once.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use crate::model::{account::AccountRecord, reply_rules::ReplyRules};

/// How long an instance trusts what it read of an account, seconds: a change of rules and a deletion reach
/// every instance within this.
pub const ACCOUNT_CACHE_SECONDS: i64 = 5;
/// Limit of the cached accounts: an eighth of the memory of `message-callback`.
const MAX_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Accounts that are remembered as already logged.
const MAX_LOGGED: usize = 1_000;

/// Accounts read recently, and those that were already logged as not bound.
#[derive(Default)]
pub struct AccountCache(Mutex<CachedAccounts>);

/// What is behind the lock.
#[derive(Default)]
pub(super) struct CachedAccounts {
    accounts: HashMap<String, CachedAccount>,
    bytes: usize,
    logged: HashSet<String>,
}

struct CachedAccount {
    entry: Arc<AccountEntry>,
    bytes: usize,
    until: i64,
}

impl AccountCache {
    /// Does something with what is cached.
    pub(super) fn with<T>(&self, what: impl FnOnce(&mut CachedAccounts) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets an account, which was written.
    pub(super) fn evict(&self, app_id: &str) {
        self.with(|cached| cached.evict(app_id));
    }
}

impl CachedAccounts {
    pub(super) fn get(&self, app_id: &str, now: i64) -> Option<Arc<AccountEntry>> {
        self.accounts.get(app_id).filter(|kept| now < kept.until).map(|kept| Arc::clone(&kept.entry))
    }

    fn evict(&mut self, app_id: &str) {
        if let Some(kept) = self.accounts.remove(app_id) {
            self.bytes -= kept.bytes;
        }
    }

    pub(super) fn insert(&mut self, app_id: &str, entry: &Arc<AccountEntry>, bytes: usize, now: i64) {
        self.evict(app_id);
        if self.bytes + bytes > MAX_CACHE_BYTES {
            self.accounts.retain(|_, kept| now < kept.until);
            self.bytes = self.accounts.values().map(|kept| kept.bytes).sum();
        }
        if self.bytes + bytes > MAX_CACHE_BYTES {
            (self.accounts, self.bytes) = (HashMap::new(), 0);
        }
        self.bytes += bytes;
        let kept = CachedAccount { entry: Arc::clone(entry), bytes, until: now + ACCOUNT_CACHE_SECONDS };
        self.accounts.insert(app_id.to_owned(), kept);
    }

    /// Returns whether this account was not logged before.
    pub(super) fn mark_logged(&mut self, app_id: &str) -> bool {
        if self.logged.len() >= MAX_LOGGED {
            self.logged.clear();
        }
        self.logged.insert(app_id.to_owned())
    }
}

/// An account and its rules.
pub struct AccountEntry {
    /// The account.
    pub account: AccountRecord,
    /// Its reply rules; empty while its tenant is suspended.
    pub rules: ReplyRules,
    /// Its tenant is suspended: nothing is sent for this account.
    pub suspended: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(app_id: &str) -> Arc<AccountEntry> {
        let account = json!({
            "app_id": app_id, "tenant_id": "ten_1", "original_id": "gh_1", "name": "", "alias": "", "avatar_url": "",
            "qr_code_url": "", "principal_name": "", "account_type": "service", "verified": true, "status": "bound",
            "granted": [], "bound_at": 1, "unbound_at": null, "revision": 1,
        });
        Arc::new(AccountEntry {
            account: serde_json::from_value(account).unwrap(),
            rules: ReplyRules::default(),
            suspended: false,
        })
    }

    #[test]
    fn accounts_are_remembered_for_seconds_and_within_bytes() {
        let mut cache = CachedAccounts::default();
        cache.insert("wx1", &entry("wx1"), 10, 100);
        assert!(cache.get("wx1", 100 + ACCOUNT_CACHE_SECONDS - 1).is_some());
        assert!(cache.get("wx1", 100 + ACCOUNT_CACHE_SECONDS).is_none(), "longer than promised");
        cache.insert("wx1", &entry("wx1"), 20, 101);
        assert_eq!(cache.bytes, 20, "once, though kept twice");
        cache.evict("wx1");
        assert_eq!((cache.bytes, cache.accounts.len()), (0, 0));
        let large = MAX_CACHE_BYTES / 4;
        for n in 0..1_000 {
            cache.insert(&format!("wx{n}"), &entry("wx"), large, 100 + n / 10);
            assert!(cache.bytes <= MAX_CACHE_BYTES, "{} bytes after {n}", cache.bytes);
            assert_eq!(cache.bytes, cache.accounts.len() * large);
            assert!(cache.get(&format!("wx{n}"), 100 + n / 10).is_some());
        }
    }

    #[test]
    fn the_log_is_told_once_of_each_account_within_a_bound() {
        let mut cache = CachedAccounts::default();
        assert!(cache.mark_logged("wx1") && !cache.mark_logged("wx1") && cache.mark_logged("wx2"));
        for n in 0..10_000 {
            cache.mark_logged(&n.to_string());
        }
        assert!(cache.logged.len() <= MAX_LOGGED);
    }
}
