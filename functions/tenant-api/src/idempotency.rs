//! `Idempotency-Key`: a POST runs once, and a repetition gets the same response.

use axum::{
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value};
use shared::{
    ids,
    problem::Problem,
    secret::Secret,
    services::Services,
    store::idempotency::{IdempotencyCheck, RequestStart},
};

use crate::{
    caller::{Caller, IdempotentRequest, random_hex},
    extract, seal,
};

/// Maximum characters of an `Idempotency-Key`.
const MAX_KEY_CHARS: usize = 255;

/// Runs a request once per `Idempotency-Key`. `bearer` is its API key, `key_member` the response member
/// with a new API key. That key is not stored but recomputed, and only for the same `bearer`: a key with
/// fewer scopes could otherwise obtain one with more.
pub async fn run_once(
    app: &Services,
    caller: Caller,
    bearer: &Secret,
    key_member: Option<&'static str>,
    request: Request,
    next: Next,
) -> Response {
    match begin(app, caller, bearer, key_member, request).await {
        Ok(Start::Run(run)) => {
            let (caller, mut request) = *run;
            request.extensions_mut().insert(caller.clone());
            let response = next.run(request).await;
            match &caller.idempotent {
                Some(keyed) => store_response(app, &caller.tenant, keyed, key_member, response).await,
                None => response,
            }
        }
        Ok(Start::Replay(response)) => response,
        Err(problem) => problem.into_response(),
    }
}

/// How a request begins: it runs, or an earlier response is given again.
enum Start {
    Run(Box<(Caller, Request)>),
    Replay(Response),
}

async fn begin(
    app: &Services,
    mut caller: Caller,
    bearer: &Secret,
    key_member: Option<&str>,
    request: Request,
) -> Result<Start, Problem> {
    let key = match request.headers().get("idempotency-key") {
        Some(key) if request.method() == Method::POST => parse_key(key)?,
        _ => return Ok(Start::Run(Box::new((caller, request)))),
    };
    let route = format!("{} {}", request.method(), request.uri().path());
    let (parts, body) = request.into_parts();
    let bytes = extract::read_body(body).await?;
    let body = String::from_utf8_lossy(&bytes);
    let (fingerprint, salt) = match key_member {
        Some(_) => (ids::fingerprint(&[&body, "shown to", bearer.expose()]), seal::seal_random(app, bearer)),
        None => (ids::fingerprint(&[&body]), Secret::new(random_hex(app))),
    };
    let opened = |begun: RequestStart| match key_member {
        Some(_) => RequestStart { salt: seal::unseal(bearer, &begun.salt), ..begun },
        None => begun,
    };
    let begun =
        app.store.idempotency().begin(&caller.tenant, &route, key.expose(), &fingerprint, &salt).await?;
    let problem = match begun {
        IdempotencyCheck::Proceed(begun) => {
            caller.idempotent = Some(IdempotentRequest { route, key, first_try: opened(begun) });
            let request = Request::from_parts(parts, Body::from(bytes));
            return Ok(Start::Run(Box::new((caller, request))));
        }
        IdempotencyCheck::Replay { start: begun, status, body } => {
            caller.idempotent = Some(IdempotentRequest { route, key, first_try: opened(begun) });
            let shown = key_member.filter(|_| (200..300).contains(&status));
            let body = shown.map_or(body.clone(), |member| add_key(app, &caller, member, &body));
            return Ok(Start::Replay(replayed_response(status, body)));
        }
        IdempotencyCheck::InProgress => Problem::conflict(
            "request_in_progress",
            "The first request with this Idempotency-Key is still being worked on. Repeat it shortly.",
        ),
        IdempotencyCheck::KeyReused => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "This Idempotency-Key came with another body within the last 24 hours, or with another API key where the \
             answer shows a new one. Take a new Idempotency-Key.",
        ),
    };
    Err(problem)
}

fn parse_key(key: &HeaderValue) -> Result<Secret, Problem> {
    key.to_str().ok().filter(|key| (1..=MAX_KEY_CHARS).contains(&key.len())).map(Secret::new).ok_or_else(
        || {
            Problem::invalid(format!(
                "Idempotency-Key: must have 1 to {MAX_KEY_CHARS} visible ASCII characters"
            ))
        },
    )
}

/// Stores a final response. A server error is not stored, so that a repetition tries again.
async fn store_response(
    app: &Services,
    tenant: &str,
    idempotent: &IdempotentRequest,
    key_member: Option<&str>,
    response: Response,
) -> Response {
    let (parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return Problem::unavailable().into_response();
    };
    let (route, key) = (idempotent.route.as_str(), idempotent.key.expose());
    let kept = if parts.status.is_server_error() {
        app.store.idempotency().abandon(tenant, route, key).await
    } else {
        let body = String::from_utf8_lossy(&bytes);
        let shown = key_member.filter(|_| parts.status.is_success());
        let body = shown.map_or(body.to_string(), |member| remove_key(member, &body));
        app.store.idempotency().end(tenant, route, key, parts.status.as_u16(), &body).await
    };
    if let Err(error) = kept {
        // the request has happened; a repetition derives the same ids
        tracing::warn!(%error, "an idempotency record could not be ended: {error}");
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// The response as it is stored: without the key.
fn remove_key(member: &str, body: &str) -> String {
    let mut answer: Map<String, Value> = serde_json::from_str(body).unwrap_or_default();
    answer.shift_remove(member);
    Value::Object(answer).to_string()
}

/// The stored response with its key added as the last member, where it was.
fn add_key(app: &Services, caller: &Caller, member: &str, body: &str) -> String {
    let mut answer: Map<String, Value> = serde_json::from_str(body).unwrap_or_default();
    answer.insert(member.to_owned(), caller.new_api_key(app).expose().into());
    Value::Object(answer).to_string()
}

fn replayed_response(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}
