//! Who calls, and that a repeated POST happens once. Handlers run behind this and get a [`Caller`].

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use shared::{app::App, ids, problem::Problem, secret::Secret, store::idempotency::Begun, store::tenants};

use crate::params;

/// Characters of an `Idempotency-Key` at most.
const MAX_KEY: usize = 255;
/// The scope of the operator's requests; tenants' ids begin with `ten_`.
const ADMIN: &str = "admin";

/// Who calls, and how the ids that this request makes are spelled.
#[derive(Clone)]
pub struct Caller {
    /// The tenant; [`ADMIN`] for the operator.
    pub tenant: String,
    keyed: Option<Keyed>,
}

/// A request with an `Idempotency-Key`.
#[derive(Clone)]
struct Keyed {
    route: String,
    key: Secret,
    begun_at: i64,
}

impl Caller {
    /// The id of what this request makes: with a key it is the same in every try, so that a crash in between
    /// never makes two.
    pub fn new_id(&self, app: &App, prefix: &str) -> String {
        match &self.keyed {
            Some(k) => ids::derived_at(prefix, k.begun_at, &[&self.tenant, &k.route, k.key.expose()]),
            None => app.fresh_id(prefix),
        }
    }

    /// A new API key. One for a keyed request is a hash under the operator's key, so that a repetition shows
    /// the same although only its hash is stored; otherwise it is random.
    pub fn new_api_key(&self, app: &App, tenant: &str) -> Secret {
        let secret = match &self.keyed {
            Some(k) => {
                let admin = app.config.admin_keys.first().map_or("", Secret::expose);
                ids::fingerprint(&["api key of", admin, k.key.expose(), tenant])
            }
            None => {
                let mut bytes = [0; 32];
                app.random.fill(&mut bytes);
                bytes.iter().map(|byte| format!("{byte:02x}")).collect()
            }
        };
        Secret::new(format!("oak_{secret}"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(unauthorized)
    }
}

/// Lets tenants pass.
pub async fn tenant(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match tenant_of(&app, request.headers()).await {
        Ok(tenant) => once(&app, tenant, Answers::Kept, request, next).await,
        Err(problem) => problem.into_response(),
    }
}

/// Lets the operator pass.
pub async fn admin(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match check_admin(&app, request.headers()).await {
        Ok(()) => once(&app, ADMIN.to_owned(), Answers::MadeAgain, request, next).await,
        Err(problem) => problem.into_response(),
    }
}

async fn tenant_of(app: &App, headers: &HeaderMap) -> Result<String, Problem> {
    let key = bearer(headers).ok_or_else(unauthorized)?;
    if is_admin(app, &key) {
        return Err(forbidden("This route takes a tenant's key, not the operator's."));
    }
    app.store.tenant_of_key(&key).await?.ok_or_else(unauthorized)
}

async fn check_admin(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let key = bearer(headers).ok_or_else(unauthorized)?;
    if is_admin(app, &key) {
        return Ok(());
    }
    match app.store.tenant_of_key(&key).await? {
        Some(_) => Err(forbidden("This route takes the operator's key.")),
        None => Err(unauthorized()),
    }
}

/// Whether it is the operator's key, or the one before a rotation. Compares hashes: their lengths tell nothing.
fn is_admin(app: &App, key: &Secret) -> bool {
    let given = tenants::key_hash(key);
    app.config.admin_keys.iter().any(|admin| Secret::new(tenants::key_hash(admin)).same(&given))
}

fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then(|| Secret::new(key))
}

fn unauthorized() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "Send your API key as `Authorization: Bearer KEY`; there was none, or nobody has this one.",
    )
}

fn forbidden(detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

/// What a repetition of an answered request gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// The answer that was stored.
    Kept,
    /// The same answer, made again: it holds a key, which is stored nowhere.
    MadeAgain,
}

/// Runs a request once for its `Idempotency-Key`.
async fn once(app: &App, tenant: String, answers: Answers, request: Request, next: Next) -> Response {
    match begin(app, tenant, answers, request).await {
        Ok(Begin::Run { caller, mut request }) => {
            request.extensions_mut().insert(caller.clone());
            let response = next.run(request).await;
            match &caller.keyed {
                Some(keyed) => end(app, &caller.tenant, keyed, answers, response).await,
                None => response,
            }
        }
        Ok(Begin::Answer(response)) => response,
        Err(problem) => problem.into_response(),
    }
}

enum Begin {
    Run { caller: Caller, request: Request },
    Answer(Response),
}

async fn begin(app: &App, tenant: String, answers: Answers, request: Request) -> Result<Begin, Problem> {
    let key = match request.headers().get("idempotency-key") {
        Some(key) if request.method() == Method::POST => checked_key(key)?,
        _ => return Ok(Begin::Run { caller: Caller { tenant, keyed: None }, request }),
    };
    let route = format!("{} {}", request.method(), request.uri().path());
    let (parts, body) = request.into_parts();
    let bytes = params::read_body(body).await?;
    let fingerprint = ids::fingerprint(&[&String::from_utf8_lossy(&bytes)]);
    let begun_at = match app.store.begin_request(&tenant, &route, key.expose(), &fingerprint).await? {
        Begun::Answered { status, body, .. } if answers == Answers::Kept => {
            return Ok(Begin::Answer(answered(status, body)));
        }
        Begun::First { begun_at } | Begun::Answered { begun_at, .. } => begun_at,
        Begun::InProgress => {
            return Err(Problem::conflict(
                "request_in_progress",
                "The first request with this Idempotency-Key is still being worked on. Repeat it shortly.",
            ));
        }
        Begun::Reused => {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "This Idempotency-Key came with another body within the last 24 hours. Take a new key.",
            ));
        }
    };
    let keyed = Some(Keyed { route, key, begun_at });
    let request = Request::from_parts(parts, Body::from(bytes));
    Ok(Begin::Run { caller: Caller { tenant, keyed }, request })
}

fn checked_key(key: &HeaderValue) -> Result<Secret, Problem> {
    key.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len())).map(Secret::new).ok_or_else(|| {
        Problem::invalid(format!("Idempotency-Key: must have 1 to {MAX_KEY} visible ASCII characters"))
    })
}

/// Keeps a final answer; what failed on our side is forgotten, so that its repetition is a new try.
async fn end(app: &App, tenant: &str, keyed: &Keyed, answers: Answers, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return Problem::unavailable().into_response();
    };
    let (route, key) = (keyed.route.as_str(), keyed.key.expose());
    let kept = if parts.status.is_server_error() {
        app.store.abandon_request(tenant, route, key).await
    } else {
        let body = String::from_utf8_lossy(&bytes);
        let body = if answers == Answers::Kept { body.as_ref() } else { "" };
        app.store.end_request(tenant, route, key, parts.status.as_u16(), body).await
    };
    if let Err(error) = kept {
        // what was done stays done: the repetition makes the same ids
        tracing::warn!(%error, "an idempotency record could not be ended: {error}");
    }
    Response::from_parts(parts, Body::from(bytes))
}

fn answered(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}
