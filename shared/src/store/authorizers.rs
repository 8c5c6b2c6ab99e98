//! Accounts' tokens, from their authorization on.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};

use super::{
    dynamo::{
        Attributes, conditional_write::ConditionalWrite, database::Database, from_item, n, s, update::Update,
    },
    keys,
    refresh_wheel::set_due,
    token_leases::{Lease, has_token, lease_update, read_lease, release_update, set_token},
};
use crate::{
    error::{Error, StoreError},
    model::{
        credentials::{AccessToken, AuthorizerCredentials, TokenRefusal},
        token::Due,
    },
    secret::Secret,
};

/// Attribute of an account's credentials: which call stored the last authorization.
const AUTHORIZED_BY: &str = "authorized_by";
/// No other authorization and no other token was stored since these were read, even where they were deleted
/// meanwhile and the versions began again.
const IF_UNCHANGED: &str = "(attribute_not_exists(version) OR version = :seen) \
     AND (attribute_not_exists(authorized_by) OR authorized_by = :by)";
/// How long an unbound account's tokens are kept: a mistaken `unauthorized` is corrected within days.
const UNBOUND_RETENTION_SECONDS: i64 = 7 * 24 * 3600;

/// The tokens of accounts.
#[derive(Clone, Copy)]
pub struct Authorizers<'a> {
    pub(super) db: &'a Database,
}

