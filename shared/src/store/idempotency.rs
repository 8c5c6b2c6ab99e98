//! Idempotency-Key: the same key with the same body gets the same response.

use serde::{Deserialize, Serialize};

use super::{
    dynamo::{
        conditional_write::ConditionalWrite, database::Database, from_item, n, s, to_item, update::Update,
        writer_id::WRITTEN_BY,
    },
    keys,
};
use crate::{error::Error, secret::Secret};

/// How long a key is remembered, seconds.
pub const IDEMPOTENCY_RETENTION_SECONDS: i64 = 24 * 3600;
/// How long a request may be in flight before a repetition takes over, seconds: longer than functions run.
pub const IN_FLIGHT_SECONDS: i64 = 60;

/// The record of a request that began.
#[derive(Clone, Serialize, Deserialize)]
struct IdempotencyRecord {
    fingerprint: String,
    /// When the first attempt began, unix milliseconds: part of the ids that it made.
    begun_at: i64,
    /// Random, and stored only here: the ids and the key that the first attempt made depend on it, so that
    /// only a reader of this record can make them again.
    #[serde(default)]
    salt: String,
    /// Until when the first attempt is assumed to be in flight, unix seconds.
    in_flight_until: i64,
    /// When it expires: DynamoDB deletes late, so the time is compared too.
    forgotten_at: i64,
    status: Option<u16>,
    answer: Option<String>,
}

/// How a request began: the same in every attempt.
#[derive(Debug, Clone)]
pub struct RequestStart {
    /// When the first attempt began, unix milliseconds.
    pub begun_at: i64,
    /// The first attempt's salt; empty for one of release 0.1.
    pub salt: Secret,
}

/// What to do with a request that carries a key.
pub enum IdempotencyCheck {
    /// Execute it.
    Proceed(RequestStart),
    /// Return this response, as the first time.
    Replay {
        /// How the request began.
        start: RequestStart,
        /// HTTP status.
        status: u16,
        /// Body.
        body: String,
    },
    /// The first attempt is in flight.
    InProgress,
    /// The key was used with another body.
    KeyReused,
}

/// Requests that carried an `Idempotency-Key`.
#[derive(Clone, Copy)]
pub struct IdempotencyRecords<'a> {
    pub(super) db: &'a Database,
}

impl IdempotencyRecords<'_> {
    /// Begins a request. `fingerprint` is that of its body; `salt` is random, for a first attempt.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn begin(
        self,
        tenant: &str,
        route: &str,
        key: &str,
        fingerprint: &str,
        salt: &Secret,
    ) -> Result<IdempotencyCheck, Error> {
        let (now, now_ms) = (self.db.clock.unix(), self.db.clock.now().as_millisecond());
        let key = keys::idempotency(tenant, route, key);
        let record = IdempotencyRecord {
            fingerprint: fingerprint.to_owned(),
            begun_at: now_ms,
            salt: salt.expose().to_owned(),
            in_flight_until: now + IN_FLIGHT_SECONDS,
            forgotten_at: now + IDEMPOTENCY_RETENTION_SECONDS,
            status: None,
            answer: None,
        };
        let before = match self
            .db
            .put_if_absent(&self.db.work, to_item(&key, &record, Some(record.forgotten_at))?)
            .await?
        {
            ConditionalWrite::Done(_) => {
                return Ok(IdempotencyCheck::Proceed(RequestStart { begun_at: now_ms, salt: salt.clone() }));
            }
            ConditionalWrite::ConditionFailed(Some(before)) => from_item::<IdempotencyRecord>(before)?,
            ConditionalWrite::ConditionFailed(None) => return Ok(IdempotencyCheck::InProgress),
        };
        let mut start = RequestStart { begun_at: now_ms, salt: salt.clone() };
        if before.forgotten_at > now {
            start = RequestStart { begun_at: before.begun_at, salt: Secret::new(before.salt) };
            if before.fingerprint != fingerprint {
                return Ok(IdempotencyCheck::KeyReused);
            }
            if let (Some(status), Some(body)) = (before.status, before.answer) {
                return Ok(IdempotencyCheck::Replay { start, status, body });
            }
            if before.in_flight_until > now {
                return Ok(IdempotencyCheck::InProgress);
            }
        }
        // the first attempt died in flight or is forgotten: one of the repetitions takes over
        let owner = self.db.new_writer_id();
        let update = Update::new()
            .set("in_flight_until", n(record.in_flight_until))
            .set("forgotten_at", n(record.forgotten_at))
            .set("ttl", n(record.forgotten_at))
            .set("fingerprint", s(fingerprint))
            .set("begun_at", n(start.begun_at))
            .set("salt", s(start.salt.expose()))
            .remove("status")
            .remove("answer")
            .set(WRITTEN_BY, owner.to_attr())
            .when(
                "in_flight_until = :seen AND forgotten_at = :kept",
                &[(":seen", n(before.in_flight_until)), (":kept", n(before.forgotten_at))],
            );
        let ours =
            self.db.update(&self.db.work, &key, update).await?.or_written_by(WRITTEN_BY, owner).is_done();
        Ok(if ours { IdempotencyCheck::Proceed(start) } else { IdempotencyCheck::InProgress })
    }

    /// Stores the response of a request.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn end(
        self,
        tenant: &str,
        route: &str,
        key: &str,
        status: u16,
        body: &str,
    ) -> Result<(), Error> {
        let update = Update::new().set("status", n(status)).set("answer", s(body));
        self.db.update(&self.db.work, &keys::idempotency(tenant, route, key), update).await.map(drop)
    }

    /// Ends a request that failed, so that its repetition is a new attempt.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn abandon(self, tenant: &str, route: &str, key: &str) -> Result<(), Error> {
        let update = Update::new().set("in_flight_until", n(0));
        self.db.update(&self.db.work, &keys::idempotency(tenant, route, key), update).await.map(drop)
    }
}
