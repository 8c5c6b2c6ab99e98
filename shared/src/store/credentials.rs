//! Tickets and tokens. A lease makes sure that one refresher at a time replaces a token, and every write is
//! conditional on the version that was read.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};

use super::{
    Store,
    dynamo::{Attributes, ConditionalWrite, Query, Update, from_item, n, s},
    keys,
};
use crate::{
    error::{Error, StoreError},
    ids,
    model::{
        credentials::{AccessToken, AuthorizerCredentials, ComponentCredentials, TokenRefusal},
        token::Due,
    },
    secret::Secret,
};

/// How long a refresher may take before another takes over, seconds: as long as a function runs. No call
/// begins in a lease that could end after it.
pub const TOKEN_LEASE_SECONDS: i64 = 30;
/// How long an instance caches the component token, seconds: a batch of 25 accounts reads it once.
/// WeChat refuses one that was replaced meanwhile, and then it is read again.
const COMPONENT_CACHE_SECONDS: i64 = 5;
/// Attribute of an account's credentials: which call stored the last authorization.
const AUTHORIZED_BY: &str = "authorized_by";
/// No other authorization and no other token was stored since these were read, even where they were deleted
/// meanwhile and the versions began again.
const IF_UNCHANGED: &str = "(attribute_not_exists(version) OR version = :seen) \
     AND (attribute_not_exists(authorized_by) OR authorized_by = :by)";
/// Attribute of the component's credentials: who last asked WeChat for a ticket.
const PUSH_ASKED_BY: &str = "push_asked_by";
/// How long an unbound account's tokens are kept: a mistaken `unauthorized` is corrected within days.
const UNBOUND_RETENTION_SECONDS: i64 = 7 * 24 * 3600;
/// Accounts read in one query of the due index.
const DUE_PER_QUERY: i32 = 1_000;

/// The cached credentials of the component: (credentials, until).
pub type ComponentCache = tokio::sync::Mutex<Option<(ComponentCredentials, i64)>>;

/// The slot of an account's tokens on the wheel, if the due index has them there.
#[must_use]
pub fn wheel_slot(credentials: &AuthorizerCredentials) -> Option<u32> {
    keys::wheel_slot(credentials.due.as_deref()?)
}

/// A lease, with what was read when it was taken.
pub struct Lease<T> {
    /// Random; the write that ends the lease is conditional on it.
    pub owner: String,
    /// What was read with the lease.
    pub credentials: T,
}

