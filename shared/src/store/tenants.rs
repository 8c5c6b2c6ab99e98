//! Tenants: the companies that use the hub, and where each stands.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Store,
    api_keys::ApiKey,
    keys,
    table::{
        Attributes, Query, Update, any, check_action, delete_action, item, n, put_action, read, read_each, s,
    },
};
use crate::{error::Error, secret::Secret};

/// A tenant's time zone unless it has set another (contract 6.32).
pub const DEFAULT_ZONE: &str = "Asia/Shanghai";
/// Accounts looked at in one request.
const ACCOUNTS_PAGE: u32 = 100;
/// How often a change that lost a race is decided anew.
const RACES: usize = 4;

/// Where a tenant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TenantStatus {
    /// Its keys open the API, and its messages go out.
    #[default]
    Active,
    /// Its keys open nothing and nothing is sent for it; what is pushed to its accounts is stored.
    Suspended,
    /// It is being erased.
    Deleted,
}

/// A company that uses the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// `ten_…`.
    pub id: String,
    /// What it calls itself.
    pub name: String,
    /// IANA name of where it is.
    #[serde(default = "default_zone")]
    pub time_zone: String,
    /// Where it stands.
    #[serde(default)]
    pub status: TenantStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// Counts what must not happen at once: changes of status, and revocations of keys.
    #[serde(default)]
    pub revision: u64,
}

fn default_zone() -> String {
    DEFAULT_ZONE.to_owned()
}

/// What of a tenant is to be changed.
#[derive(Debug, Clone, Default)]
pub struct TenantChange {
    /// Its name.
    pub name: Option<String>,
    /// Its time zone.
    pub time_zone: Option<String>,
    /// [`TenantStatus::Active`] or [`TenantStatus::Suspended`].
    pub status: Option<TenantStatus>,
}

