//! Tenants: the companies that use the hub, and their state.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::TransactWriteItem;
use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::{
    Store,
    dynamo::{
        Attributes, Query, Update, check_action, delete_action, from_item, n, put_action, read_valid, s,
        to_attr, to_item,
    },
    keys,
};
use crate::{
    error::{Error, StoreError},
    model::{
        account::AccountRecord,
        api_key::ApiKey,
        tenant::{Tenant, TenantStatus},
    },
    secret::Secret,
};

/// Marks of accounts written at a time.
const CONCURRENT_MARKS: usize = 25;
/// Accounts read in one request.
const ACCOUNTS_PER_QUERY: u32 = 100;
/// How often a write that lost a race is tried.
const MAX_WRITE_ATTEMPTS: usize = 4;

/// Changes of a tenant.
#[derive(Debug, Clone, Default)]
pub struct TenantChange {
    /// Its name.
    pub name: Option<String>,
    /// Its time zone.
    pub time_zone: Option<String>,
    /// [`TenantStatus::Active`] or [`TenantStatus::Suspended`].
    pub status: Option<TenantStatus>,
}

/// The result of deleting a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantDeletion {
    /// It is `deleted`, by this call or before, and is to be erased.
    Deleted(Tenant),
    /// It is not suspended, or has a bound account.
    StillActive,
    /// There is no such tenant.
    NotFound,
}

