//! Bound accounts and their reply rules. A conditional write gives an account to one tenant only.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use serde::{Deserialize, Serialize};

use super::{
    Store, keys,
    table::{Attributes, Query, Update, any, delete_action, item, n, put_action, read_each, s},
    tenants::{self, TenantStatus},
};
use crate::{
    error::{Error, unreadable},
    model::{
        account::{AccountStatus, AccountType},
        consent::{self, Claim, Standing},
        reply_rules::ReplyRules,
        token::Due,
    },
};

/// How often a write that lost a race is tried.
const RACES: usize = 4;
/// Accounts of a tenant read in one request.
const ACCOUNTS_PAGE: u32 = 100;

/// An account as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// WeChat's app id.
    pub app_id: String,
    /// The tenant that has it.
    pub tenant_id: String,
    /// `gh_…`: the `ToUserName` of its pushes.
    pub original_id: String,
    /// Shown name.
    pub name: String,
    /// WeChat id, often empty.
    pub alias: String,
    /// Head picture.
    pub avatar_url: String,
    /// Its own QR code; hotlink protected by WeChat.
    pub qr_code_url: String,
    /// The company behind it.
    pub principal_name: String,
    /// Service or subscription.
    pub account_type: AccountType,
    /// WeChat's verification, qualification at least.
    pub verified: bool,
    /// Whether it is bound.
    pub status: AccountStatus,
    /// WeChat's ids of the permission sets (`funcscope`) that were granted.
    pub granted: Vec<u32>,
    /// When it was bound (last), unix seconds.
    pub bound_at: i64,
    /// Fingerprint of the authorization code that bound it, or that renewed it from a page of its tenant;
    /// none in items of 0.1.
    #[serde(default)]
    pub bound_by: Option<String>,
    /// When WeChat last confirmed the authorization, unix seconds: an older `unauthorized` changes nothing. 0
    /// in items of 0.1, see [`AccountRecord::authorized_at`].
    #[serde(default, rename = "authorized_at")]
    pub authorized: i64,
    /// When its authorization was withdrawn, unix seconds.
    pub unbound_at: Option<i64>,
    /// Deleted by its tenant, or released by the operator: another tenant may bind it.
    #[serde(default)]
    pub deleted: bool,
    /// Counts the writes; each write is conditional on the revision that it read.
    pub revision: u64,
}

impl AccountRecord {
    /// When WeChat last confirmed the authorization, unix seconds.
    #[must_use]
    pub fn authorized_at(&self) -> i64 {
        self.authorized.max(self.bound_at)
    }

    /// What the decision about a consent needs of it.
    #[must_use]
    pub fn standing(&self) -> Standing<'_> {
        let bound = self.status == AccountStatus::Bound && !self.deleted;
        Standing { tenant: &self.tenant_id, bound, deleted: self.deleted, unbound_at: self.unbound_at }
    }
}

/// The result of an attempt to bind.
#[derive(Debug, PartialEq, Eq)]
pub enum Bound {
    /// It is bound to this tenant.
    Yes {
        /// The account as it was before; none where it was not bound.
        before: Option<Box<AccountRecord>>,
    },
    /// Nothing changed: never [`Claim::Binds`] or [`Claim::Renews`].
    No(Claim),
    /// The tokens are gone: a refused consent deleted them meanwhile.
    TokensGone,
}

