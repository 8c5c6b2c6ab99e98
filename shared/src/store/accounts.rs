//! Bound accounts. A conditional write gives an account to one tenant only.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use serde::{Deserialize, Serialize};

use super::{
    account_cache::AccountCache,
    authorizers::Authorizers,
    dynamo::{
        Attributes,
        actions::{check_action, delete_action, put_action},
        database::Database,
        n,
        query::Query,
        read_valid, s, to_attr, to_item,
        update::Update,
    },
    keys,
    tenant_items::{check_tenant_active, read_tenant},
};
use crate::{
    error::{Error, StoreError},
    model::{
        account::{AccountRecord, AccountStatus},
        consent::{self, ConsentEffect},
        tenant::TenantStatus,
        token::Due,
    },
};

/// How often a write that lost a race is tried.
const MAX_WRITE_ATTEMPTS: usize = 4;
/// Accounts of a tenant read in one request.
const ACCOUNTS_PER_QUERY: u32 = 100;

/// The result of an attempt to bind.
#[derive(Debug, PartialEq, Eq)]
pub enum BindResult {
    /// It is bound to this tenant.
    Bound {
        /// The account as it was before; none where it was not bound.
        before: Option<Box<AccountRecord>>,
    },
    /// Nothing changed: never [`ConsentEffect::Binds`] or [`ConsentEffect::Renews`].
    Refused(ConsentEffect),
    /// The tokens are gone: a refused consent deleted them meanwhile.
    TokensGone,
}

/// The result of a deletion.
#[derive(Debug, PartialEq, Eq)]
pub enum AccountDeletion {
    /// It is gone from the tenant's list.
    Deleted,
    /// It is still bound.
    StillBound,
    /// The tenant has no such account.
    NotFound,
}

/// The accounts of tenants.
#[derive(Clone, Copy)]
pub struct Accounts<'a> {
    pub(super) db: &'a Database,
    pub(super) cache: &'a AccountCache,
    pub(super) authorizers: Authorizers<'a>,
}

