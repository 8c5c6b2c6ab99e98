//! What an instance caches of accounts: that they are bound, and their reply rules. An account that is not
//! bound is not cached but read for each push, so that a new binding takes effect at once.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;

use super::{
    Store,
    accounts::{AccountRecord, StoredRules},
    keys,
    table::{Query, read, s},
    tenants::Suspended,
};
use crate::{
    error::Error,
    model::{account::AccountStatus, reply_rules::ReplyRules},
};

/// How long an instance trusts what it read of an account, seconds: a change of rules and a deletion reach
/// every instance within this.
pub const CACHE_SECONDS: i64 = 5;
/// Limit of the cached accounts: an eighth of the memory of `message-callback`.
const CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Estimated memory of an account without rules.
const ACCOUNT_BYTES: usize = 2 * 1024;
/// Estimated memory for a byte of rules as JSON: a text of 60 bytes becomes two maps and three strings.
const RULES_BYTES: usize = 8;
/// Accounts that are remembered as already logged.
const MAX_TOLD: usize = 1_000;

/// Accounts read recently, and those that were already logged as not bound.
#[derive(Default)]
pub struct Cache(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    accounts: HashMap<String, Kept>,
    bytes: usize,
    told: HashSet<String>,
}

struct Kept {
    entry: Arc<Entry>,
    bytes: usize,
    until: i64,
}

impl Remembered {
    fn find(&self, app_id: &str, now: i64) -> Option<Arc<Entry>> {
        self.accounts.get(app_id).filter(|kept| now < kept.until).map(|kept| Arc::clone(&kept.entry))
    }

    fn forget(&mut self, app_id: &str) {
        if let Some(kept) = self.accounts.remove(app_id) {
            self.bytes -= kept.bytes;
        }
    }

    fn keep(&mut self, app_id: &str, entry: &Arc<Entry>, bytes: usize, now: i64) {
        self.forget(app_id);
        if self.bytes + bytes > CACHE_BYTES {
            self.accounts.retain(|_, kept| now < kept.until);
            self.bytes = self.accounts.values().map(|kept| kept.bytes).sum();
        }
        if self.bytes + bytes > CACHE_BYTES {
            (self.accounts, self.bytes) = (HashMap::new(), 0);
        }
        self.bytes += bytes;
        let kept = Kept { entry: Arc::clone(entry), bytes, until: now + CACHE_SECONDS };
        self.accounts.insert(app_id.to_owned(), kept);
    }

    /// Returns whether this account was not logged before.
    fn tell(&mut self, app_id: &str) -> bool {
        if self.told.len() >= MAX_TOLD {
            self.told.clear();
        }
        self.told.insert(app_id.to_owned())
    }
}

/// An account and its rules.
pub struct Entry {
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
    Bound(Arc<Entry>),
    /// An account whose binding is in progress.
    BeingBound(Option<Box<AccountRecord>>),
    /// An account that is not bound, or that no tenant has.
    Nobody {
        /// The account, where a tenant has or had it.
        account: Option<Box<AccountRecord>>,
        /// Whether this instance sees it for the first time.
        first: bool,
    },
}

/// All items of the partition of an account.
struct Found {
    account: Option<AccountRecord>,
    rules: Option<StoredRules>,
    consent: Option<Consent>,
    suspended: Option<Suspended>,
}

/// The part of the account's consent item that is needed here.
#[derive(Deserialize)]
struct Consent {
    #[serde(default)]
    under_way_until: i64,
}

impl Found {
    /// Whether the binding of the account is in progress.
    fn being_bound(&self, now: i64) -> bool {
        self.consent.as_ref().is_some_and(|consent| now < consent.under_way_until)
    }

    fn is_bound(&self) -> bool {
        self.account.as_ref().is_some_and(|account| account.status == AccountStatus::Bound)
    }

    fn entry(self) -> Result<Option<(Arc<Entry>, usize)>, Error> {
        let Some(account) = self.account else { return Ok(None) };
        let bytes = ACCOUNT_BYTES + self.rules.as_ref().map_or(0, StoredRules::bytes) * RULES_BYTES;
        let suspended = self.suspended.is_some_and(|mark| mark.tenant_id == account.tenant_id);
        let rules = if suspended { None } else { self.rules };
        let rules = StoredRules::of(rules, &account.tenant_id)?;
        Ok(Some((Arc::new(Entry { account, rules, suspended }), bytes)))
    }
}

