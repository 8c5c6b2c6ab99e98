//! Who calls, and whether they may. Handlers run behind this and get a [`Caller`].

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, header};
use shared::{
    app::App,
    model::scope::Scope,
    problem::Problem,
    secret::Secret,
    store::{
        api_keys::{KnownKey, key_hash},
        audit::{Actor, PLATFORM},
        tenants::TenantStatus,
    },
};

use crate::{
    access::Rule,
    attempts::Attempts,
    caller::Caller,
    once::once,
    rates::{Class, Rates},
};

/// What the guard remembers.
pub struct Gate {
    /// The app.
    pub app: Arc<App>,
    rates: Rates,
    attempts: Attempts,
}

impl Gate {
    /// One that remembers nothing yet.
    pub fn new(app: Arc<App>) -> Self {
        Self { app, rates: Rates::default(), attempts: Attempts::default() }
    }
}

/// Lets pass who may.
pub async fn guard(State((gate, rule)): State<(Arc<Gate>, Rule)>, request: Request, next: Next) -> Response {
    match caller(&gate, rule, request.headers(), request.method()).await {
        Ok(caller) => once(&gate.app, caller, rule.shows, request, next).await,
        Err(problem) => problem.into_response(),
    }
}

async fn caller(gate: &Gate, rule: Rule, headers: &HeaderMap, method: &Method) -> Result<Caller, Problem> {
    let app = &gate.app;
    let secret = bearer(headers).ok_or_else(unauthorized)?;
    if let Some(operator) = operator(app, &secret) {
        let wrong = || forbidden("This route takes a tenant's key, not the operator's.");
        return if rule.takes_operator() { Ok(operator) } else { Err(wrong()) };
    }
    let Some(known) = known(gate, &secret).await? else {
        gate.attempts.failed(app, rule);
        return Err(unauthorized());
    };
    match known.tenant.status {
        TenantStatus::Active => {}
        TenantStatus::Suspended => return Err(suspended()),
        TenantStatus::Deleted => return Err(unauthorized()),
    }
    let Some(scope) = rule.scope() else {
        return Err(forbidden("This route takes the operator's key."));
    };
    if !known.key.grants(scope) {
        return Err(missing(scope));
    }
    let class = if method == Method::GET { Class::Read } else { Class::Write };
    gate.rates.take(app, &known.tenant.id, class, rule.weight).await?;
    Ok(Caller {
        tenant: known.tenant.id.clone(),
        actor: Actor::key(&known.key.id),
        scopes: known.key.scopes.iter().filter_map(|name| Scope::of(name)).collect(),
        keyed: None,
    })
}

/// The key and its tenant, if it opens anything now.
async fn known(gate: &Gate, secret: &Secret) -> Result<Option<Arc<KnownKey>>, Problem> {
    let app = &gate.app;
    let known = match app.store.remembered_key(secret) {
        Some(known) => Some(known),
        None if !is_key(secret) => None,
        None => {
            gate.attempts.look_up(app)?;
            app.store.known_key(secret).await?
        }
    };
    Ok(known.filter(|known| known.key.lives_at(app.clock.unix())))
}

/// The operator, if this is their key. Compares hashes: their lengths tell nothing.
fn operator(app: &App, secret: &Secret) -> Option<Caller> {
    let given = key_hash(secret);
    let mut keys = app.config.admin_keys.iter().zip(["operator", "operator_previous_key"]);
    let (_, id) = keys.find(|(key, _)| Secret::new(key_hash(key)).same(&given))?;
    let (tenant, actor) = (PLATFORM.to_owned(), Actor::operator(id));
    Some(Caller { tenant, actor, scopes: Scope::ALL.into(), keyed: None })
}

/// Whether it looks like a key of ours, `oak_` and 64 hex digits: what does not costs no request to the database.
fn is_key(secret: &Secret) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    secret.expose().strip_prefix("oak_").is_some_and(|rest| rest.len() == 64 && rest.bytes().all(hex))
}

fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then(|| Secret::new(key))
}

/// 401.
pub fn unauthorized() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "Send your API key as `Authorization: Bearer KEY`; there was none, or this one opens nothing: it is unknown, \
         was revoked or has ended.",
    )
}

fn forbidden(detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

fn suspended() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "tenant_suspended",
        "The operator of this hub has suspended this tenant. What is pushed to its accounts is stored; nothing is sent.",
    )
}

/// 403 for a key without `scope`.
pub fn missing(scope: Scope) -> Problem {
    let name = scope.name();
    Problem::new(
        StatusCode::FORBIDDEN,
        "scope_missing",
        format!("This key does not have the scope `{name}`, which this needs."),
    )
    .with("scope", name)
}
