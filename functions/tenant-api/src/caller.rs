//! The authenticated caller of a request, and the ids that it creates. `auth` makes it; handlers extract it.

use axum::extract::FromRequestParts;
use http::request::Parts;
use shared::{
    ids,
    model::{
        audit::{Actor, PLATFORM_TENANT},
        scope::Scope,
    },
    problem::Problem,
    secret::Secret,
    services::Services,
    store::idempotency::RequestStart,
};

use crate::refusals::unauthorized;

/// The authenticated caller.
#[derive(Clone)]
pub struct Caller {
    /// The tenant; [`PLATFORM_TENANT`] for the operator.
    pub tenant: String,
    /// The key or operator that the audit log names.
    pub actor: Actor,
    /// What the key grants.
    pub scopes: Vec<Scope>,
    /// When the key ends, unix seconds; [`None`] for never.
    pub expires_at: Option<i64>,
    /// A request with an `Idempotency-Key`.
    pub idempotent: Option<IdempotentRequest>,
}

/// A request with an `Idempotency-Key`.
#[derive(Clone)]
pub struct IdempotentRequest {
    /// Method and path.
    pub route: String,
    /// The `Idempotency-Key`.
    pub key: Secret,
    /// When the first attempt began, and its salt, unsealed.
    pub first_try: RequestStart,
}

impl Caller {
    /// Whether it is the operator.
    pub fn is_operator(&self) -> bool {
        self.tenant == PLATFORM_TENANT
    }

    /// The id of what this request creates. With an `Idempotency-Key` every attempt gets the same: a crash
    /// never creates two. Without access to the request's record it cannot be computed.
    pub fn new_id(&self, app: &Services, prefix: &str) -> String {
        match &self.idempotent {
            Some(k) => ids::derived_at(
                prefix,
                k.first_try.begun_at,
                &[prefix, &self.tenant, &k.route, k.key.expose(), k.first_try.salt.expose()],
            ),
            None => app.fresh_id(prefix),
        }
    }

    /// The new API key of this request: 256 random bits, or a hash of the request's random salt and its
    /// `Idempotency-Key`. Only the salt is stored, for a day, sealed with the caller's own key (`seal`).
    pub fn new_api_key(&self, app: &Services) -> Secret {
        let random = match &self.idempotent {
            Some(k) => ids::fingerprint(&["api key of", k.first_try.salt.expose(), &k.route, k.key.expose()]),
            None => random_hex(app),
        };
        Secret::new(format!("oak_{random}"))
    }
}

/// 256 random bits as 64 hex digits.
pub fn random_hex(app: &Services) -> String {
    let mut bytes = [0; 32];
    app.random.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(unauthorized)
    }
}
