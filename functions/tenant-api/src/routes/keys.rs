//! A tenant's API keys.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    model::{api_key, audit::Actor, scope::Scope},
    problem::Problem,
    secret::Secret,
    services::Services,
    store::api_keys::{KeyCreation, KeyRevocation, LastKey, MAX_KEYS_PER_TENANT},
};
use utoipa::ToSchema;

use crate::{
    audit::audited,
    caller::Caller,
    extract::{JsonBody, Page, Paging, Path, Query, checked_limit, decode_key_cursor, timestamp},
    names::{MAX_NAME_CHARS, normalize_name},
    plain_errors::optional_timestamp,
    refusals::scope_missing,
};

/// Characters of a key that lists show to identify it: 24 of its 256 random bits.
const PREFIX_CHARS: usize = "oak_".len() + 6;

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Shop", "scopes": ["read", "send"], "expires_at": "2027-01-15T08:30:00Z"}))]
pub struct NewKey {
    /// What you call it: 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// What it may do: at most what the key has that makes it. All of that if left out.
    #[schema(min_items = 1)]
    scopes: Option<Vec<Scope>>,
    /// When it ends: with the key that makes it at the latest. If left out when that one ends, never where it has no end.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "optional_timestamp")]
    expires_at: Option<Timestamp>,
}

/// An API key, without the key itself.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey, example = json!({
    "id": "key_01jd3v6m5s8qk2x9w4r7t0y1za", "name": "Shop", "prefix": "oak_5f0c7f", "scopes": ["read", "send"],
    "created_at": "2026-01-15T08:30:00Z", "expires_at": "2027-01-15T08:30:00Z",
    "last_used_at": "2026-01-15T09:00:12Z",
    "made_by": {"type": "key", "id": "key_01jd3v6m5s8qk2x9w4r7t0y1yz"}
}))]
pub struct KeyState {
    /// `key_…`
    id: String,
    /// As given.
    name: String,
    /// How it begins.
    prefix: String,
    /// What it may do.
    scopes: Vec<Scope>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it ends; null for never. One that has ended stays on the list until it is revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When it was last used, to the hour; null before the first time.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// Who made it, so that what a key made that somebody stole can be found: a key, or the operator; null where nobody
    /// noted it.
    made_by: Option<Actor>,
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "key_01jd3v6m5s8qk2x9w4r7t0y1za", "name": "Shop", "prefix": "oak_5f0c7f", "scopes": ["read", "send"],
    "created_at": "2026-01-15T08:30:00Z", "expires_at": null, "last_used_at": null,
    "made_by": {"type": "key", "id": "key_01jd3v6m5s8qk2x9w4r7t0y1yz"}, "key": "oak_5f0c7f1e…"
}))]
pub struct CreatedKey {
    #[serde(flatten)]
    state: KeyState,
    /// The key. It is shown in this answer alone: only its hash is stored.
    key: String,
}

/// List API keys
///
/// In the order in which they were made, without the keys themselves.
#[utoipa::path(get, path = "/v1/keys", tag = "Keys", params(Paging),
    responses((status = 200, description = "A page of keys", body = Page<KeyState>)))]
pub async fn list_keys(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<KeyState>>, Problem> {
    list_keys_of(&app, &caller.tenant, &paging).await
}

/// A page of a tenant's keys.
pub async fn list_keys_of(
    app: &Services,
    tenant: &str,
    paging: &Paging,
) -> Result<Json<Page<KeyState>>, Problem> {
    let limit = checked_limit(paging.limit)? as usize;
    let after = decode_key_cursor(paging.cursor.as_deref())?;
    let mut found = app.store.api_keys().list(tenant).await?;
    if let Some(after) = after {
        let at = found.iter().position(|key| key.id == after).map_or(found.len(), |at| at + 1);
        found.drain(..at);
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| last.id.clone());
    Ok(Page::by_key(found, next, to_api))
}

/// Create an API key
///
/// The key is shown this once, and again for a repetition with the same key and `Idempotency-Key`. It can do at most what
/// the key can that makes it: for a scope that this one lacks the answer is 403 `scope_missing`. It ends at the latest when
/// that one ends; where that one is revoked it stays. A tenant has at most 100 keys.
#[utoipa::path(post, path = "/v1/keys", tag = "Keys", request_body = NewKey,
    responses(
        (status = 201, description = "The key", body = CreatedKey),
        (status = 409, description = "`too_many_keys`, `request_in_progress`", body = Problem,
            content_type = "application/problem+json")))]
pub async fn create_key(
    State(app): State<Arc<Services>>,
    caller: Caller,
    JsonBody(new): JsonBody<NewKey>,
) -> Result<(StatusCode, Json<CreatedKey>), Problem> {
    let tenant = caller.tenant.clone();
    create_key_for(&app, &caller, &tenant, new).await
}