impl Authorizers<'_> {
    /// Leases an account's token, on the same conditions.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn lease(
        self,
        app_id: &str,
        version: u64,
        owner: String,
    ) -> Result<Option<Lease<AuthorizerCredentials>>, Error> {
        let written = self
            .db
            .update(
                &self.db.credentials,
                &keys::authorizer(app_id),
                lease_update(self.db.clock.unix(), version, &owner),
            )
            .await?;
        read_lease(written, owner)
    }

    /// Replaces an account's token and its refresh token, if `owner` still holds the lease. With `due` as
    /// [`None`] the entry in the due index stays as it is.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_token(
        self,
        app_id: &str,
        owner: &str,
        token: &AccessToken,
        refresh_token: &Secret,
        due: Option<Due>,
    ) -> Result<bool, Error> {
        let mut update = set_token(Update::new(), token).set("refresh_token", s(refresh_token.expose()));
        if let Some(due) = due {
            update = set_due(update, app_id, due);
        }
        let update = update.when("lease_owner = :me", &[(":me", s(owner))]);
        let kept = self.db.update(&self.db.credentials, &keys::authorizer(app_id), update).await?;
        Ok(kept.or_done_if(|item| has_token(item, token)).is_done())
    }

    /// Ends a lease after a failure, and stores the refusal. Where the authorization is `gone`, WeChat is not
    /// asked again, and the next tick unbinds the account.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn release(
        self,
        app_id: &str,
        owner: &str,
        gone: bool,
        refusal: Option<TokenRefusal>,
    ) -> Result<(), Error> {
        let mut update = release_update(refusal);
        if gone {
            let now = self.db.clock.unix();
            update = set_due(update.set("gone_at", n(now)), app_id, Due::Sorted { unix_seconds: now });
        }
        let update = update.when("lease_owner = :me", &[(":me", s(owner))]);
        self.db.update(&self.db.credentials, &keys::authorizer(app_id), update).await.map(drop)
    }

    /// An account's credentials.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get(self, app_id: &str) -> Result<Option<AuthorizerCredentials>, Error> {
        self.db.get(&self.db.credentials, &keys::authorizer(app_id)).await
    }

    /// Stores the result of an authorization before its tenant is known: the account's binding
    /// ([`super::accounts`]) adds the tenant, and until then it is not refreshed. `code` is the fingerprint of the
    /// authorization code. It replaces what was stored: WeChat invalidates the older refresh token. A refresher loses
    /// its lease. Repeated by the SDK it changes nothing: the token may be newer. Returns what is stored.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_authorization(
        self,
        app_id: &str,
        code: &str,
        token: Option<&AccessToken>,
        refresh_token: &Secret,
    ) -> Result<AuthorizerCredentials, Error> {
        let owner = self.db.new_writer_id();
        let update = authorization_update(code, token, refresh_token)
            .set(AUTHORIZED_BY, owner.to_attr())
            .when("attribute_not_exists(authorized_by) OR authorized_by <> :me", &[(":me", owner.to_attr())]);
        let written = self.db.update(&self.db.credentials, &keys::authorizer(app_id), update).await?;
        match written.or_written_by(AUTHORIZED_BY, owner) {
            ConditionalWrite::Done(item) => from_item(item),
            ConditionalWrite::ConditionFailed(_) => {
                Err(StoreError::Unavailable("the stored tokens were not answered".into()).into())
            }
        }
    }

    /// The same for what WeChat answered after `seen` was read, which is none where nothing was stored. What
    /// was stored since is newer and stays; returns none then.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_authorization_if_unchanged(
        self,
        app_id: &str,
        seen: Option<&AuthorizerCredentials>,
        code: &str,
        token: Option<&AccessToken>,
        refresh_token: &Secret,
    ) -> Result<Option<AuthorizerCredentials>, Error> {
        let owner = self.db.new_writer_id();
        let update = authorization_update(code, token, refresh_token)
            .set(AUTHORIZED_BY, owner.to_attr())
            .when(IF_UNCHANGED, &unchanged_values(seen));
        let written = self.db.update(&self.db.credentials, &keys::authorizer(app_id), update).await?;
        match written.or_written_by(AUTHORIZED_BY, owner) {
            ConditionalWrite::Done(item) => from_item(item).map(Some),
            ConditionalWrite::ConditionFailed(_) => Ok(None),
        }
    }

    /// Deletes an account's tokens, if they are as they were read and the account is not bound.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn delete_unbound(self, app_id: &str, seen: &AuthorizerCredentials) -> Result<(), Error> {
        let condition = format!("{IF_UNCHANGED} AND attribute_not_exists(due)");
        let values = unchanged_values(Some(seen));
        self.db.delete_if(&self.db.credentials, &keys::authorizer(app_id), &condition, &values).await
    }

    /// The write by which an account's tokens become a tenant's, as part of its binding: they are refreshed
    /// from now on, whatever WeChat answered before.
    pub(super) fn bind_action(
        self,
        tenant: &str,
        app_id: &str,
        due: Due,
    ) -> Result<TransactWriteItem, Error> {
        let update = Update::new().set("tenant_id", s(tenant)).remove("ttl").remove("gone_at");
        set_due(update, app_id, due)
            .when("attribute_exists(refresh_token)", &[])
            .into_action(&self.db.credentials, &keys::authorizer(app_id))
    }

    /// The write by which an account's tokens end, as part of its unbinding: they are not refreshed any more,
    /// and are deleted after [`UNBOUND_RETENTION_SECONDS`]. A refresher at work is no longer the lease's owner, so
    /// that it does not put them back on the wheel; the lease runs on, so that nobody refreshes beside it.
    pub(super) fn unbind_action(self, app_id: &str) -> Result<TransactWriteItem, Error> {
        Update::new()
            .remove("due")
            .remove("due_at")
            .remove("lease_owner")
            .set("ttl", n(self.db.clock.unix() + UNBOUND_RETENTION_SECONDS))
            .into_action(&self.db.credentials, &keys::authorizer(app_id))
    }

    /// Replaces a lost refresh token, if the account's is still `lost`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn recover_refresh_token(
        self,
        app_id: &str,
        lost: &Secret,
        found: &Secret,
    ) -> Result<bool, Error> {
        let update = Update::new()
            .set("refresh_token", s(found.expose()))
            .when("refresh_token = :lost", &[(":lost", s(lost.expose()))]);
        let kept = self.db.update(&self.db.credentials, &keys::authorizer(app_id), update).await?;
        let ours = |item: &Attributes| item.get("refresh_token").is_some_and(|now| *now == s(found.expose()));
        Ok(kept.or_done_if(ours).is_done())
    }
}

fn authorization_update(code: &str, token: Option<&AccessToken>, refresh_token: &Secret) -> Update {
    let update =
        Update::new().set("refresh_token", s(refresh_token.expose())).set("code", s(code)).remove("gone_at");
    match token {
        Some(token) => set_token(update, token),
        None => {
            let update = update.add("version", n(1)).remove("token").remove("lease_until");
            update.remove("lease_owner").remove("refused_until").remove("refused_wait")
        }
    }
}

/// The values of [`IF_UNCHANGED`].
fn unchanged_values(seen: Option<&AuthorizerCredentials>) -> [(&'static str, AttributeValue); 2] {
    let by = seen.map_or("", |seen| seen.authorized_by.as_str());
    [(":seen", n(seen.map_or(0, |seen| seen.version))), (":by", s(by))]
}
