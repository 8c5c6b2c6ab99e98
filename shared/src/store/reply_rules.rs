//! Accounts' reply rules.

use serde::{Deserialize, Serialize};

use super::{
    account_cache::AccountCache,
    accounts::check_is_still_of,
    dynamo::{actions::put_action, database::Database, to_item},
    keys,
};
use crate::{
    error::{Error, serde_error_text},
    model::reply_rules::ReplyRules,
};

/// The reply rules of accounts.
#[derive(Clone, Copy)]
pub struct RuleSets<'a> {
    pub(super) db: &'a Database,
    pub(super) cache: &'a AccountCache,
}

impl RuleSets<'_> {
    /// A tenant's reply rules for an account; empty ones where none were set.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get(self, tenant: &str, app_id: &str) -> Result<ReplyRules, Error> {
        StoredRules::for_tenant(self.db.get(&self.db.platform, &keys::reply_rules(app_id)).await?, tenant)
    }

    /// Replaces a tenant's reply rules for its account. Returns whether it still has the account: another
    /// tenant's rules are not replaced.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn replace(self, tenant: &str, app_id: &str, rules: &ReplyRules) -> Result<bool, Error> {
        let rules = serde_json::to_string(rules).map_err(|e| Error::Item(serde_error_text(&e)))?;
        let stored = StoredRules { tenant_id: tenant.to_owned(), rules };
        let put = put_action(&self.db.platform, to_item(&keys::reply_rules(app_id), &stored, None)?, None)?;
        let is_stored = self.db.transact(vec![put, check_is_still_of(self.db, tenant, app_id)?]).await?;
        self.cache.evict(app_id);
        Ok(is_stored)
    }
}

/// Rules are stored as JSON text: members of WeChat's that we do not know keep their order and type.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredRules {
    /// The tenant that set them: a deleted account may become another tenant's.
    tenant_id: String,
    rules: String,
}

impl StoredRules {
    /// The length of the rules as JSON.
    pub(super) fn bytes(&self) -> usize {
        self.rules.len()
    }

    /// The rules that `tenant` set; empty ones where another tenant did.
    pub(super) fn for_tenant(stored: Option<Self>, tenant: &str) -> Result<ReplyRules, Error> {
        match stored.filter(|s| s.tenant_id == tenant) {
            Some(stored) => {
                serde_json::from_str(&stored.rules).map_err(|e| Error::Item(serde_error_text(&e)))
            }
            None => Ok(ReplyRules::default()),
        }
    }
}