impl Store {
    /// Stores a tenant with its first key. A second call with the same tenant changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn create_tenant(&self, tenant: &Tenant, key: &ApiKey, secret: &Secret) -> Result<(), Error> {
        let new = Some(("attribute_not_exists(pk)", Attributes::new()));
        let mut actions =
            vec![put_action(&self.platform, to_item(&keys::tenant(&tenant.id), tenant, None)?, new)?];
        actions.push(self.list_tenant_action(&tenant.id)?);
        actions.extend(self.key_actions(key, secret)?);
        self.transact(actions).await.map(drop) // false: an earlier attempt made it
    }

    /// The write that adds a tenant to the list of all.
    pub(super) fn list_tenant_action(&self, id: &str) -> Result<TransactWriteItem, Error> {
        put_action(
            &self.platform,
            to_item(&keys::listed_tenant(id), &TenantListEntry { id: id.to_owned() }, None)?,
            None,
        )
    }

    /// A tenant by its id, deleted or not; [`None`] for one that is erased.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn tenant(&self, id: &str) -> Result<Option<Tenant>, Error> {
        self.get(&self.platform, &keys::tenant(id)).await
    }

    /// Whether there is more than one tenant; eventually consistent.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn has_several_tenants(&self) -> Result<bool, Error> {
        let page = self
            .query(Query {
                table: &self.platform,
                index: None,
                consistent: false,
                condition: "pk = :pk",
                names: &[],
                values: &[(":pk", s(keys::listed_tenant("").pk))],
                descending: false,
                limit: 2,
                start: None,
            })
            .await?;
        Ok(page.items.len() > 1)
    }

    /// A page of tenants, oldest first, after `after`; and the id after which there are more.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn tenants(
        &self,
        limit: u32,
        after: Option<&str>,
    ) -> Result<(Vec<Tenant>, Option<String>), Error> {
        let page = self
            .query(Query {
                table: &self.platform,
                index: None,
                consistent: true,
                condition: "pk = :pk AND sk > :after",
                names: &[],
                values: &[
                    (":pk", s(keys::listed_tenant("").pk)),
                    (":after", s(after.filter(|id| !id.is_empty()).unwrap_or(" "))),
                ],
                descending: false,
                limit: i32::try_from(limit + 1).unwrap_or(i32::MAX),
                start: None,
            })
            .await?;
        let mut listed =
            page.items.into_iter().map(from_item::<TenantListEntry>).collect::<Result<Vec<_>, _>>()?;
        let more = listed.len() > limit as usize;
        listed.truncate(limit as usize);
        let next = listed.last().filter(|_| more).map(|last| last.id.clone());
        let wanted: Vec<_> = listed.iter().map(|one| keys::tenant(&one.id)).collect();
        let found = self.get_many(&self.platform, &wanted).await?;
        let mut found: Vec<Tenant> = read_valid(found);
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok((found, next))
    }

    /// Changes a tenant; [`None`] where there is none, or it is being deleted.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn change_tenant(&self, id: &str, change: &TenantChange) -> Result<Option<Tenant>, Error> {
        let mut update = Update::new()
            .set_some("name", change.name.clone().map(s))
            .set_some("time_zone", change.time_zone.clone().map(s))
            .set_some("status", change.status.as_ref().map(to_attr).transpose()?);
        if update.is_empty() {
            return Ok(self.tenant(id).await?.filter(|tenant| tenant.status != TenantStatus::Deleted));
        }
        if change.status.is_some() {
            update = update.add("revision", n(1));
        }
        let update = update.when(
            "attribute_exists(pk) AND (attribute_not_exists(#status) OR #status <> :deleted)",
            &[(":deleted", to_attr(&TenantStatus::Deleted)?)],
        );
        // DynamoDB recognises a repeated transaction by its token: the revision is counted once
        let changed = self.transact(vec![update.into_action(&self.platform, &keys::tenant(id))?]).await?;
        self.clear_key_cache();
        if changed { self.tenant(id).await } else { Ok(None) }
    }

    /// Marks each account of a tenant as suspended, or removes the mark: nothing is sent for a suspended
    /// account. A second call changes nothing; after a failure the same call continues.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn mark_accounts_suspended(&self, tenant: &str, suspended: bool) -> Result<(), Error> {
        let mut after = None;
        loop {
            let (page, next) = self.accounts(tenant, ACCOUNTS_PER_QUERY, after.as_deref()).await?;
            let marked = self.suspended_accounts(tenant, &page).await?;
            let wrong: Vec<_> =
                page.iter().filter(|account| marked.contains(&account.app_id) != suspended).collect();
            for some in wrong.chunks(CONCURRENT_MARKS) {
                let marks =
                    some.iter().map(|account| self.mark_suspended(tenant, &account.app_id, suspended));
                join_all(marks).await.into_iter().collect::<Result<Vec<()>, _>>()?;
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Those of a page of accounts whose mark says that `tenant` is suspended.
    async fn suspended_accounts(
        &self,
        tenant: &str,
        page: &[AccountRecord],
    ) -> Result<HashSet<String>, Error> {
        let wanted: Vec<_> = page.iter().map(|account| keys::suspension(&account.app_id)).collect();
        let mut marked = HashSet::new();
        for item in self.get_many(&self.platform, &wanted).await? {
            let app_id = item.get("pk").and_then(|pk| pk.as_s().ok()).and_then(|pk| keys::account_of(pk));
            let app_id = app_id.map(str::to_owned);
            if from_item::<SuspensionMark>(item)?.tenant_id == tenant {
                marked.extend(app_id);
            }
        }
        Ok(marked)
    }

    async fn mark_suspended(&self, tenant: &str, app_id: &str, suspended: bool) -> Result<(), Error> {
        let key = keys::suspension(app_id);
        if suspended {
            let mark = to_item(&key, &SuspensionMark { tenant_id: tenant.to_owned() }, None)?;
            // unless the account was transferred since: the mark would never be removed
            let still_its_account = self.still_its_account(tenant, app_id)?;
            self.transact(vec![put_action(&self.platform, mark, None)?, still_its_account]).await?;
        } else {
            // unless it is another tenant's mark by now
            self.delete_if(&self.platform, &key, "tenant_id = :its", &[(":its", s(tenant))]).await?;
        }
        self.evict_account(app_id);
        Ok(())
    }

    /// Erases the keys, accounts and rules of a deleted tenant. A second call continues the first.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn erase_access(&self, tenant: &str) -> Result<(), Error> {
        self.erase_keys(tenant).await?;
        let mut after = None;
        loop {
            let (page, next) = self.accounts(tenant, ACCOUNTS_PER_QUERY, after.as_deref()).await?;
            for account in page {
                let app_id = &account.app_id;
                // unless another tenant has the account by now
                let its = Some(("tenant_id = :its", Attributes::from([(":its".into(), s(tenant))])));
                let mut actions = vec![delete_action(&self.platform, &keys::account(app_id), its)?];
                for key in [
                    keys::tenant_account(tenant, app_id),
                    keys::reply_rules(app_id),
                    keys::suspension(app_id),
                ] {
                    actions.push(delete_action(&self.platform, &key, None)?);
                }
                self.transact(actions).await?;
                self.evict_account(app_id);
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Marks a tenant as deleted: from then on nothing is bound to it, and it is to be erased. A second call
    /// returns the same.
    ///
    /// # Errors
    /// [`Error::Store`], also after losing [`MAX_WRITE_ATTEMPTS`] races.
    pub async fn delete_tenant(&self, id: &str) -> Result<TenantDeletion, Error> {
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let Some(mut tenant) = self.tenant(id).await? else { return Ok(TenantDeletion::NotFound) };
            match tenant.status {
                TenantStatus::Deleted => return Ok(TenantDeletion::Deleted(tenant)),
                TenantStatus::Active => return Ok(TenantDeletion::StillActive),
                TenantStatus::Suspended => {}
            }
            if self.has_bound_account(id).await? {
                return Ok(TenantDeletion::StillActive);
            }
            // the same revision: it was suspended since it was read, so nothing was bound meanwhile
            let update = Update::new()
                .set("status", to_attr(&TenantStatus::Deleted)?)
                .add("revision", n(1))
                .when("revision = :seen", &[(":seen", n(tenant.revision))]);
            if self.update(&self.platform, &keys::tenant(id), update).await?.is_done() {
                self.clear_key_cache();
                tenant.status = TenantStatus::Deleted;
                return Ok(TenantDeletion::Deleted(tenant));
            }
        }
        Err(StoreError::Contended("a tenant is being changed by several at once").into())
    }
}

/// A check in a transaction that binds: the tenant must not be suspended or deleted. A tenant that is not
/// stored, as in tests, passes.
pub(super) fn check_tenant_active(table: &str, tenant: &str) -> Result<TransactWriteItem, Error> {
    let active = to_attr(&TenantStatus::Active)?;
    let condition = "attribute_not_exists(#status) OR #status = :active";
    check_action(table, &keys::tenant(tenant), condition, &["status"], &[(":active", active)])
}

/// A mark that an account's tenant is suspended, stored beside the account: a push finds both in one read.
#[derive(Serialize, Deserialize)]
pub(super) struct SuspensionMark {
    /// The tenant that had it then: an account may become another tenant's.
    pub tenant_id: String,
}

/// An entry of the list of tenants.
#[derive(Serialize, Deserialize)]
struct TenantListEntry {
    id: String,
}