impl Accounts<'_> {
    /// A tenant's account.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get(self, tenant: &str, app_id: &str) -> Result<Option<AccountRecord>, Error> {
        Ok(self.of_any_tenant(app_id).await?.filter(|a| a.tenant_id == tenant && !a.deleted))
    }

    /// The account of a callback or a token, whichever tenant has it; deleted ones too.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn of_any_tenant(self, app_id: &str) -> Result<Option<AccountRecord>, Error> {
        self.db.get(&self.db.platform, &keys::account(app_id)).await
    }

    /// A page of a tenant's accounts, by app id, after `after`; and the id after which there are more.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(
        self,
        tenant: &str,
        limit: u32,
        after: Option<&str>,
    ) -> Result<(Vec<AccountRecord>, Option<String>), Error> {
        let from = keys::tenant_account(tenant, after.unwrap_or_default());
        let page_limit = i32::try_from(limit + 1).unwrap_or(i32::MAX);
        let pointers = Query::on(&self.db.platform, &from.pk, page_limit)
            .prefix(keys::TENANT_ACCOUNT_PREFIX)
            .start_behind(after.map(|_| from.attributes()));
        let page = self.db.query(pointers).await?;
        let mut app_ids: Vec<_> =
            page.items.iter().filter_map(|i| i.get("app_id").and_then(|v| v.as_s().ok())).collect();
        let more = app_ids.len() > limit as usize;
        app_ids.truncate(limit as usize);
        let next = app_ids.last().filter(|_| more).map(|id| (*id).clone());
        let keys: Vec<_> = app_ids.into_iter().map(|id| keys::account(id)).collect();
        let mut found: Vec<AccountRecord> = read_valid(self.db.get_many(&self.db.platform, &keys).await?);
        found.retain(|a| a.tenant_id == tenant && !a.deleted);
        found.sort_by(|a, b| a.app_id.cmp(&b.app_id));
        Ok((found, next))
    }

    /// Whether any of a tenant's accounts is bound.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn has_bound(self, tenant: &str) -> Result<bool, Error> {
        let mut after = None;
        loop {
            let (page, next) = self.list(tenant, ACCOUNTS_PER_QUERY, after.as_deref()).await?;
            if page.iter().any(|account| account.status == AccountStatus::Bound) {
                return Ok(true);
            }
            after = next;
            if after.is_none() {
                return Ok(false);
            }
        }
    }

    /// Binds an account to `account.tenant_id`, or renews it there, if a consent that began on `page` may do
    /// so. Its tokens become the tenant's and are refreshed when `due`. Without a page it can only be
    /// renewed. A suspended or deleted tenant gets no new account, whenever the page was opened.
    ///
    /// # Errors
    /// [`Error::Store`], also after losing [`MAX_WRITE_ATTEMPTS`] races.
    pub async fn bind(
        self,
        mut account: AccountRecord,
        page: Option<consent::ConsentPage<'_>>,
        due: Due,
    ) -> Result<BindResult, Error> {
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let before = self.of_any_tenant(&account.app_id).await?;
            let newly =
                match consent::effect_of_consent(page, before.as_ref().map(AccountRecord::for_consent)) {
                    ConsentEffect::Binds => true,
                    ConsentEffect::Renews
                        if before.as_ref().is_some_and(|b| b.tenant_id == account.tenant_id) =>
                    {
                        false
                    }
                    ConsentEffect::Renews => return Ok(BindResult::Refused(ConsentEffect::NoPage)), // another tenant has it by now
                    no => return Ok(BindResult::Refused(no)),
                };
            account.revision = before.as_ref().map_or(1, |b| b.revision + 1);
            if !newly && let Some(before) = &before {
                account.bound_at = before.bound_at;
                account.stored_authorized_at = account.stored_authorized_at.max(before.authorized_at());
                account.bound_by = account.bound_by.or_else(|| before.bound_by.clone());
            }
            let mut actions = self.account_actions(&account, before.as_ref(), due)?;
            if newly {
                let update = Update::new().add("accounts_bound", n(1));
                actions.push(update.into_action(&self.db.platform, &keys::counters())?);
                actions.push(check_tenant_active(self.db, &account.tenant_id)?);
            }
            if self.db.transact(actions).await? {
                self.cache.evict(&account.app_id);
                return Ok(BindResult::Bound { before: before.filter(|_| !newly).map(Box::new) });
            }
            let tenant = read_tenant(self.db, &account.tenant_id).await?;
            if newly && tenant.is_some_and(|tenant| tenant.status != TenantStatus::Active) {
                return Ok(BindResult::Refused(ConsentEffect::TenantSuspended));
            }
            if self
                .authorizers
                .get(&account.app_id)
                .await?
                .is_none_or(|tokens| tokens.refresh_token.is_empty())
            {
                return Ok(BindResult::TokensGone);
            }
        }
        Err(StoreError::Contended("an account is being bound by several at once").into())
    }

    /// The writes of a binding: the account, if it is still as `before`; the tenant's pointer; its tokens.
    fn account_actions(
        self,
        account: &AccountRecord,
        before: Option<&AccountRecord>,
        due: Due,
    ) -> Result<Vec<TransactWriteItem>, Error> {
        let condition = match before {
            None => ("attribute_not_exists(pk)", Attributes::new()),
            Some(b) => ("revision = :seen", Attributes::from([(":seen".into(), n(b.revision))])),
        };
        let new = to_item(&keys::account(&account.app_id), account, None)?;
        let pointer = keys::tenant_account(&account.tenant_id, &account.app_id);
        let pointer = to_item(&pointer, &TenantAccountPointer { app_id: account.app_id.clone() }, None)?;
        Ok(vec![
            put_action(&self.db.platform, new, Some(condition))?,
            put_action(&self.db.platform, pointer, None)?,
            self.authorizers.bind_action(&account.tenant_id, &account.app_id, due)?,
        ])
    }

    /// Transfers a bound account from `owner`, as it was read, to `account.tenant_id` in one transaction.
    /// Returns false where it changed meanwhile, its tokens are gone, or that tenant is suspended or deleted.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn transfer(
        self,
        owner: &AccountRecord,
        mut account: AccountRecord,
        due: Due,
    ) -> Result<bool, Error> {
        account.revision = owner.revision + 1;
        let mut actions = self.account_actions(&account, Some(owner), due)?;
        // the former owner's pointer stays, leading to nothing: bind pages may not delete in this table
        actions.push(check_tenant_active(self.db, &account.tenant_id)?);
        let done = self.db.transact(actions).await?;
        self.cache.evict(&account.app_id);
        Ok(done)
    }

    /// Marks an account as unbound at `at`, which WeChat confirmed when it was asked at `asked_at`, unless
    /// WeChat confirmed the authorization in that second or later. Its tokens are not refreshed any more;
    /// everything else is kept. Returns whether anything changed.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn unbind(self, app_id: &str, at: i64, asked_at: i64) -> Result<bool, Error> {
        let update = Update::new()
            .set("status", to_attr(&AccountStatus::Unbound)?)
            .set("unbound_at", n(at))
            .add("revision", n(1))
            .when(
                "#status = :bound AND bound_at <= :asked \
                 AND (attribute_not_exists(authorized_at) OR authorized_at < :asked)",
                &[(":bound", to_attr(&AccountStatus::Bound)?), (":asked", n(asked_at))],
            )
            .into_action(&self.db.platform, &keys::account(app_id))?;
        let counter =
            Update::new().add("accounts_bound", n(-1)).into_action(&self.db.platform, &keys::counters())?;
        let changed =
            self.db.transact(vec![update, counter, self.authorizers.unbind_action(app_id)?]).await?;
        self.cache.evict(app_id);
        Ok(changed)
    }

    /// Releases an unbound account for other tenants. Its fans and events stay this tenant's.
    ///
    /// # Errors
    /// [`Error::Store`], also after losing [`MAX_WRITE_ATTEMPTS`] races.
    pub async fn delete(self, tenant: &str, app_id: &str) -> Result<AccountDeletion, Error> {
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let Some(account) = self.get(tenant, app_id).await? else {
                return Ok(AccountDeletion::NotFound);
            };
            if let Some(deleted) = self.try_delete(&account).await? {
                return Ok(deleted);
            }
        }
        Err(StoreError::Contended("an account is being changed by several at once").into())
    }

    /// As [`Accounts::delete`], by the operator, for whichever tenant has it. Returns that tenant too.
    ///
    /// # Errors
    /// [`Error::Store`], also after losing [`MAX_WRITE_ATTEMPTS`] races.
    pub async fn release(self, app_id: &str) -> Result<(AccountDeletion, Option<String>), Error> {
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let account = self.of_any_tenant(app_id).await?.filter(|a| !a.deleted);
            let Some(account) = account else { return Ok((AccountDeletion::NotFound, None)) };
            if let Some(deleted) = self.try_delete(&account).await? {
                return Ok((deleted, Some(account.tenant_id)));
            }
        }
        Err(StoreError::Contended("an account is being changed by several at once").into())
    }

    /// Deletes an account as it was read; none where it has changed meanwhile.
    async fn try_delete(self, account: &AccountRecord) -> Result<Option<AccountDeletion>, Error> {
        if account.status == AccountStatus::Bound {
            return Ok(Some(AccountDeletion::StillBound));
        }
        let app_id = &account.app_id;
        let update = Update::new()
            .set("deleted", AttributeValue::Bool(true))
            .add("revision", n(1))
            .when("revision = :seen", &[(":seen", n(account.revision))])
            .into_action(&self.db.platform, &keys::account(app_id))?;
        let pointer =
            delete_action(&self.db.platform, &keys::tenant_account(&account.tenant_id, app_id), None)?;
        // a mark that stayed would make the account suspended when its tenant binds it again
        let mark = delete_action(&self.db.platform, &keys::suspension(app_id), None)?;
        let freed = self.db.transact(vec![update, pointer, mark]).await?;
        self.cache.evict(app_id);
        Ok(freed.then_some(AccountDeletion::Deleted))
    }

    /// How many accounts are bound, of all tenants.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn count_bound(self) -> Result<u64, Error> {
        let counters = self.db.get::<PlatformCounters>(&self.db.platform, &keys::counters()).await?;
        Ok(counters.map_or(0, |c| c.accounts_bound))
    }
}

#[derive(Serialize, Deserialize)]
struct TenantAccountPointer {
    app_id: String,
}

#[derive(Deserialize)]
struct PlatformCounters {
    accounts_bound: u64,
}

/// A check in a transaction: the tenant has not deleted its account, and no other has it by now.
pub(super) fn check_is_still_of(
    db: &Database,
    tenant: &str,
    app_id: &str,
) -> Result<TransactWriteItem, Error> {
    check_action(
        &db.platform,
        &keys::account(app_id),
        "tenant_id = :its AND (attribute_not_exists(#deleted) OR #deleted = :no)",
        &["deleted"],
        &[(":its", s(tenant)), (":no", AttributeValue::Bool(false))],
    )
}
