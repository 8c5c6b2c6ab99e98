//! Who calls, and how the ids that this request makes are spelled. The guard makes it; handlers get it.

use axum::extract::FromRequestParts;
use http::request::Parts;
use shared::{
    app::App,
    ids,
    model::scope::Scope,
    problem::Problem,
    secret::Secret,
    store::{
        audit::{Actor, PLATFORM},
        idempotency::Try,
    },
};

use crate::guard::unauthorized;

/// Who calls.
#[derive(Clone)]
pub struct Caller {
    /// The tenant; [`PLATFORM`] for the operator.
    pub tenant: String,
    /// Whose hand it is.
    pub actor: Actor,
    /// What the key grants.
    pub scopes: Vec<Scope>,
    /// When the key ends, unix seconds; [`None`] for never.
    pub ends_at: Option<i64>,
    /// A request with an `Idempotency-Key`.
    pub keyed: Option<Keyed>,
}

/// A request with an `Idempotency-Key`.
#[derive(Clone)]
pub struct Keyed {
    /// Method and path.
    pub route: String,
    /// The `Idempotency-Key`.
    pub key: Secret,
    /// When its first try began, and that try's salt, opened.
    pub begun: Try,
}

impl Caller {
    /// Whether it is the operator.
    pub fn is_operator(&self) -> bool {
        self.tenant == PLATFORM
    }

    /// The id of what this request makes. With an `Idempotency-Key` it is the same in every try, so that a crash in
    /// between never makes two; nobody can compute it who cannot read the request's record.
    pub fn new_id(&self, app: &App, prefix: &str) -> String {
        match &self.keyed {
            Some(k) => ids::derived_at(
                prefix,
                k.begun.begun_at,
                &[prefix, &self.tenant, &k.route, k.key.expose(), k.begun.salt.expose()],
            ),
            None => app.fresh_id(prefix),
        }
    }

    /// The new API key of this request: 256 random bits, or a hash of the request's random salt and its
    /// `Idempotency-Key`. Of these only the salt is stored, for a day, and sealed with the key that asks (`seal`).
    pub fn new_api_key(&self, app: &App) -> Secret {
        let random = match &self.keyed {
            Some(k) => ids::fingerprint(&["api key of", k.begun.salt.expose(), &k.route, k.key.expose()]),
            None => random_hex(app),
        };
        Secret::new(format!("oak_{random}"))
    }
}

/// 256 random bits as 64 hex digits.
pub fn random_hex(app: &App) -> String {
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