/// Revoke an API key
///
/// It is refused within 30 seconds. Keys that it made stay: `made_by` of the list names them. The last key with the scope
/// `keys` stays, and the last of these without an end: 409 `last_key`.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "Keys",
    params(("id" = String, Path, description = "The key's id")),
    responses(
        (status = 204, description = "It is revoked"),
        (status = 409, description = "`last_key`", body = Problem, content_type = "application/problem+json")))]
pub async fn revoke_key(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    revoke_key_of(&app, &caller, &caller.tenant, &id).await
}

/// Revokes a key of `tenant`; the caller is the tenant or the operator, who may take the last one.
pub async fn revoke_key_of(
    app: &Services,
    caller: &Caller,
    tenant: &str,
    id: &str,
) -> Result<StatusCode, Problem> {
    // invented ids leave no audit entries, under which others could be buried
    if !app.store.api_keys().contains(tenant, id).await? {
        return Err(Problem::not_found("key"));
    }
    let (operation, last) = match caller.is_operator() {
        true => ("tenant.key_revoked_by_operator", LastKey::Revoke),
        false => ("key.revoked", LastKey::Keep),
    };
    audited(app, caller, tenant, operation, id, async {
        match app.store.api_keys().revoke(tenant, id, last).await? {
            KeyRevocation::Revoked => Ok(StatusCode::NO_CONTENT),
            KeyRevocation::NotFound => Err(Problem::not_found("key")),
            KeyRevocation::LastKey => Err(Problem::conflict(
                "last_key",
                "No other key could make new ones for ever. Make another with the scope `keys` and without an end first.",
            )),
        }
    })
    .await
}

/// Creates a key for `tenant`; the caller is the tenant or the operator.
pub async fn create_key_for(
    app: &Services,
    caller: &Caller,
    tenant: &str,
    new: NewKey,
) -> Result<(StatusCode, Json<CreatedKey>), Problem> {
    let now = app.clock.unix();
    let called = normalize_name(&new.name).ok_or_else(|| invalid_name("name"))?;
    let mut scopes = new.scopes.unwrap_or_else(|| caller.scopes.clone());
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(Problem::invalid("scopes: must name one at least"));
    }
    if let Some(lacking) = scopes.iter().find(|scope| !caller.scopes.contains(scope)) {
        return Err(scope_missing(*lacking));
    }
    let asked = new.expires_at.map(Timestamp::as_second);
    if asked.is_some_and(|end| end <= now) {
        return Err(Problem::invalid("expires_at: must be in the future"));
    }
    let secret = caller.new_api_key(app);
    let key = api_key::ApiKey {
        expires_at: asked.into_iter().chain(caller.expires_at).min(),
        made_by: Some(caller.actor.clone()),
        ..new_key_record(caller.new_id(app, "key"), tenant, called, &scopes, now, &secret)
    };
    let operation = if caller.is_operator() { "tenant.key_created_by_operator" } else { "key.created" };
    let key = audited(app, caller, tenant, operation, &key.id, async {
        match app.store.api_keys().create(&key, &secret).await? {
            KeyCreation::Created(key) => Ok(*key),
            KeyCreation::Revoked => Err(Problem::not_found("key")),
            KeyCreation::NoTenant => Err(Problem::not_found("tenant")),
            KeyCreation::TooMany => Err(Problem::conflict(
                "too_many_keys",
                format!("A tenant has at most {MAX_KEYS_PER_TENANT} keys. Revoke one first."),
            )),
        }
    })
    .await?;
    let created = CreatedKey { state: to_api(key), key: secret.expose().to_owned() };
    Ok((StatusCode::CREATED, Json(created)))
}

/// A key's record, without `expires_at` and `made_by`.
pub fn new_key_record(
    id: String,
    tenant: &str,
    called: String,
    scopes: &[Scope],
    now: i64,
    secret: &Secret,
) -> api_key::ApiKey {
    api_key::ApiKey {
        id,
        tenant_id: tenant.to_owned(),
        name: called,
        prefix: secret.expose().chars().take(PREFIX_CHARS).collect(),
        scopes: scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        created_at: now,
        expires_at: None,
        last_used_at: None,
        made_by: None,
    }
}

/// 422 for an invalid name.
pub fn invalid_name(member: &str) -> Problem {
    Problem::invalid(format!(
        "{member}: must have 1 to {MAX_NAME_CHARS} characters, each of which can be seen"
    ))
}

fn to_api(key: api_key::ApiKey) -> KeyState {
    KeyState {
        scopes: key.scopes.iter().filter_map(|scope| Scope::from_name(scope)).collect(),
        created_at: timestamp(key.created_at),
        expires_at: key.expires_at.map(timestamp),
        last_used_at: key.last_used_at.map(timestamp),
        made_by: key.made_by,
        id: key.id,
        name: key.name,
        prefix: key.prefix,
    }
}