impl Store {
    /// The platform's own credentials; empty before the first ticket.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn component(&self) -> Result<ComponentCredentials, Error> {
        Ok(self.get(&self.credentials, &keys::component()).await?.unwrap_or_default())
    }

    /// As [`Store::component`], but up to 5 s old. Concurrent callers share one read.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn cached_component(&self) -> Result<ComponentCredentials, Error> {
        let mut cache = self.component_cache.lock().await;
        let now = self.clock.unix();
        if let Some((credentials, until)) = &*cache
            && now < *until
        {
            return Ok(credentials.clone());
        }
        let credentials = self.component().await?;
        *cache = Some((credentials.clone(), now + COMPONENT_CACHE_SECONDS));
        Ok(credentials)
    }

    /// Stores a ticket unless a newer one is stored.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_ticket(&self, ticket: &Secret, at: i64) -> Result<(), Error> {
        let update = Update::new()
            .set("ticket", s(ticket.expose()))
            .set("ticket_at", n(at))
            .remove("refused_until")
            .remove("refused_wait")
            .when("attribute_not_exists(ticket_at) OR ticket_at <= :at", &[(":at", n(at))]);
        self.update(&self.credentials, &keys::component(), update).await.map(drop)
    }

    /// Returns whether to ask WeChat for a ticket now: true for one caller in `every` seconds.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn lease_ticket_push(&self, every: i64) -> Result<bool, Error> {
        let (now, owner) = (self.clock.unix(), self.new_writer_id());
        let update = Update::new().set("push_asked_at", n(now)).set(PUSH_ASKED_BY, owner.to_attr()).when(
            "attribute_not_exists(push_asked_at) OR push_asked_at <= :before",
            &[(":before", n(now - every))],
        );
        let written = self.update(&self.credentials, &keys::component(), update).await?;
        Ok(written.or_written_by(PUSH_ASKED_BY, owner).is_done())
    }

    /// Leases the component token, if it is not leased and still has this `version`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn lease_component(
        &self,
        version: u64,
        owner: String,
    ) -> Result<Option<Lease<ComponentCredentials>>, Error> {
        let written =
            self.update(&self.credentials, &keys::component(), self.lease_update(version, &owner)).await?;
        read_lease(written, owner)
    }

    /// Leases an account's token, on the same conditions.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn lease_authorizer(
        &self,
        app_id: &str,
        version: u64,
        owner: String,
    ) -> Result<Option<Lease<AuthorizerCredentials>>, Error> {
        let written = self
            .update(&self.credentials, &keys::authorizer(app_id), self.lease_update(version, &owner))
            .await?;
        read_lease(written, owner)
    }

    fn lease_update(&self, version: u64, owner: &str) -> Update {
        let now = self.clock.unix();
        Update::new().set("lease_until", n(now + TOKEN_LEASE_SECONDS)).set("lease_owner", s(owner)).when(
            "attribute_exists(pk) AND (attribute_not_exists(version) OR version = :seen) \
             AND (attribute_not_exists(lease_until) OR lease_until <= :now)",
            &[(":seen", n(version)), (":now", n(now))],
        )
    }

    /// Replaces the component token, if `owner` still holds the lease.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_component_token(&self, owner: &str, token: &AccessToken) -> Result<bool, Error> {
        let update = set_token(Update::new(), token).when("lease_owner = :me", &[(":me", s(owner))]);
        let kept = self.update(&self.credentials, &keys::component(), update).await?;
        let kept = kept.or_done_if(|item| has_token(item, token)).is_done();
        *self.component_cache.lock().await = None;
        Ok(kept)
    }

    /// Replaces an account's token and its refresh token, if `owner` still holds the lease. With `due` as
    /// [`None`] the entry in the due index stays as it is.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_authorizer_token(
        &self,
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
        let kept = self.update(&self.credentials, &keys::authorizer(app_id), update).await?;
        Ok(kept.or_done_if(|item| has_token(item, token)).is_done())
    }

    /// Gives a lease back after a failure, and remembers a refusal.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn release_component(&self, owner: &str, refusal: Option<TokenRefusal>) -> Result<(), Error> {
        let update = release_update(refusal);
        let update = update.when("lease_owner = :me", &[(":me", s(owner))]);
        self.update(&self.credentials, &keys::component(), update).await.map(drop)
    }

    /// Ends a lease after a failure, and stores the refusal. Where the authorization is `gone`, WeChat is not
    /// asked again, and the next tick unbinds the account.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn release_authorizer(
        &self,
        app_id: &str,
        owner: &str,
        gone: bool,
        refusal: Option<TokenRefusal>,
    ) -> Result<(), Error> {
        let mut update = release_update(refusal);
        if gone {
            let now = self.clock.unix();
            update = set_due(update.set("gone_at", n(now)), app_id, Due::Sorted { unix_seconds: now });
        }
        let update = update.when("lease_owner = :me", &[(":me", s(owner))]);
        self.update(&self.credentials, &keys::authorizer(app_id), update).await.map(drop)
    }

    /// An account's credentials.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn authorizer(&self, app_id: &str) -> Result<Option<AuthorizerCredentials>, Error> {
        self.get(&self.credentials, &keys::authorizer(app_id)).await
    }

    /// Stores the result of an authorization before its tenant is known: [`Store::bind_account`] adds the
    /// tenant, and until then it is not refreshed. `code` is the fingerprint of the authorization code. It
    /// replaces what was stored: WeChat invalidates the older refresh token. A refresher loses its lease.
    /// Repeated by the SDK it changes nothing: the token may be newer. Returns what is stored.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_authorization(
        &self,
        app_id: &str,
        code: &str,
        token: Option<&AccessToken>,
        refresh_token: &Secret,
    ) -> Result<AuthorizerCredentials, Error> {
        let owner = self.new_writer_id();
        let update = authorization_update(code, token, refresh_token)
            .set(AUTHORIZED_BY, owner.to_attr())
            .when("attribute_not_exists(authorized_by) OR authorized_by <> :me", &[(":me", owner.to_attr())]);
        let written = self.update(&self.credentials, &keys::authorizer(app_id), update).await?;
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
        &self,
        app_id: &str,
        seen: Option<&AuthorizerCredentials>,
        code: &str,
        token: Option<&AccessToken>,
        refresh_token: &Secret,
    ) -> Result<Option<AuthorizerCredentials>, Error> {
        let owner = self.new_writer_id();
        let update = authorization_update(code, token, refresh_token)
            .set(AUTHORIZED_BY, owner.to_attr())
            .when(IF_UNCHANGED, &unchanged_values(seen));
        let written = self.update(&self.credentials, &keys::authorizer(app_id), update).await?;
        match written.or_written_by(AUTHORIZED_BY, owner) {
            ConditionalWrite::Done(item) => from_item(item).map(Some),
            ConditionalWrite::ConditionFailed(_) => Ok(None),
        }
    }

    /// Deletes an account's tokens, if they are as they were read and the account is not bound.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn delete_unbound_authorizer(
        &self,
        app_id: &str,
        seen: &AuthorizerCredentials,
    ) -> Result<(), Error> {
        let condition = format!("{IF_UNCHANGED} AND attribute_not_exists(due)");
        let values = unchanged_values(Some(seen));
        self.delete_if(&self.credentials, &keys::authorizer(app_id), &condition, &values).await
    }

    /// The write by which an account's tokens become a tenant's, as part of its binding: they are refreshed
    /// from now on, whatever WeChat answered before.
    pub(super) fn bind_tokens_action(
        &self,
        tenant: &str,
        app_id: &str,
        due: Due,
    ) -> Result<TransactWriteItem, Error> {
        let update = Update::new().set("tenant_id", s(tenant)).remove("ttl").remove("gone_at");
        set_due(update, app_id, due)
            .when("attribute_exists(refresh_token)", &[])
            .into_action(&self.credentials, &keys::authorizer(app_id))
    }

    /// The write by which an account's tokens end, as part of its unbinding: they are not refreshed any more,
    /// and are deleted after [`UNBOUND_RETENTION_SECONDS`]. A refresher at work is no longer the lease's owner, so
    /// that it does not put them back on the wheel; the lease runs on, so that nobody refreshes beside it.
    pub(super) fn unbind_tokens_action(&self, app_id: &str) -> Result<TransactWriteItem, Error> {
        Update::new()
            .remove("due")
            .remove("due_at")
            .remove("lease_owner")
            .set("ttl", n(self.clock.unix() + UNBOUND_RETENTION_SECONDS))
            .into_action(&self.credentials, &keys::authorizer(app_id))
    }

    /// Replaces a lost refresh token, if the account's is still `lost`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn recover_refresh_token(
        &self,
        app_id: &str,
        lost: &Secret,
        found: &Secret,
    ) -> Result<bool, Error> {
        let update = Update::new()
            .set("refresh_token", s(found.expose()))
            .when("refresh_token = :lost", &[(":lost", s(lost.expose()))]);
        let kept = self.update(&self.credentials, &keys::authorizer(app_id), update).await?;
        let ours = |item: &Attributes| item.get("refresh_token").is_some_and(|now| *now == s(found.expose()));
        Ok(kept.or_done_if(ours).is_done())
    }

    /// Accounts in one slot of the wheel.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn due_in_slot(&self, slot: u32) -> Result<Vec<String>, Error> {
        self.query_due("due = :due", vec![(":due", s(keys::due_slot(slot)))]).await
    }

    /// Accounts of unusual token lifetimes that are due by `unix`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn due_by(&self, unix: i64) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for shard in 0..keys::DUE_SHARDS {
            let values = vec![(":due", s(keys::due_sorted(shard))), (":by", n(unix))];
            found.extend(self.query_due("due = :due AND due_at <= :by", values).await?);
        }
        Ok(found)
    }

    async fn query_due(
        &self,
        condition: &str,
        values: Vec<(&str, AttributeValue)>,
    ) -> Result<Vec<String>, Error> {
        let (mut found, mut start) = (Vec::new(), None);
        loop {
            let page = self
                .query(Query {
                    table: &self.credentials,
                    index: Some(keys::DUE_INDEX),
                    consistent: false,
                    condition,
                    names: &[],
                    values: &values,
                    descending: false,
                    limit: DUE_PER_QUERY,
                    start,
                })
                .await?;
            found.extend(page.items.iter().filter_map(|i| {
                let pk = i.get("pk").and_then(|v| v.as_s().ok())?;
                keys::authorizer_of(pk).map(str::to_owned)
            }));
            start = page.next;
            if start.is_none() {
                return Ok(found);
            }
        }
    }

    /// The minute (unix seconds / 60) up to which the wheel was swept.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn refresh_tick(&self) -> Result<Option<i64>, Error> {
        let found = self.get_item(&self.credentials, &keys::refresh_tick()).await?;
        Ok(found.and_then(|i| i.get("minute").and_then(|v| v.as_n().ok()).and_then(|v| v.parse().ok())))
    }

    /// Stores the minute up to which the wheel was swept; it never goes back.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_refresh_tick(&self, minute: i64) -> Result<(), Error> {
        let update = Update::new()
            .set("minute", n(minute))
            .when("attribute_not_exists(#minute) OR #minute < :minute", &[(":minute", n(minute))]);
        self.update(&self.credentials, &keys::refresh_tick(), update).await.map(drop)
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

