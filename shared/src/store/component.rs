//! The ticket and the token of the third-party platform itself.

use super::{
    dynamo::{database::Database, n, s, update::Update},
    keys,
    token_leases::{Lease, has_token, lease_update, read_lease, release_update, set_token},
};
use crate::{
    error::Error,
    model::credentials::{AccessToken, ComponentCredentials, TokenRefusal},
    secret::Secret,
};

/// How long an instance caches the component token, seconds: a batch of 25 accounts reads it once.
/// WeChat refuses one that was replaced meanwhile, and then it is read again.
const COMPONENT_CACHE_SECONDS: i64 = 5;
/// Attribute of the component's credentials: who last asked WeChat for a ticket.
const PUSH_ASKED_BY: &str = "push_asked_by";

/// The cached credentials of the component: (credentials, until).
pub type ComponentCache = tokio::sync::Mutex<Option<(ComponentCredentials, i64)>>;

/// The third-party platform's own credentials.
#[derive(Clone, Copy)]
pub struct Component<'a> {
    pub(super) db: &'a Database,
    pub(super) cache: &'a ComponentCache,
}

impl Component<'_> {
    /// The platform's own credentials; empty before the first ticket.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get(self) -> Result<ComponentCredentials, Error> {
        Ok(self.db.get(&self.db.credentials, &keys::component()).await?.unwrap_or_default())
    }

    /// As [`Component::get`], but up to 5 s old. Concurrent callers share one read.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn cached(self) -> Result<ComponentCredentials, Error> {
        let mut cache = self.cache.lock().await;
        let now = self.db.clock.unix();
        if let Some((credentials, until)) = &*cache
            && now < *until
        {
            return Ok(credentials.clone());
        }
        let credentials = self.get().await?;
        *cache = Some((credentials.clone(), now + COMPONENT_CACHE_SECONDS));
        Ok(credentials)
    }

    /// Stores a ticket unless a newer one is stored.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_ticket(self, ticket: &Secret, at: i64) -> Result<(), Error> {
        let update = Update::new()
            .set("ticket", s(ticket.expose()))
            .set("ticket_at", n(at))
            .remove("refused_until")
            .remove("refused_wait")
            .when("attribute_not_exists(ticket_at) OR ticket_at <= :at", &[(":at", n(at))]);
        self.db.update(&self.db.credentials, &keys::component(), update).await.map(drop)
    }

    /// Returns whether to ask WeChat for a ticket now: true for one caller in `every` seconds.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn lease_ticket_push(self, every: i64) -> Result<bool, Error> {
        let (now, owner) = (self.db.clock.unix(), self.db.new_writer_id());
        let update = Update::new().set("push_asked_at", n(now)).set(PUSH_ASKED_BY, owner.to_attr()).when(
            "attribute_not_exists(push_asked_at) OR push_asked_at <= :before",
            &[(":before", n(now - every))],
        );
        let written = self.db.update(&self.db.credentials, &keys::component(), update).await?;
        Ok(written.or_written_by(PUSH_ASKED_BY, owner).is_done())
    }

    /// Leases the component token, if it is not leased and still has this `version`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn lease(
        self,
        version: u64,
        owner: String,
    ) -> Result<Option<Lease<ComponentCredentials>>, Error> {
        let written = self
            .db
            .update(
                &self.db.credentials,
                &keys::component(),
                lease_update(self.db.clock.unix(), version, &owner),
            )
            .await?;
        read_lease(written, owner)
    }

    /// Replaces the component token, if `owner` still holds the lease.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_token(self, owner: &str, token: &AccessToken) -> Result<bool, Error> {
        let update = set_token(Update::new(), token).when("lease_owner = :me", &[(":me", s(owner))]);
        let kept = self.db.update(&self.db.credentials, &keys::component(), update).await?;
        let kept = kept.or_done_if(|item| has_token(item, token)).is_done();
        *self.cache.lock().await = None;
        Ok(kept)
    }

    /// Gives a lease back after a failure, and remembers a refusal.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn release(self, owner: &str, refusal: Option<TokenRefusal>) -> Result<(), Error> {
        let update = release_update(refusal);
        let update = update.when("lease_owner = :me", &[(":me", s(owner))]);
        self.db.update(&self.db.credentials, &keys::component(), update).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dynamo::{Attributes, from_item};

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