/// The result of a deletion.
#[derive(Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone from the tenant's list.
    Yes,
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
        Ok(self.any_account(app_id).await?.filter(|a| a.tenant_id == tenant && !a.deleted))
    }

    /// The account of a callback or a token, whichever tenant has it; deleted ones too.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn any_account(&self, app_id: &str) -> Result<Option<AccountRecord>, Error> {
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
                values: &[(":pk", s(&from.pk)), (":prefix", s(keys::TENANT_ACCOUNT))],
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
        let mut found: Vec<AccountRecord> = read_each(self.get_many(&self.platform, &keys).await?);
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
            let (page, next) = self.accounts(tenant, ACCOUNTS_PAGE, after.as_deref()).await?;
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
    /// [`Error::Store`], also after losing [`RACES`] races.
    pub async fn bind_account(
        &self,
        mut account: AccountRecord,
        page: Option<consent::Page<'_>>,
        due: Due,
    ) -> Result<Bound, Error> {
        for _ in 0..RACES {
            let before = self.any_account(&account.app_id).await?;
            let newly = match consent::claim(page, before.as_ref().map(AccountRecord::standing)) {
                Claim::Binds => true,
                Claim::Renews if before.as_ref().is_some_and(|b| b.tenant_id == account.tenant_id) => false,
                Claim::Renews => return Ok(Bound::No(Claim::Nobody)), // it changed hands meanwhile
                no => return Ok(Bound::No(no)),
            };
            account.revision = before.as_ref().map_or(1, |b| b.revision + 1);
            if !newly && let Some(before) = &before {
                account.bound_at = before.bound_at;
                account.authorized = account.authorized.max(before.authorized_at());
                account.bound_by = account.bound_by.or_else(|| before.bound_by.clone());
            }
            let mut actions = self.account_actions(&account, before.as_ref(), due)?;
            if newly {
                let update = Update::new().add("accounts_bound", n(1));
                actions.push(update.action(&self.platform, &keys::counters())?);
                actions.push(tenants::stands(&self.platform, &account.tenant_id)?);
            }
            if self.transact(actions).await? {
                self.forget_account(&account.app_id);
                return Ok(Bound::Yes { before: before.filter(|_| !newly).map(Box::new) });
            }
            let tenant = self.tenant(&account.tenant_id).await?;
            if newly && tenant.is_some_and(|tenant| tenant.status != TenantStatus::Active) {
                return Ok(Bound::No(Claim::Suspended));
            }
            if self.authorizer(&account.app_id).await?.is_none_or(|tokens| tokens.refresh_token.is_empty()) {
                return Ok(Bound::TokensGone);
            }
        }
        Err(Error::Store("an account is being bound by several at once".into()))
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
        let new = item(&keys::account(&account.app_id), account, None)?;
        let pointer = keys::tenant_account(&account.tenant_id, &account.app_id);
        let pointer = item(&pointer, &Pointer { app_id: account.app_id.clone() }, None)?;
        Ok(vec![
            put_action(&self.platform, new, Some(condition))?,
            put_action(&self.platform, pointer, None)?,
            self.owned(&account.tenant_id, &account.app_id, due)?,
        ])
    }

    /// Transfers a bound account from `owner`, as it was read, to `account.tenant_id` in one transaction.
    /// Returns false where it changed meanwhile, its tokens are gone, or that tenant is suspended or deleted.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn hand_over_account(
        &self,
        owner: &AccountRecord,
        mut account: AccountRecord,
        due: Due,
    ) -> Result<bool, Error> {
        account.revision = owner.revision + 1;
        let mut actions = self.account_actions(&account, Some(owner), due)?;
        // the former owner's pointer stays, leading to nothing: bind pages may not delete in this table
        actions.push(tenants::stands(&self.platform, &account.tenant_id)?);
        let done = self.transact(actions).await?;
        self.forget_account(&account.app_id);
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
            .set("status", any(&AccountStatus::Unbound)?)
            .set("unbound_at", n(at))
            .add("revision", n(1))
            .when(
                "#status = :bound AND bound_at <= :asked \
                 AND (attribute_not_exists(authorized_at) OR authorized_at < :asked)",
                &[(":bound", any(&AccountStatus::Bound)?), (":asked", n(asked_at))],
            )
            .action(&self.platform, &keys::account(app_id))?;
        let counter = Update::new().add("accounts_bound", n(-1)).action(&self.platform, &keys::counters())?;
        let changed = self.transact(vec![update, counter, self.disowned(app_id)?]).await?;
        self.forget_account(app_id);
        Ok(changed)
    }

    /// Releases an unbound account for other tenants. Its fans and events stay this tenant's.
    ///
    /// # Errors
    /// [`Error::Store`], also after losing [`RACES`] races.
    pub async fn delete_account(&self, tenant: &str, app_id: &str) -> Result<Deleted, Error> {
        for _ in 0..RACES {
            let Some(account) = self.account(tenant, app_id).await? else { return Ok(Deleted::NotFound) };
            if let Some(deleted) = self.free(&account).await? {
                return Ok(deleted);
            }
        }
        Err(Error::Store("an account is being changed by several at once".into()))
    }

    /// As [`Store::delete_account`], by the operator, for whichever tenant has it. Returns that tenant too.
    ///
    /// # Errors
    /// [`Error::Store`], also after losing [`RACES`] races.
    pub async fn release_account(&self, app_id: &str) -> Result<(Deleted, Option<String>), Error> {
        for _ in 0..RACES {
            let account = self.any_account(app_id).await?.filter(|a| !a.deleted);
            let Some(account) = account else { return Ok((Deleted::NotFound, None)) };
            if let Some(deleted) = self.free(&account).await? {
                return Ok((deleted, Some(account.tenant_id)));
            }
        }
        Err(Error::Store("an account is being changed by several at once".into()))
    }

    /// Deletes an account as it was read; none where it has changed meanwhile.
    async fn free(&self, account: &AccountRecord) -> Result<Option<Deleted>, Error> {
        if account.status == AccountStatus::Bound {
            return Ok(Some(Deleted::StillBound));
        }
        let app_id = &account.app_id;
        let update = Update::new()
            .set("deleted", AttributeValue::Bool(true))
            .add("revision", n(1))
            .when("revision = :seen", &[(":seen", n(account.revision))])
            .action(&self.platform, &keys::account(app_id))?;
        let pointer = delete_action(&self.platform, &keys::tenant_account(&account.tenant_id, app_id), None)?;
        // a mark that stayed would make the account suspended when its tenant binds it again
        let mark = delete_action(&self.platform, &keys::suspended(app_id), None)?;
        let freed = self.transact(vec![update, pointer, mark]).await?;
        self.forget_account(app_id);
        Ok(freed.then_some(Deleted::Yes))
    }

    /// A tenant's reply rules for an account; empty ones where none were set.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn reply_rules(&self, tenant: &str, app_id: &str) -> Result<ReplyRules, Error> {
        StoredRules::of(self.get(&self.platform, &keys::reply_rules(app_id)).await?, tenant)
    }

    /// Replaces a tenant's reply rules for its account.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn put_reply_rules(&self, tenant: &str, app_id: &str, rules: &ReplyRules) -> Result<(), Error> {
        let rules = serde_json::to_string(rules).map_err(|e| Error::Item(unreadable(&e)))?;
        let stored = StoredRules { tenant_id: tenant.to_owned(), rules };
        self.put(&self.platform, item(&keys::reply_rules(app_id), &stored, None)?).await?;
        self.forget_account(app_id);
        Ok(())
    }

    /// How many accounts are bound, of all tenants.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn accounts_bound(&self) -> Result<u64, Error> {
        let counters = self.get::<Counters>(&self.platform, &keys::counters()).await?;
        Ok(counters.map_or(0, |c| c.accounts_bound))
    }
}

#[derive(Serialize, Deserialize)]
struct Pointer {
    app_id: String,
}

#[derive(Deserialize)]
struct Counters {
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
    pub(super) fn of(stored: Option<Self>, tenant: &str) -> Result<ReplyRules, Error> {
        match stored.filter(|s| s.tenant_id == tenant) {
            Some(stored) => serde_json::from_str(&stored.rules).map_err(|e| Error::Item(unreadable(&e))),
            None => Ok(ReplyRules::default()),
        }
    }
}