/// The update that ends a lease without a new token.
fn release_update(refusal: Option<TokenRefusal>) -> Update {
    let update = Update::new().remove("lease_until");
    let Some(TokenRefusal { until, wait, errcode }) = refusal else { return update };
    let update = update.set("refused_until", n(until)).set("refused_wait", n(wait));
    update.set_or_remove("refused_errcode", errcode.map(n))
}

fn set_token(update: Update, token: &AccessToken) -> Update {
    update
        .set("token", s(token.token.expose()))
        .set("issued_at", n(token.issued_at))
        .set("expires_in", n(token.expires_in))
        .add("version", n(1))
        .remove("lease_until")
        .remove("lease_owner") // so that a repetition by the SDK fails
        .remove("refused_until")
        .remove("refused_wait")
}

/// Whether an item has this very token: then our write happened, even if the lease is another's by now.
fn has_token(item: &Attributes, token: &AccessToken) -> bool {
    item.get("token").is_some_and(|kept| *kept == s(token.token.expose()))
}

fn set_due(update: Update, app_id: &str, due: Due) -> Update {
    let (index, at) = due_key(app_id, due);
    update.set("due", s(index)).set("due_at", n(at))
}

/// Partition and sort key of an account in the due index.
fn due_key(app_id: &str, due: Due) -> (String, i64) {
    match due {
        Due::Wheel { slot } => (keys::due_slot(slot), 0),
        Due::Sorted { unix_seconds: unix } => (keys::due_sorted(ids::shard(app_id, keys::DUE_SHARDS)), unix),
    }
}

fn read_lease<T: serde::de::DeserializeOwned>(
    written: ConditionalWrite,
    owner: String,
) -> Result<Option<Lease<T>>, Error> {
    // our own lease, whose answer was lost, would keep everyone waiting until it ends
    let own = |item: &Attributes| item.get("lease_owner").is_some_and(|by| *by == s(&owner));
    match written.or_done_if(own) {
        ConditionalWrite::Done(item) => Ok(Some(Lease { owner, credentials: from_item::<T>(item)? })),
        ConditionalWrite::ConditionFailed(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_read_with_and_without_a_token() {
        let bare: ComponentCredentials = from_item(Attributes::from([("ticket_at".into(), n(5))])).unwrap();
        assert!(bare.token.is_none());
        let full: ComponentCredentials = from_item(Attributes::from([
            ("ticket".into(), s("t")),
            ("ticket_at".into(), n(5)),
            ("token".into(), s("a")),
            ("issued_at".into(), n(5)),
            ("expires_in".into(), n(7200)),
            ("version".into(), n(3)),
        ]))
        .unwrap();
        assert_eq!(full.token.map(|t| t.expires_in), Some(7200));
        assert_eq!(full.version, 3);
    }
}
