//! What an instance caches of accounts: that they are bound, and their reply rules. An account that is not
//! bound is not cached but read for each push, so that a new binding takes effect at once.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use super::ttl_cache::TtlCache;
use crate::model::{account::AccountRecord, reply_rules::ReplyRules};

/// How long an instance trusts what it read of an account, seconds: a change of rules and a deletion reach
/// every instance within this.
pub const ACCOUNT_CACHE_SECONDS: i64 = 5;
/// Limit of the cached accounts: an eighth of the memory of `message-callback`.
const MAX_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Accounts that are remembered as already logged.
const MAX_LOGGED: usize = 1_000;

/// Accounts read recently, and those that were already logged as not bound.
pub struct AccountCache {
    entries: TtlCache<AccountEntry>,
    logged: Mutex<HashSet<String>>,
}

impl Default for AccountCache {
    fn default() -> Self {
        Self { entries: TtlCache::new(ACCOUNT_CACHE_SECONDS, MAX_CACHE_BYTES), logged: Mutex::default() }
    }
}

impl AccountCache {
    pub(super) fn get(&self, app_id: &str, now: i64) -> Option<Arc<AccountEntry>> {
        self.entries.get(app_id, now)
    }

    /// Keeps an account that takes about so many `bytes`.
    pub(super) fn insert(&self, app_id: &str, entry: &Arc<AccountEntry>, bytes: usize, now: i64) {
        self.entries.insert(app_id, Arc::clone(entry), bytes, now);
    }

    /// Forgets an account, which was written.
    pub(super) fn evict(&self, app_id: &str) {
        self.entries.evict(app_id);
    }

    /// Returns whether this account was not logged before.
    pub(super) fn mark_logged(&self, app_id: &str) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() >= MAX_LOGGED {
            logged.clear();
        }
        logged.insert(app_id.to_owned())
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

    #[test]
    fn the_log_is_told_once_of_each_account_within_a_bound() {
        let cache = AccountCache::default();
        assert!(cache.mark_logged("wx1") && !cache.mark_logged("wx1") && cache.mark_logged("wx2"));
        for n in 0..10_000 {
            cache.mark_logged(&n.to_string());
        }
        assert!(cache.logged.lock().unwrap().len() <= MAX_LOGGED);
    }
}
