//! What the platform's token and those of accounts have in common: a lease makes sure that one refresher at a time
//! replaces a token, and every write is conditional on the version that was read.

use super::dynamo::{Attributes, conditional_write::ConditionalWrite, from_item, n, s, update::Update};
use crate::{
    error::Error,
    model::credentials::{AccessToken, TokenRefusal},
};

/// How long a refresher may take before another takes over, seconds: as long as a function runs. No call
/// begins in a lease that could end after it.
pub const TOKEN_LEASE_SECONDS: i64 = 30;

/// A lease, with what was read when it was taken.
pub struct Lease<T> {
    /// Random; the write that ends the lease is conditional on it.
    pub owner: String,
    /// What was read with the lease.
    pub credentials: T,
}

/// The update that leases a token at the unix second `now`, if it is not leased and still has this `version`.
pub(super) fn lease_update(now: i64, version: u64, owner: &str) -> Update {
    Update::new().set("lease_until", n(now + TOKEN_LEASE_SECONDS)).set("lease_owner", s(owner)).when(
        "attribute_exists(pk) AND (attribute_not_exists(version) OR version = :seen) \
         AND (attribute_not_exists(lease_until) OR lease_until <= :now)",
        &[(":seen", n(version)), (":now", n(now))],
    )
}

/// The lease that a write of [`lease_update`] took; none where another holds it.
pub(super) fn read_lease<T: serde::de::DeserializeOwned>(
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

/// The update that ends a lease without a new token.
pub(super) fn release_update(refusal: Option<TokenRefusal>) -> Update {
    let update = Update::new().remove("lease_until");
    let Some(TokenRefusal { until, wait, errcode }) = refusal else { return update };
    let update = update.set("refused_until", n(until)).set("refused_wait", n(wait));
    update.set_or_remove("refused_errcode", errcode.map(n))
}

/// Stores a new token, which ends the lease.
pub(super) fn set_token(update: Update, token: &AccessToken) -> Update {
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
pub(super) fn has_token(item: &Attributes, token: &AccessToken) -> bool {
    item.get("token").is_some_and(|kept| *kept == s(token.token.expose()))
}
