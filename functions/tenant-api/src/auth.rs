//! Authentication and authorization. Handlers run behind this layer and get a [`Caller`].

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, header};
use shared::{
    function::request_id,
    model::{
        audit::{Actor, PLATFORM_TENANT},
        scope::Scope,
        tenant::TenantStatus,
    },
    problem::Problem,
    secret::Secret,
    services::Services,
    store::api_keys::{KeyWithTenant, key_hash},
};

use crate::{
    auth_attempts::AuthAttempts,
    caller::Caller,
    idempotency::run_once,
    rate_limit::{RateLimiter, RequestClass},
    refusals::{forbidden, scope_missing, tenant_suspended, unauthorized},
    route_policy::RoutePolicy,
};

/// The state of the authorization layer.
pub struct AuthState {
    /// The services.
    pub app: Arc<Services>,
    rates: RateLimiter,
    attempts: AuthAttempts,
}

impl AuthState {
    /// Empty counters.
    pub fn new(app: Arc<Services>) -> Self {
        Self { app, rates: RateLimiter::default(), attempts: AuthAttempts::default() }
    }
}

/// The layer before every `/v1` route. Each request with a valid key is logged: for reads it is the only
/// trace, should a key be stolen.
pub async fn authorize_request(
    State((gate, rule)): State<(Arc<AuthState>, RoutePolicy)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(secret) = bearer_token(request.headers()) else { return unauthorized().into_response() };
    let (caller, status) = match identify_caller(&gate, rule, &secret).await {
        Ok(known) => known,
        Err(problem) => return problem.into_response(),
    };
    let line = RequestLog::of(&caller, &request);
    let response = match authorize(&gate, rule, &caller, status, request.method()).await {
        Ok(()) => run_once(&gate.app, caller, &secret, rule.key_member, request, next).await,
        Err(problem) => problem.into_response(),
    };
    line.write(response.status());
    response
}

/// The log line of a request. It has no path, since a path may hold a binding link, which is a secret.
struct RequestLog {
    key: String,
    tenant: String,
    method: Method,
    route: String,
    request: String,
}

impl RequestLog {
    fn of(caller: &Caller, request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        Self {
            key: caller.actor.id.clone(),
            tenant: caller.tenant.clone(),
            method: request.method().clone(),
            route: route.map(|path| path.as_str().to_owned()).unwrap_or_default(),
            request: request_id(request.extensions()).to_owned(),
        }
    }

    fn write(&self, status: StatusCode) {
        let Self { key, tenant, method, route, request } = self;
        let status = status.as_u16();
        tracing::info!(key, tenant, %method, route, status, request, "{method} {route}: {status}");
    }
}

/// Identifies the caller by the key, and returns the tenant's status.
async fn identify_caller(
    gate: &AuthState,
    rule: RoutePolicy,
    secret: &Secret,
) -> Result<(Caller, TenantStatus), Problem> {
    let app = &gate.app;
    if let Some(operator) = operator_caller(app, secret) {
        return Ok((operator, TenantStatus::Active));
    }
    let Some(known) = find_key(gate, secret).await? else {
        gate.attempts.record_failure(app, rule);
        return Err(unauthorized());
    };
    let caller = Caller {
        tenant: known.tenant.id.clone(),
        actor: Actor::key(&known.key.id),
        scopes: known.key.scopes.iter().filter_map(|name| Scope::from_name(name)).collect(),
        expires_at: known.key.expires_at,
        idempotent: None,
    };
    Ok((caller, known.tenant.status))
}

/// Checks the tenant's status, the scope and the rate limit.
async fn authorize(
    gate: &AuthState,
    rule: RoutePolicy,
    caller: &Caller,
    status: TenantStatus,
    method: &Method,
) -> Result<(), Problem> {
    if caller.is_operator() {
        let wrong = || forbidden("This route takes a tenant's key, not the operator's.");
        return if rule.allows_operator() { Ok(()) } else { Err(wrong()) };
    }
    match status {
        TenantStatus::Active => {}
        TenantStatus::Suspended => return Err(tenant_suspended()),
        TenantStatus::Deleted => return Err(unauthorized()),
    }
    let Some(scope) = rule.scope() else {
        return Err(forbidden("This route takes the operator's key."));
    };
    if !caller.scopes.contains(&scope) {
        return Err(scope_missing(scope));
    }
    let class = if method == Method::GET { RequestClass::Read } else { RequestClass::Write };
    gate.rates.take(&gate.app, &caller.tenant, class, rule.weight).await
}

/// The key's record and its tenant, if the key is valid now.
async fn find_key(gate: &AuthState, secret: &Secret) -> Result<Option<Arc<KeyWithTenant>>, Problem> {
    let app = &gate.app;
    let known = match app.store.api_keys().cached(secret) {
        Some(known) => Some(known),
        None if !looks_like_key(secret) => None,
        None => {
            gate.attempts.allow_lookup(app)?;
            app.store.api_keys().find(secret).await?
        }
    };
    Ok(known.filter(|known| known.key.is_valid_at(app.clock.unix())))
}

/// The operator, if this is their key. Compares hashes, so that timing does not reveal a key's length.
fn operator_caller(app: &Services, secret: &Secret) -> Option<Caller> {
    let given = key_hash(secret);
    let mut keys = app.config.admin_keys.iter().zip(["operator", "operator_previous_key"]);
    let (_, id) = keys.find(|(key, _)| Secret::new(key_hash(key)).constant_time_eq(&given))?;
    let (tenant, actor) = (PLATFORM_TENANT.to_owned(), Actor::operator(id));
    Some(Caller { tenant, actor, scopes: Scope::ALL.into(), expires_at: None, idempotent: None })
}

/// Whether it has the form of our keys, `oak_` and 64 hex digits: anything else costs no database request.
fn looks_like_key(secret: &Secret) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    secret.expose().strip_prefix("oak_").is_some_and(|rest| rest.len() == 64 && rest.bytes().all(hex))
}

fn bearer_token(headers: &HeaderMap) -> Option<Secret> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then(|| Secret::new(key))
}
