//! Tenants: the companies that use the hub, and their state.

use super::{
    accounts::Accounts,
    api_keys::ApiKeys,
    dynamo::{
        Attributes,
        actions::{delete_action, put_action},
        database::Database,
        from_item, n,
        query::Query,
        read_valid, s, to_attr, to_item,
        update::Update,
    },
    keys,
    tenant_items::{TenantListEntry, list_tenant_action, read_tenant},
};
use crate::{
    error::{Error, StoreError},
    model::{
        api_key::ApiKey,
        tenant::{Tenant, TenantStatus},
    },
    secret::Secret,
};

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

/// The tenants.
#[derive(Clone, Copy)]
pub struct Tenants<'a> {
    pub(super) db: &'a Database,
    pub(super) accounts: Accounts<'a>,
    pub(super) keys: ApiKeys<'a>,
}

impl Tenants<'_> {
    /// Stores a tenant with its first key. A second call with the same tenant changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn create(self, tenant: &Tenant, key: &ApiKey, secret: &Secret) -> Result<(), Error> {
        let new = Some(("attribute_not_exists(pk)", Attributes::new()));
        let mut actions =
            vec![put_action(&self.db.platform, to_item(&keys::tenant(&tenant.id), tenant, None)?, new)?];
        actions.push(list_tenant_action(self.db, &tenant.id)?);
        actions.extend(self.keys.create_actions(key, secret)?);
        self.db.transact(actions).await.map(drop) // false: an earlier attempt made it
    }

    /// A tenant by its id, deleted or not; [`None`] for one that is erased.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get(self, id: &str) -> Result<Option<Tenant>, Error> {
        read_tenant(self.db, id).await
    }

    /// Whether there is more than one tenant; eventually consistent.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn has_several(self) -> Result<bool, Error> {
        let two = Query::on(&self.db.platform, keys::listed_tenant("").pk, 2);
        let page = self.db.query(two).await?;
        Ok(page.items.len() > 1)
    }

    /// A page of tenants, oldest first, after `after`; and the id after which there are more.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(self, limit: u32, after: Option<&str>) -> Result<(Vec<Tenant>, Option<String>), Error> {
        let page_limit = i32::try_from(limit + 1).unwrap_or(i32::MAX);
        let listed = Query::on(&self.db.platform, keys::listed_tenant("").pk, page_limit)
            .after(after.filter(|id| !id.is_empty()).unwrap_or(" "));
        let page = self.db.query(listed).await?;
        let mut listed =
            page.items.into_iter().map(from_item::<TenantListEntry>).collect::<Result<Vec<_>, _>>()?;
        let more = listed.len() > limit as usize;
        listed.truncate(limit as usize);
        let next = listed.last().filter(|_| more).map(|last| last.id.clone());
        let wanted: Vec<_> = listed.iter().map(|one| keys::tenant(&one.id)).collect();
        let found = self.db.get_many(&self.db.platform, &wanted).await?;
        let mut found: Vec<Tenant> = read_valid(found);
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok((found, next))
    }

    /// Changes a tenant; [`None`] where there is none, or it is being deleted.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn change(self, id: &str, change: &TenantChange) -> Result<Option<Tenant>, Error> {
        let mut update = Update::new()
            .set_some("name", change.name.clone().map(s))
            .set_some("time_zone", change.time_zone.clone().map(s))
            .set_some("status", change.status.as_ref().map(to_attr).transpose()?);
        if update.is_empty() {
            return Ok(self.get(id).await?.filter(|tenant| tenant.status != TenantStatus::Deleted));
        }
        if change.status.is_some() {
            update = update.add("revision", n(1));
        }
        let update = update.when(
            "attribute_exists(pk) AND (attribute_not_exists(#status) OR #status <> :deleted)",
            &[(":deleted", to_attr(&TenantStatus::Deleted)?)],
        );
        // DynamoDB recognises a repeated transaction by its token: the revision is counted once
        let changed =
            self.db.transact(vec![update.into_action(&self.db.platform, &keys::tenant(id))?]).await?;
        self.keys.clear_cache();
        if changed { self.get(id).await } else { Ok(None) }
    }

    /// Erases the keys, accounts and rules of a deleted tenant. A second call continues the first.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn erase_access(self, tenant: &str) -> Result<(), Error> {
        self.keys.erase_all(tenant).await?;
        let mut after = None;
        loop {
            let (page, next) = self.accounts.list(tenant, ACCOUNTS_PER_QUERY, after.as_deref()).await?;
            for account in page {
                let app_id = &account.app_id;
                // unless another tenant has the account by now
                let its = Some(("tenant_id = :its", Attributes::from([(":its".into(), s(tenant))])));
                let mut actions = vec![delete_action(&self.db.platform, &keys::account(app_id), its)?];
                for key in [
                    keys::tenant_account(tenant, app_id),
                    keys::reply_rules(app_id),
                    keys::suspension(app_id),
                ] {
                    actions.push(delete_action(&self.db.platform, &key, None)?);
                }
                self.db.transact(actions).await?;
                self.accounts.cache.evict(app_id);
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
    pub async fn delete(self, id: &str) -> Result<TenantDeletion, Error> {
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let Some(mut tenant) = self.get(id).await? else { return Ok(TenantDeletion::NotFound) };
            match tenant.status {
                TenantStatus::Deleted => return Ok(TenantDeletion::Deleted(tenant)),
                TenantStatus::Active => return Ok(TenantDeletion::StillActive),
                TenantStatus::Suspended => {}
            }
            if self.accounts.has_bound(id).await? {
                return Ok(TenantDeletion::StillActive);
            }
            // the same revision: it was suspended since it was read, so nothing was bound meanwhile
            let update = Update::new()
                .set("status", to_attr(&TenantStatus::Deleted)?)
                .add("revision", n(1))
                .when("revision = :seen", &[(":seen", n(tenant.revision))]);
            if self.db.update(&self.db.platform, &keys::tenant(id), update).await?.is_done() {
                self.keys.clear_cache();
                tenant.status = TenantStatus::Deleted;
                return Ok(TenantDeletion::Deleted(tenant));
            }
        }
        Err(StoreError::Contended("a tenant is being changed by several at once").into())
    }
}
