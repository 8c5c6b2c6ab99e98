//! Bound accounts and their reply rules. One account belongs to one tenant, by conditional write.

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

/// How often a write that lost a race is decided anew.
const RACES: usize = 4;
/// Accounts of a tenant looked at in one request.
const ACCOUNTS_PAGE: u32 = 100;

/// An account as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// WeChat's app id.
    pub app_id: String,
    /// Whose it is.
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
    /// Whether the authorization stands.
    pub status: AccountStatus,
    /// WeChat's funcscope ids that were granted.
    pub granted: Vec<u32>,
    /// When it was bound (last), unix seconds.
    pub bound_at: i64,
    /// Fingerprint of the authorization code by which it is bound, or was renewed on a page of its tenant; none in items
    /// of 0.1.
    #[serde(default)]
    pub bound_by: Option<String>,
    /// When WeChat last said that its authorization stands, unix seconds: an older `unauthorized` changes nothing. 0 in
    /// items of 0.1, see [`AccountRecord::authorized_at`].
    #[serde(default, rename = "authorized_at")]
    pub authorized: i64,
    /// When its authorization was withdrawn, unix seconds.
    pub unbound_at: Option<i64>,
    /// Deleted by its tenant, or released by the operator: free for another.
    #[serde(default)]
    pub deleted: bool,
    /// Counts the writes; every write names the one that it read.
    pub revision: u64,
}

impl AccountRecord {
    /// When WeChat last said that its authorization stands, unix seconds.
    #[must_use]
    pub fn authorized_at(&self) -> i64 {
        self.authorized.max(self.bound_at)
    }

    /// For the decision about a consent.
    #[must_use]
    pub fn standing(&self) -> Standing<'_> {
        let bound = self.status == AccountStatus::Bound && !self.deleted;
        Standing { tenant: &self.tenant_id, bound, deleted: self.deleted, unbound_at: self.unbound_at }
    }
}

/// What became of a try to bind.
#[derive(Debug, PartialEq, Eq)]
pub enum Bound {
    /// It is this tenant's.
    Yes {
        /// As it was before; none where it was not bound.
        before: Option<Box<AccountRecord>>,
    },
    /// It is not, and nothing changed: never [`Claim::Binds`] or [`Claim::Renews`].
    No(Claim),
    /// Its tokens are gone: another consent was refused and took them with it.
    TokensGone,
}

/// What became of a deletion.
#[derive(Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone from the tenant's list.
    Yes,
    /// Its authorization still stands.
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

    /// The account of a callback or a token, whoever has it; deleted ones too.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn any_account(&self, app_id: &str) -> Result<Option<AccountRecord>, Error> {
        self.get(&self.platform, &keys::account(app_id)).await
    }

    /// A page of a tenant's accounts, by app id, after `after`; and after which one there are more.
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

    /// Binds an account to `account.tenant_id`, or renews what is bound to it, if a consent that began on `page` may do so;
    /// its tokens become the tenant's and are refreshed when they are `due`. Without a page it is renewed alone. Nothing
    /// becomes bound to a tenant that is suspended or deleted, however its pages were opened; what is bound to it is renewed.
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

    /// The account as it becomes, if it is still as `before`; that its tenant has it; and whose its tokens are.
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

    /// Hands a bound account over from `owner`, as it was read, to `account.tenant_id`, in one step. Answers false where it
    /// has changed meanwhile, its tokens are gone, or that tenant is suspended or deleted: then nothing has changed.
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
        // the entry in the former owner's list stays, and shows nothing: bind pages may delete nothing in this table
        actions.push(tenants::stands(&self.platform, &account.tenant_id)?);
        let done = self.transact(actions).await?;
        self.forget_account(&account.app_id);
        Ok(done)
    }

    /// Marks an account's authorization as withdrawn at `at`, which WeChat confirmed when it was asked at `asked_at`, unless
    /// it said in that second or later that it stands. Its tokens are refreshed no more; everything else is kept. Answers
    /// whether anything changed.
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

    /// Frees an unbound account for other tenants. Its fans and events stay this tenant's.
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

    /// The same by the operator, for whichever tenant has it. Answers that tenant too.
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

    /// Frees an account as it was read; none where it has changed meanwhile.
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
        // or it would be found suspended where its tenant binds it again after that
        let mark = delete_action(&self.platform, &keys::suspended(app_id), None)?;
        let freed = self.transact(vec![update, pointer, mark]).await?;
        self.forget_account(app_id);
        Ok(freed.then_some(Deleted::Yes))
    }

    /// A tenant's reply rules for an account; empty ones where it set none.
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

    /// How many accounts are bound, all tenants together.
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

/// Rules are kept as JSON text: a member of WeChat's that we do not know keeps its place and its type.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredRules {
    /// Whose: an account that was deleted may become another tenant's.
    tenant_id: String,
    rules: String,
}

impl StoredRules {
    /// Of the rules as JSON.
    pub(super) fn bytes(&self) -> usize {
        self.rules.len()
    }

    /// The rules of `tenant` alone.
    pub(super) fn of(stored: Option<Self>, tenant: &str) -> Result<ReplyRules, Error> {
        match stored.filter(|s| s.tenant_id == tenant) {
            Some(stored) => serde_json::from_str(&stored.rules).map_err(|e| Error::Item(unreadable(&e))),
            None => Ok(ReplyRules::default()),
        }
    }
}
