//! Idempotency-Key: the same key with the same body answers the same.

use serde::{Deserialize, Serialize};

use super::{
    Store, keys,
    owner::WRITTEN_BY,
    table::{Update, Written, item, n, read, s},
};
use crate::{error::Error, secret::Secret};

/// How long a key is remembered, seconds (contract 6.16).
pub const KEPT_SECONDS: i64 = 24 * 3600;
/// How long a request may be in flight before a repetition takes over, seconds: longer than any function runs.
pub const IN_FLIGHT_SECONDS: i64 = 60;

/// A request that was begun.
#[derive(Clone, Serialize, Deserialize)]
struct Record {
    fingerprint: String,
    /// When the first try began, unix milliseconds: part of the ids that it made.
    begun_at: i64,
    /// Random, and nowhere else: with it go the ids and the key that the first try made, so that nobody makes them
    /// again who cannot read this record.
    #[serde(default)]
    salt: String,
    /// Until when the first is taken to be in flight, unix seconds.
    in_flight_until: i64,
    /// When it is forgotten: DynamoDB deletes late, so the time is compared too.
    forgotten_at: i64,
    status: Option<u16>,
    answer: Option<String>,
}

/// How a request began: the same in every try.
#[derive(Debug, Clone)]
pub struct Try {
    /// When the first try began, unix milliseconds.
    pub begun_at: i64,
    /// The first try's salt; empty for one of release 0.1.
    pub salt: Secret,
}

/// What to do with a request that carries a key.
pub enum Begun {
    /// Do it.
    First(Try),
    /// Answer this, as the first time.
    Answered {
        /// As it began.
        begun: Try,
        /// HTTP status.
        status: u16,
        /// Body.
        body: String,
    },
    /// The first is in flight.
    InProgress,
    /// The key was used with another body.
    Reused,
}

impl Store {
    /// Begins a request; `fingerprint` is its body's, `salt` random, for the case that this is its first try.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn begin_request(
        &self,
        tenant: &str,
        route: &str,
        key: &str,
        fingerprint: &str,
        salt: &Secret,
    ) -> Result<Begun, Error> {
        let (now, now_ms) = (self.clock.unix(), self.clock.now().as_millisecond());
        let key = keys::idempotency(tenant, route, key);
        let record = Record {
            fingerprint: fingerprint.to_owned(),
            begun_at: now_ms,
            salt: salt.expose().to_owned(),
            in_flight_until: now + IN_FLIGHT_SECONDS,
            forgotten_at: now + KEPT_SECONDS,
            status: None,
            answer: None,
        };
        let before = match self.put_new(&self.work, item(&key, &record, Some(record.forgotten_at))?).await? {
            Written::Done(_) => return Ok(Begun::First(Try { begun_at: now_ms, salt: salt.clone() })),
            Written::Refused(Some(before)) => read::<Record>(before)?,
            Written::Refused(None) => return Ok(Begun::InProgress),
        };
        let mut begun = Try { begun_at: now_ms, salt: salt.clone() };
        if before.forgotten_at > now {
            begun = Try { begun_at: before.begun_at, salt: Secret::new(before.salt) };
            if before.fingerprint != fingerprint {
                return Ok(Begun::Reused);
            }
            if let (Some(status), Some(body)) = (before.status, before.answer) {
                return Ok(Begun::Answered { begun, status, body });
            }
            if before.in_flight_until > now {
                return Ok(Begun::InProgress);
            }
        }
        // the first died in flight, or is forgotten: one of us takes over
        let owner = self.owner();
        let update = Update::new()
            .set("in_flight_until", n(record.in_flight_until))
            .set("forgotten_at", n(record.forgotten_at))
            .set("ttl", n(record.forgotten_at))
            .set("fingerprint", s(fingerprint))
            .set("begun_at", n(begun.begun_at))
            .set("salt", s(begun.salt.expose()))
            .remove("status")
            .remove("answer")
            .set(WRITTEN_BY, owner.value())
            .when(
                "in_flight_until = :seen AND forgotten_at = :kept",
                &[(":seen", n(before.in_flight_until)), (":kept", n(before.forgotten_at))],
            );
        let ours = self.update(&self.work, &key, update).await?.or_own(WRITTEN_BY, owner).done();
        Ok(if ours { Begun::First(begun) } else { Begun::InProgress })
    }

    /// Keeps the answer of a request that was begun.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn end_request(
        &self,
        tenant: &str,
        route: &str,
        key: &str,
        status: u16,
        body: &str,
    ) -> Result<(), Error> {
        let update = Update::new().set("status", n(status)).set("answer", s(body));
        self.update(&self.work, &keys::idempotency(tenant, route, key), update).await.map(drop)
    }

    /// Forgets a request that failed, so that its repetition is a new try.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn abandon_request(&self, tenant: &str, route: &str, key: &str) -> Result<(), Error> {
        let update = Update::new().set("in_flight_until", n(0));
        self.update(&self.work, &keys::idempotency(tenant, route, key), update).await.map(drop)
    }
}
