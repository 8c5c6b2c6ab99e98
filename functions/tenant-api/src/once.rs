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
    app::App,
    ids,
    problem::Problem,
    secret::Secret,
    store::idempotency::{Begun, Try},
};

use crate::{
    caller::{Caller, Keyed, random_hex},
    params, seal,
};

/// Maximum characters of an `Idempotency-Key`.
const MAX_KEY: usize = 255;

/// Runs a request once per `Idempotency-Key`. `bearer` is its API key, `key_member` the response member
/// with a new API key. That key is not stored but recomputed, and only for the same `bearer`: a key with
/// fewer scopes could otherwise obtain one with more.
pub async fn once(
    app: &App,
    caller: Caller,
    bearer: &Secret,
    shows: Option<&'static str>,
    request: Request,
    next: Next,
) -> Response {
    match begin(app, caller, bearer, shows, request).await {
        Ok(Begin::Run(run)) => {
            let (caller, mut request) = *run;
            request.extensions_mut().insert(caller.clone());
            let response = next.run(request).await;
            match &caller.keyed {
                Some(keyed) => end(app, &caller.tenant, keyed, shows, response).await,
                None => response,
            }
        }
        Ok(Begin::Answer(response)) => response,
        Err(problem) => problem.into_response(),
    }
}

enum Begin {
    Run(Box<(Caller, Request)>),
    Answer(Response),
}

async fn begin(
    app: &App,
    mut caller: Caller,
    bearer: &Secret,
    shows: Option<&str>,
    request: Request,
) -> Result<Begin, Problem> {
    let key = match request.headers().get("idempotency-key") {
        Some(key) if request.method() == Method::POST => checked_key(key)?,
        _ => return Ok(Begin::Run(Box::new((caller, request)))),
    };
    let route = format!("{} {}", request.method(), request.uri().path());
    let (parts, body) = request.into_parts();
    let bytes = params::read_body(body).await?;
    let body = String::from_utf8_lossy(&bytes);
    let (fingerprint, salt) = match shows {
        Some(_) => (ids::fingerprint(&[&body, "shown to", bearer.expose()]), seal::fresh(app, bearer)),
        None => (ids::fingerprint(&[&body]), Secret::new(random_hex(app))),
    };
    let opened = |begun: Try| match shows {
        Some(_) => Try { salt: seal::open(bearer, &begun.salt), ..begun },
        None => begun,
    };
    let begun = app.store.begin_request(&caller.tenant, &route, key.expose(), &fingerprint, &salt).await?;
    let problem = match begun {
        Begun::First(begun) => {
            caller.keyed = Some(Keyed { route, key, begun: opened(begun) });
            let request = Request::from_parts(parts, Body::from(bytes));
            return Ok(Begin::Run(Box::new((caller, request))));
        }
        Begun::Answered { begun, status, body } => {
            caller.keyed = Some(Keyed { route, key, begun: opened(begun) });
            let shown = shows.filter(|_| (200..300).contains(&status));
            let body = shown.map_or(body.clone(), |member| with_key(app, &caller, member, &body));
            return Ok(Begin::Answer(answered(status, body)));
        }
        Begun::InProgress => Problem::conflict(
            "request_in_progress",
            "The first request with this Idempotency-Key is still being worked on. Repeat it shortly.",
        ),
        Begun::Reused => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "This Idempotency-Key came with another body within the last 24 hours, or with another API key where the \
             answer shows a new one. Take a new Idempotency-Key.",
        ),
    };
    Err(problem)
}

fn checked_key(key: &HeaderValue) -> Result<Secret, Problem> {
    key.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len())).map(Secret::new).ok_or_else(|| {
        Problem::invalid(format!("Idempotency-Key: must have 1 to {MAX_KEY} visible ASCII characters"))
    })
}

/// Stores a final response. A server error is not stored, so that a repetition tries again.
async fn end(app: &App, tenant: &str, keyed: &Keyed, shows: Option<&str>, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return Problem::unavailable().into_response();
    };
    let (route, key) = (keyed.route.as_str(), keyed.key.expose());
    let kept = if parts.status.is_server_error() {
        app.store.abandon_request(tenant, route, key).await
    } else {
        let body = String::from_utf8_lossy(&bytes);
        let shown = shows.filter(|_| parts.status.is_success());
        let body = shown.map_or(body.to_string(), |member| without_key(member, &body));
        app.store.end_request(tenant, route, key, parts.status.as_u16(), &body).await
    };
    if let Err(error) = kept {
        // the request has happened; a repetition derives the same ids
        tracing::warn!(%error, "an idempotency record could not be ended: {error}");
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// The response as it is stored: without the key.
fn without_key(member: &str, body: &str) -> String {
    let mut answer: Map<String, Value> = serde_json::from_str(body).unwrap_or_default();
    answer.shift_remove(member);
    Value::Object(answer).to_string()
}

/// The stored response with its key added as the last member, where it was.
fn with_key(app: &App, caller: &Caller, member: &str, body: &str) -> String {
    let mut answer: Map<String, Value> = serde_json::from_str(body).unwrap_or_default();
    answer.insert(member.to_owned(), caller.new_api_key(app).expose().into());
    Value::Object(answer).to_string()
}

fn answered(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}