impl Store {
    /// Returns whom a push to `app_id` is for: without a read where the cache knows the account as bound.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn addressee(&self, app_id: &str) -> Result<Addressee, Error> {
        let now = self.clock.unix();
        if let Some(entry) = self.remembered(|r| r.find(app_id, now)) {
            return Ok(Addressee::Bound(entry));
        }
        let found = self.find_account(app_id).await?;
        if !found.is_bound() {
            let being_bound = found.being_bound(now);
            let account = found.account.map(Box::new);
            if being_bound {
                return Ok(Addressee::BeingBound(account));
            }
            return Ok(Addressee::Nobody { account, first: self.remembered(|r| r.tell(app_id)) });
        }
        let Some((entry, bytes)) = found.entry()? else {
            return Ok(Addressee::Nobody { account: None, first: false });
        };
        self.remembered(|r| r.keep(app_id, &entry, bytes, now));
        Ok(Addressee::Bound(entry))
    }

    /// An account that is not deleted, and its rules. A bound one is at most [`ACCOUNT_CACHE_SECONDS`] old.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn account_entry(&self, app_id: &str) -> Result<Option<Arc<Entry>>, Error> {
        let now = self.clock.unix();
        match self.remembered(|r| r.find(app_id, now)) {
            Some(entry) => Ok(Some(entry)),
            None => self.account_entry_now(app_id).await,
        }
    }

    /// [`Store::account_entry`] past the cache: for callers that are about to refuse something for good.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn account_entry_now(&self, app_id: &str) -> Result<Option<Arc<Entry>>, Error> {
        let now = self.clock.unix();
        let found = self.find_account(app_id).await?;
        let is_bound = found.is_bound();
        let Some((entry, bytes)) = found.entry()? else { return Ok(None) };
        if is_bound {
            self.remembered(|r| r.keep(app_id, &entry, bytes, now));
        }
        Ok(Some(entry))
    }

    pub(super) fn forget_account(&self, app_id: &str) {
        self.remembered(|r| r.forget(app_id));
    }

    fn remembered<T>(&self, what: impl FnOnce(&mut Remembered) -> T) -> T {
        what(&mut self.account_cache.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn find_account(&self, app_id: &str) -> Result<Found, Error> {
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
        let mut found = Found { account: None, rules: None, consent: None, suspended: None };
        for item in page.items {
            let sk = item.get("sk").and_then(|v| v.as_s().ok()).cloned().unwrap_or_default();
            if sk == key.sk {
                found.account = Some(read::<AccountRecord>(item)?).filter(|account| !account.deleted);
            } else if sk == keys::reply_rules(app_id).sk {
                found.rules = Some(read(item)?);
            } else if sk == keys::consent(app_id).sk {
                found.consent = Some(read(item)?);
            } else if sk == keys::suspended(app_id).sk {
                found.suspended = Some(read(item)?);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(app_id: &str) -> Arc<Entry> {
        let account = json!({
            "app_id": app_id, "tenant_id": "ten_1", "original_id": "gh_1", "name": "", "alias": "", "avatar_url": "",
            "qr_code_url": "", "principal_name": "", "account_type": "service", "verified": true, "status": "bound",
            "granted": [], "bound_at": 1, "unbound_at": null, "revision": 1,
        });
        Arc::new(Entry {
            account: serde_json::from_value(account).unwrap(),
            rules: ReplyRules::default(),
            suspended: false,
        })
    }

    #[test]
    fn accounts_are_remembered_for_seconds_and_within_bytes() {
        let mut cache = Remembered::default();
        cache.keep("wx1", &entry("wx1"), 10, 100);
        assert!(cache.find("wx1", 100 + CACHE_SECONDS - 1).is_some());
        assert!(cache.find("wx1", 100 + CACHE_SECONDS).is_none(), "longer than promised");
        cache.keep("wx1", &entry("wx1"), 20, 101);
        assert_eq!(cache.bytes, 20, "once, though kept twice");
        cache.forget("wx1");
        assert_eq!((cache.bytes, cache.accounts.len()), (0, 0));
        let large = CACHE_BYTES / 4;
        for n in 0..1_000 {
            cache.keep(&format!("wx{n}"), &entry("wx"), large, 100 + n / 10);
            assert!(cache.bytes <= CACHE_BYTES, "{} bytes after {n}", cache.bytes);
            assert_eq!(cache.bytes, cache.accounts.len() * large);
            assert!(cache.find(&format!("wx{n}"), 100 + n / 10).is_some());
        }
    }

    #[test]
    fn the_log_is_told_once_of_each_account_within_a_bound() {
        let mut cache = Remembered::default();
        assert!(cache.tell("wx1") && !cache.tell("wx1") && cache.tell("wx2"));
        for n in 0..10_000 {
            cache.tell(&n.to_string());
        }
        assert!(cache.told.len() <= MAX_TOLD);
    }
}
