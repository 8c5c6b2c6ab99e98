//! An account with its rules in one read: whom a push is for, and who may be sent something.

use std::sync::Arc;

use serde::Deserialize;

use super::{
    account_cache::AccountEntry,
    accounts::Accounts,
    dynamo::{from_item, query::Query},
    keys,
    reply_rules::StoredRules,
    suspensions::SuspensionMark,
};
use crate::{
    error::Error,
    model::account::{AccountRecord, AccountStatus},
};

/// Estimated memory of an account without rules.
const ACCOUNT_OVERHEAD_BYTES: usize = 2 * 1024;
/// Estimated memory for a byte of rules as JSON: a text of 60 bytes becomes two maps and three strings.
const BYTES_PER_RULES_BYTE: usize = 8;
/// Items of an account's partition that are read: more than there are families.
const ITEMS_PER_ACCOUNT: i32 = 10;

/// Whom a push is for.
pub enum Addressee {
    /// An account that was bound a few seconds ago at most ([`super::account_cache`]).
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

impl Accounts<'_> {
    /// Returns whom a push to `app_id` is for: without a read where the cache knows the account as bound.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn addressee(self, app_id: &str) -> Result<Addressee, Error> {
        let now = self.db.clock.unix();
        if let Some(entry) = self.cache.get(app_id, now) {
            return Ok(Addressee::Bound(entry));
        }
        let found = self.read_account_items(app_id).await?;
        if !found.is_bound() {
            let being_bound = found.being_bound(now);
            let account = found.account.map(Box::new);
            if being_bound {
                return Ok(Addressee::BeingBound(account));
            }
            return Ok(Addressee::Unbound { account, first_seen: self.cache.mark_logged(app_id) });
        }
        let Some((entry, bytes)) = found.into_entry()? else {
            return Ok(Addressee::Unbound { account: None, first_seen: false });
        };
        self.cache.insert(app_id, &entry, bytes, now);
        Ok(Addressee::Bound(entry))
    }

    /// An account that is not deleted, and its rules. A bound one is a few seconds old at most
    /// ([`super::account_cache`]).
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn entry(self, app_id: &str) -> Result<Option<Arc<AccountEntry>>, Error> {
        let now = self.db.clock.unix();
        match self.cache.get(app_id, now) {
            Some(entry) => Ok(Some(entry)),
            None => self.entry_uncached(app_id).await,
        }
    }

    /// [`Accounts::entry`] past the cache: for callers that are about to refuse something for good.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn entry_uncached(self, app_id: &str) -> Result<Option<Arc<AccountEntry>>, Error> {
        let now = self.db.clock.unix();
        let found = self.read_account_items(app_id).await?;
        let is_bound = found.is_bound();
        let Some((entry, bytes)) = found.into_entry()? else { return Ok(None) };
        if is_bound {
            self.cache.insert(app_id, &entry, bytes, now);
        }
        Ok(Some(entry))
    }

    async fn read_account_items(self, app_id: &str) -> Result<AccountItems, Error> {
        let key = keys::account(app_id);
        let all = Query::on(&self.db.platform, &key.pk, ITEMS_PER_ACCOUNT);
        let page = self.db.query(all).await?;
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
