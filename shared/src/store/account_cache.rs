//! What an instance caches of accounts: that they are bound, and their reply rules. An account that is not
//! bound is not cached but read for each push, so that a new binding takes effect at once.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;

use super::{
    Store,
    accounts::StoredRules,
    dynamo::{Query, from_item, s},
    keys,
    tenants::SuspensionMark,
};
use crate::{
    error::Error,
    model::{
        account::{AccountRecord, AccountStatus},
        reply_rules::ReplyRules,
    },
};

/// How long an instance trusts what it read of an account, seconds: a change of rules and a deletion reach
/// every instance within this.
pub const ACCOUNT_CACHE_SECONDS: i64 = 5;
/// Limit of the cached accounts: an eighth of the memory of `message-callback`.
const MAX_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Estimated memory of an account without rules.
const ACCOUNT_OVERHEAD_BYTES: usize = 2 * 1024;
/// Estimated memory for a byte of rules as JSON: a text of 60 bytes becomes two maps and three strings.
const BYTES_PER_RULES_BYTE: usize = 8;
/// Accounts that are remembered as already logged.
const MAX_LOGGED: usize = 1_000;

/// Accounts read recently, and those that were already logged as not bound.
#[derive(Default)]
pub struct AccountCache(Mutex<CachedAccounts>);

#[derive(Default)]
struct CachedAccounts {
    accounts: HashMap<String, CachedAccount>,
    bytes: usize,
    logged: HashSet<String>,
}

struct CachedAccount {
    entry: Arc<AccountEntry>,
    bytes: usize,
    until: i64,
}

impl CachedAccounts {
    fn get(&self, app_id: &str, now: i64) -> Option<Arc<AccountEntry>> {
        self.accounts.get(app_id).filter(|kept| now < kept.until).map(|kept| Arc::clone(&kept.entry))
    }

    fn evict(&mut self, app_id: &str) {
        if let Some(kept) = self.accounts.remove(app_id) {
            self.bytes -= kept.bytes;
        }
    }

    fn insert(&mut self, app_id: &str, entry: &Arc<AccountEntry>, bytes: usize, now: i64) {
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
    fn mark_logged(&mut self, app_id: &str) -> bool {
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

/// Whom a push is for.
pub enum Addressee {
    /// An account that was bound at most [`ACCOUNT_CACHE_SECONDS`] ago.
    Bound(Arc<AccountEntry>),
    /// An account whose binding is in progress.
    BeingBound(Option<Box<AccountRecord>>),
    /// An account that is not bound, or that no tenant has.
    Unbound {
        /// The account, where a tenant has or had it.
        account: Option<Box<AccountRecord>>,
        /// Whether this instance sees it for the first time.
        first_seen: bool,
    },
}

/// All items of the partition of an account.
struct AccountItems {
    account: Option<AccountRecord>,
    rules: Option<StoredRules>,
    consent: Option<ConsentProgress>,
    suspended: Option<SuspensionMark>,
}

/// The part of the account's consent item that is needed here.
#[derive(Deserialize)]
struct ConsentProgress {
    #[serde(default)]
    under_way_until: i64,
}

impl AccountItems {
    /// Whether the binding of the account is in progress.
    fn being_bound(&self, now: i64) -> bool {
        self.consent.as_ref().is_some_and(|consent| now < consent.under_way_until)
    }

    fn is_bound(&self) -> bool {
        self.account.as_ref().is_some_and(|account| account.status == AccountStatus::Bound)
    }

    fn into_entry(self) -> Result<Option<(Arc<AccountEntry>, usize)>, Error> {
        let Some(account) = self.account else { return Ok(None) };
        let bytes =
            ACCOUNT_OVERHEAD_BYTES + self.rules.as_ref().map_or(0, StoredRules::bytes) * BYTES_PER_RULES_BYTE;
        let suspended = self.suspended.is_some_and(|mark| mark.tenant_id == account.tenant_id);
        let rules = if suspended { None } else { self.rules };
        let rules = StoredRules::for_tenant(rules, &account.tenant_id)?;
        Ok(Some((Arc::new(AccountEntry { account, rules, suspended }), bytes)))
    }
}

impl Store {
    /// Returns whom a push to `app_id` is for: without a read where the cache knows the account as bound.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn addressee(&self, app_id: &str) -> Result<Addressee, Error> {
        let now = self.clock.unix();
        if let Some(entry) = self.with_account_cache(|r| r.get(app_id, now)) {
            return Ok(Addressee::Bound(entry));
        }
        let found = self.read_account_items(app_id).await?;
        if !found.is_bound() {
            let being_bound = found.being_bound(now);
            let account = found.account.map(Box::new);
            if being_bound {
                return Ok(Addressee::BeingBound(account));
            }
            return Ok(Addressee::Unbound {
                account,
                first_seen: self.with_account_cache(|r| r.mark_logged(app_id)),
            });
        }
        let Some((entry, bytes)) = found.into_entry()? else {
            return Ok(Addressee::Unbound { account: None, first_seen: false });
        };
        self.with_account_cache(|r| r.insert(app_id, &entry, bytes, now));
        Ok(Addressee::Bound(entry))
    }

    /// An account that is not deleted, and its rules. A bound one is at most [`ACCOUNT_CACHE_SECONDS`] old.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn account_entry(&self, app_id: &str) -> Result<Option<Arc<AccountEntry>>, Error> {
        let now = self.clock.unix();
        match self.with_account_cache(|r| r.get(app_id, now)) {
            Some(entry) => Ok(Some(entry)),
            None => self.account_entry_uncached(app_id).await,
        }
    }

    /// [`Store::account_entry`] past the cache: for callers that are about to refuse something for good.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn account_entry_uncached(&self, app_id: &str) -> Result<Option<Arc<AccountEntry>>, Error> {
        let now = self.clock.unix();
        let found = self.read_account_items(app_id).await?;
        let is_bound = found.is_bound();
        let Some((entry, bytes)) = found.into_entry()? else { return Ok(None) };
        if is_bound {
            self.with_account_cache(|r| r.insert(app_id, &entry, bytes, now));
        }
        Ok(Some(entry))
    }

    pub(super) fn evict_account(&self, app_id: &str) {
        self.with_account_cache(|r| r.evict(app_id));
    }

    fn with_account_cache<T>(&self, what: impl FnOnce(&mut CachedAccounts) -> T) -> T {
        what(&mut self.account_cache.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn read_account_items(&self, app_id: &str) -> Result<AccountItems, Error> {
        let key = keys::account(app_id);
        let page = self
            .query(Query {
                table: &self.platform,
                index: None,
                consistent: true,
                condition: "pk = :pk",
                names: &[],
                values: &[(":pk", s(&key.pk))],
                descending: false,
                limit: 10,
                start: None,
            })
            .await?;
        let mut found = AccountItems { account: None, rules: None, consent: None, suspended: None };
        for item in page.items {
            let sk = item.get("sk").and_then(|v| v.as_s().ok()).cloned().unwrap_or_default();
            if sk == key.sk {
                found.account = Some(from_item::<AccountRecord>(item)?).filter(|account| !account.deleted);
            } else if sk == keys::reply_rules(app_id).sk {
                found.rules = Some(from_item(item)?);
            } else if sk == keys::consent(app_id).sk {
                found.consent = Some(from_item(item)?);
            } else if sk == keys::suspension(app_id).sk {
                found.suspended = Some(from_item(item)?);
            }
        }
        Ok(found)
    }
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