/// What became of a tenant's deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantDeleted {
    /// It is `deleted`, now or before, and is to be erased.
    Yes(Tenant),
    /// It is not suspended, or has a bound account.
    Active,
    /// There is none.
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
            vec![put_action(&self.platform, item(&keys::tenant(&tenant.id), tenant, None)?, new)?];
        actions.push(self.list_tenant(&tenant.id)?);
        actions.extend(self.key_actions(key, secret)?);
        self.transact(actions).await.map(drop) // refused: an earlier try made it
    }

    /// Puts a tenant on the list of all.
    pub(super) fn list_tenant(&self, id: &str) -> Result<TransactWriteItem, Error> {
        put_action(&self.platform, item(&keys::listed_tenant(id), &Listed { id: id.to_owned() }, None)?, None)
    }

    /// A tenant by its id, deleted or not; [`None`] for one that is erased.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn tenant(&self, id: &str) -> Result<Option<Tenant>, Error> {
        self.get(&self.platform, &keys::tenant(id)).await
    }

    /// Whether there is more than one tenant, as of a moment ago.
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

    /// A page of tenants in the order in which they were made, after `after`; and after which one there are more.
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
        let mut listed = page.items.into_iter().map(read::<Listed>).collect::<Result<Vec<_>, _>>()?;
        let more = listed.len() > limit as usize;
        listed.truncate(limit as usize);
        let next = listed.last().filter(|_| more).map(|last| last.id.clone());
        let wanted: Vec<_> = listed.iter().map(|one| keys::tenant(&one.id)).collect();
        let found = self.get_many(&self.platform, &wanted).await?;
        let mut found: Vec<Tenant> = read_each(found);
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
            .set_some("status", change.status.as_ref().map(any).transpose()?);
        if update.is_empty() {
            return Ok(self.tenant(id).await?.filter(|tenant| tenant.status != TenantStatus::Deleted));
        }
        if change.status.is_some() {
            update = update.add("revision", n(1));
        }
        let update = update.when(
            "attribute_exists(pk) AND (attribute_not_exists(#status) OR #status <> :deleted)",
            &[(":deleted", any(&TenantStatus::Deleted)?)],
        );
        // by its token a transaction is known again where its answer is lost, so that the revision counts it once
        let changed = self.transact(vec![update.action(&self.platform, &keys::tenant(id))?]).await?;
        self.forget_keys();
        if changed { self.tenant(id).await } else { Ok(None) }
    }

    /// Tells each account of a tenant where its tenant stands, so that nothing is sent for it while that is suspended.
    /// A second call changes nothing; where one fails, the same again goes on.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn tell_accounts(&self, tenant: &str, suspended: bool) -> Result<(), Error> {
        let mut after = None;
        loop {
            let (page, next) = self.accounts(tenant, ACCOUNTS_PAGE, after.as_deref()).await?;
            for account in page {
                let key = keys::suspended(&account.app_id);
                if suspended {
                    let mark = item(&key, &Suspended { tenant_id: tenant.to_owned() }, None)?;
                    // unless it was given away since: nobody would take the mark off
                    let its = check_action(
                        &self.platform,
                        &keys::account(&account.app_id),
                        "tenant_id = :its AND (attribute_not_exists(#deleted) OR #deleted = :no)",
                        &["deleted"],
                        &[(":its", s(tenant)), (":no", AttributeValue::Bool(false))],
                    )?;
                    self.transact(vec![put_action(&self.platform, mark, None)?, its]).await?;
                } else {
                    self.transact(vec![delete_action(&self.platform, &key, None)?]).await?;
                }
                self.forget_account(&account.app_id);
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Erases the keys, accounts and rules of a tenant that is deleted. A second call goes on where one died.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn erase_access(&self, tenant: &str) -> Result<(), Error> {
        self.erase_keys(tenant).await?;
        let mut after = None;
        loop {
            let (page, next) = self.accounts(tenant, ACCOUNTS_PAGE, after.as_deref()).await?;
            for account in page {
                let app_id = &account.app_id;
                // unless somebody else has it by now
                let its = Some(("tenant_id = :its", Attributes::from([(":its".into(), s(tenant))])));
                let mut actions = vec![delete_action(&self.platform, &keys::account(app_id), its)?];
                for key in
                    [keys::tenant_account(tenant, app_id), keys::reply_rules(app_id), keys::suspended(app_id)]
                {
                    actions.push(delete_action(&self.platform, &key, None)?);
                }
                self.transact(actions).await?;
                self.forget_account(app_id);
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Marks a tenant as deleted: from then on nothing is bound to it, and it is to be erased. A second call answers
    /// the same.
    ///
    /// # Errors
    /// [`Error::Store`], also after losing [`RACES`] races.
    pub async fn delete_tenant(&self, id: &str) -> Result<TenantDeleted, Error> {
        for _ in 0..RACES {
            let Some(mut tenant) = self.tenant(id).await? else { return Ok(TenantDeleted::NotFound) };
            match tenant.status {
                TenantStatus::Deleted => return Ok(TenantDeleted::Yes(tenant)),
                TenantStatus::Active => return Ok(TenantDeleted::Active),
                TenantStatus::Suspended => {}
            }
            if self.has_bound_account(id).await? {
                return Ok(TenantDeleted::Active);
            }
            // the revision says that it was suspended since it was read, so that nothing was bound meanwhile
            let update = Update::new()
                .set("status", any(&TenantStatus::Deleted)?)
                .add("revision", n(1))
                .when("revision = :seen", &[(":seen", n(tenant.revision))]);
            if self.update(&self.platform, &keys::tenant(id), update).await?.done() {
                self.forget_keys();
                tenant.status = TenantStatus::Deleted;
                return Ok(TenantDeleted::Yes(tenant));
            }
        }
        Err(Error::Store("a tenant is being changed by several at once".into()))
    }
}

/// Part of a transaction: nothing becomes bound to a tenant that is suspended or deleted. One that is not stored, as in
/// tests, stands.
pub(super) fn stands(table: &str, tenant: &str) -> Result<TransactWriteItem, Error> {
    let active = any(&TenantStatus::Active)?;
    let condition = "attribute_not_exists(#status) OR #status = :active";
    check_action(table, &keys::tenant(tenant), condition, &["status"], &[(":active", active)])
}

/// Beside an account: its tenant is suspended. It lies there so that a push finds it with the account, in one read.
#[derive(Serialize, Deserialize)]
pub(super) struct Suspended {
    /// Whose it was then: an account may become another tenant's.
    pub tenant_id: String,
}

/// An entry of the list of tenants.
#[derive(Serialize, Deserialize)]
struct Listed {
    id: String,
}
