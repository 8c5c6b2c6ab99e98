//! Bound accounts and their reply rules. A conditional write gives an account to one tenant only.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use serde::{Deserialize, Serialize};

use super::{
    Store,
    dynamo::{
        Attributes, Query, Update, check_action, delete_action, n, put_action, read_valid, s, to_attr,
        to_item,
    },
    keys, tenants,
};
use crate::{
    error::{Error, StoreError, serde_error_text},
    model::{
        account::{AccountRecord, AccountStatus},
        consent::{self, ConsentEffect},
        reply_rules::ReplyRules,
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

impl Store {
    /// A tenant's account.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn account(&self, tenant: &str, app_id: &str) -> Result<Option<AccountRecord>, Error> {
        Ok(self.account_of_any_tenant(app_id).await?.filter(|a| a.tenant_id == tenant && !a.deleted))
    }

    /// The account of a callback or a token, whichever tenant has it; deleted ones too.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn account_of_any_tenant(&self, app_id: &str) -> Result<Option<AccountRecord>, Error> {
        self.get(&self.platform, &keys::account(app_id)).await
    }

    /// A page of a tenant's accounts, by app id, after `after`; and the id after which there are more.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn accounts(
        &self,
        tenant: &str,
        limit: u32,
        after: Option<&str>,
    ) -> Result<(Vec<AccountRecord>, Option<String>), Error> {
        let from = keys::tenant_account(tenant, after.unwrap_or_default());
        let page = self
            .query(Query {
                table: &self.platform,
                index: None,
                consistent: true,
                condition: "pk = :pk AND begins_with(sk, :prefix)",
                names: &[],
                values: &[(":pk", s(&from.pk)), (":prefix", s(keys::TENANT_ACCOUNT_PREFIX))],
                descending: false,
                limit: i32::try_from(limit + 1).unwrap_or(i32::MAX),
                start: after.map(|_| from.attributes()),
            })
            .await?;
        let mut app_ids: Vec<_> =
            page.items.iter().filter_map(|i| i.get("app_id").and_then(|v| v.as_s().ok())).collect();
        let more = app_ids.len() > limit as usize;
        app_ids.truncate(limit as usize);
        let next = app_ids.last().filter(|_| more).map(|id| (*id).clone());
        let keys: Vec<_> = app_ids.into_iter().map(|id| keys::account(id)).collect();
        let mut found: Vec<AccountRecord> = read_valid(self.get_many(&self.platform, &keys).await?);
        found.retain(|a| a.tenant_id == tenant && !a.deleted);
        found.sort_by(|a, b| a.app_id.cmp(&b.app_id));
        Ok((found, next))
    }

    /// Whether any of a tenant's accounts is bound.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn has_bound_account(&self, tenant: &str) -> Result<bool, Error> {
        let mut after = None;
        loop {
            let (page, next) = self.accounts(tenant, ACCOUNTS_PER_QUERY, after.as_deref()).await?;
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
    pub async fn bind_account(
        &self,
        mut account: AccountRecord,
        page: Option<consent::ConsentPage<'_>>,
        due: Due,
    ) -> Result<BindResult, Error> {
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let before = self.account_of_any_tenant(&account.app_id).await?;
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
                actions.push(update.into_action(&self.platform, &keys::counters())?);
                actions.push(tenants::check_tenant_active(&self.platform, &account.tenant_id)?);
            }
            if self.transact(actions).await? {
                self.evict_account(&account.app_id);
                return Ok(BindResult::Bound { before: before.filter(|_| !newly).map(Box::new) });
            }
            let tenant = self.tenant(&account.tenant_id).await?;
            if newly && tenant.is_some_and(|tenant| tenant.status != TenantStatus::Active) {
                return Ok(BindResult::Refused(ConsentEffect::TenantSuspended));
            }
            if self.authorizer(&account.app_id).await?.is_none_or(|tokens| tokens.refresh_token.is_empty()) {
                return Ok(BindResult::TokensGone);
            }
        }
        Err(StoreError::Contended("an account is being bound by several at once").into())
    }

    /// The writes of a binding: the account, if it is still as `before`; the tenant's pointer; its tokens.
    fn account_actions(
        &self,
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
            put_action(&self.platform, new, Some(condition))?,
            put_action(&self.platform, pointer, None)?,
            self.bind_tokens_action(&account.tenant_id, &account.app_id, due)?,
        ])
    }

    /// Transfers a bound account from `owner`, as it was read, to `account.tenant_id` in one transaction.
    /// Returns false where it changed meanwhile, its tokens are gone, or that tenant is suspended or deleted.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn transfer_account(
        &self,
        owner: &AccountRecord,
        mut account: AccountRecord,
        due: Due,
    ) -> Result<bool, Error> {
        account.revision = owner.revision + 1;
        let mut actions = self.account_actions(&account, Some(owner), due)?;
        // the former owner's pointer stays, leading to nothing: bind pages may not delete in this table
        actions.push(tenants::check_tenant_active(&self.platform, &account.tenant_id)?);
        let done = self.transact(actions).await?;
        self.evict_account(&account.app_id);
        Ok(done)
    }

    /// Marks an account as unbound at `at`, which WeChat confirmed when it was asked at `asked_at`, unless
    /// WeChat confirmed the authorization in that second or later. Its tokens are not refreshed any more;
    /// everything else is kept. Returns whether anything changed.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn unbind_account(&self, app_id: &str, at: i64, asked_at: i64) -> Result<bool, Error> {
        let update = Update::new()
            .set("status", to_attr(&AccountStatus::Unbound)?)
            .set("unbound_at", n(at))
            .add("revision", n(1))
            .when(
                "#status = :bound AND bound_at <= :asked \
                 AND (attribute_not_exists(authorized_at) OR authorized_at < :asked)",
                &[(":bound", to_attr(&AccountStatus::Bound)?), (":asked", n(asked_at))],
            )
            .into_action(&self.platform, &keys::account(app_id))?;
        let counter =
            Update::new().add("accounts_bound", n(-1)).into_action(&self.platform, &keys::counters())?;
        let changed = self.transact(vec![update, counter, self.unbind_tokens_action(app_id)?]).await?;
        self.evict_account(app_id);
        Ok(changed)
    }

    /// Releases an unbound account for other tenants. Its fans and events stay this tenant's.
    ///
    /// # Errors
    /// [`Error::Store`], also after losing [`MAX_WRITE_ATTEMPTS`] races.
    pub async fn delete_account(&self, tenant: &str, app_id: &str) -> Result<AccountDeletion, Error> {
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let Some(account) = self.account(tenant, app_id).await? else {
                return Ok(AccountDeletion::NotFound);
            };
            if let Some(deleted) = self.try_delete(&account).await? {
                return Ok(deleted);
            }
        }
        Err(StoreError::Contended("an account is being changed by several at once").into())
    }

    /// As [`Store::delete_account`], by the operator, for whichever tenant has it. Returns that tenant too.
    ///
    /// # Errors
    /// [`Error::Store`], also after losing [`MAX_WRITE_ATTEMPTS`] races.
    pub async fn release_account(&self, app_id: &str) -> Result<(AccountDeletion, Option<String>), Error> {
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let account = self.account_of_any_tenant(app_id).await?.filter(|a| !a.deleted);
            let Some(account) = account else { return Ok((AccountDeletion::NotFound, None)) };
            if let Some(deleted) = self.try_delete(&account).await? {
                return Ok((deleted, Some(account.tenant_id)));
            }
        }
        Err(StoreError::Contended("an account is being changed by several at once").into())
    }

    /// Deletes an account as it was read; none where it has changed meanwhile.
    async fn try_delete(&self, account: &AccountRecord) -> Result<Option<AccountDeletion>, Error> {
        if account.status == AccountStatus::Bound {
            return Ok(Some(AccountDeletion::StillBound));
        }
        let app_id = &account.app_id;
        let update = Update::new()
            .set("deleted", AttributeValue::Bool(true))
            .add("revision", n(1))
            .when("revision = :seen", &[(":seen", n(account.revision))])
            .into_action(&self.platform, &keys::account(app_id))?;
        let pointer = delete_action(&self.platform, &keys::tenant_account(&account.tenant_id, app_id), None)?;
        // a mark that stayed would make the account suspended when its tenant binds it again
        let mark = delete_action(&self.platform, &keys::suspension(app_id), None)?;
        let freed = self.transact(vec![update, pointer, mark]).await?;
        self.evict_account(app_id);
        Ok(freed.then_some(AccountDeletion::Deleted))
    }

    /// A tenant's reply rules for an account; empty ones where none were set.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn reply_rules(&self, tenant: &str, app_id: &str) -> Result<ReplyRules, Error> {
        StoredRules::for_tenant(self.get(&self.platform, &keys::reply_rules(app_id)).await?, tenant)
    }

    /// Replaces a tenant's reply rules for its account. Returns whether it still has the account: another
    /// tenant's rules are not replaced.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_reply_rules(
        &self,
        tenant: &str,
        app_id: &str,
        rules: &ReplyRules,
    ) -> Result<bool, Error> {
        let rules = serde_json::to_string(rules).map_err(|e| Error::Item(serde_error_text(&e)))?;
        let stored = StoredRules { tenant_id: tenant.to_owned(), rules };
        let put = put_action(&self.platform, to_item(&keys::reply_rules(app_id), &stored, None)?, None)?;
        let is_stored = self.transact(vec![put, self.still_its_account(tenant, app_id)?]).await?;
        self.evict_account(app_id);
        Ok(is_stored)
    }

    /// The check, as part of a transaction, that a tenant has not deleted its account and no other has it by now.
    pub(super) fn still_its_account(&self, tenant: &str, app_id: &str) -> Result<TransactWriteItem, Error> {
        check_action(
            &self.platform,
            &keys::account(app_id),
            "tenant_id = :its AND (attribute_not_exists(#deleted) OR #deleted = :no)",
            &["deleted"],
            &[(":its", s(tenant)), (":no", AttributeValue::Bool(false))],
        )
    }

    /// How many accounts are bound, of all tenants.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn accounts_bound(&self) -> Result<u64, Error> {
        let counters = self.get::<PlatformCounters>(&self.platform, &keys::counters()).await?;
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
