//! Marks on accounts whose tenant is suspended.

use std::collections::HashSet;

use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::{
    accounts::{Accounts, check_is_still_of},
    dynamo::{
        Attributes,
        actions::{delete_action, put_action},
        from_item, s, to_item,
    },
    keys,
    tenant_items::{check_tenant_active, check_tenant_suspended},
};
use crate::{error::Error, model::account::AccountRecord};

/// Marks of accounts written at a time.
const CONCURRENT_MARKS: usize = 25;
/// Accounts read in one request.
const ACCOUNTS_PER_QUERY: u32 = 100;

/// A mark that an account's tenant is suspended, stored beside the account: a push finds both in one read.
#[derive(Serialize, Deserialize)]
pub(super) struct SuspensionMark {
    /// The tenant that had it then: an account may become another tenant's.
    pub tenant_id: String,
}

impl Accounts<'_> {
    /// Marks each account of a tenant as suspended, or removes the mark: nothing is sent for a suspended
    /// account. A second call changes nothing; after a failure the same call continues.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn mark_suspended(self, tenant: &str, suspended: bool) -> Result<(), Error> {
        let mut after = None;
        loop {
            let (page, next) = self.list(tenant, ACCOUNTS_PER_QUERY, after.as_deref()).await?;
            let marked = self.suspended_of(tenant, &page).await?;
            let wrong: Vec<_> =
                page.iter().filter(|account| marked.contains(&account.app_id) != suspended).collect();
            for some in wrong.chunks(CONCURRENT_MARKS) {
                let marks = some.iter().map(|account| self.mark_one(tenant, &account.app_id, suspended));
                join_all(marks).await.into_iter().collect::<Result<Vec<()>, _>>()?;
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Those of a page of accounts whose mark says that `tenant` is suspended.
    async fn suspended_of(self, tenant: &str, page: &[AccountRecord]) -> Result<HashSet<String>, Error> {
        let wanted: Vec<_> = page.iter().map(|account| keys::suspension(&account.app_id)).collect();
        let mut marked = HashSet::new();
        for item in self.db.get_many(&self.db.platform, &wanted).await? {
            let app_id = item.get("pk").and_then(|pk| pk.as_s().ok()).and_then(|pk| keys::account_of(pk));
            let app_id = app_id.map(str::to_owned);
            if from_item::<SuspensionMark>(item)?.tenant_id == tenant {
                marked.extend(app_id);
            }
        }
        Ok(marked)
    }

    async fn mark_one(self, tenant: &str, app_id: &str, suspended: bool) -> Result<(), Error> {
        let key = keys::suspension(app_id);
        // unless the operator changed the status meanwhile: the later call marks all accounts its way
        let status_stands = match suspended {
            true => check_tenant_suspended(self.db, tenant)?,
            false => check_tenant_active(self.db, tenant)?,
        };
        if suspended {
            let mark = to_item(&key, &SuspensionMark { tenant_id: tenant.to_owned() }, None)?;
            // unless the account was transferred since: the mark would never be removed
            let still_its_account = check_is_still_of(self.db, tenant, app_id)?;
            let put = put_action(&self.db.platform, mark, None)?;
            self.db.transact(vec![put, still_its_account, status_stands]).await?;
        } else {
            // unless it is another tenant's mark by now
            let its = Attributes::from([(":its".to_owned(), s(tenant))]);
            let unmark = delete_action(&self.db.platform, &key, Some(("tenant_id = :its", its)))?;
            self.db.transact(vec![unmark, status_stands]).await?;
        }
        self.cache.evict(app_id);
        Ok(())
    }
}
