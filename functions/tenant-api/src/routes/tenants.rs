//! Tenants: the operator creates, changes, suspends and deletes them.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    model::{
        api_key,
        scope::Scope,
        tenant::{self, DEFAULT_TIME_ZONE, TenantStatus},
    },
    problem::Problem,
    services::Services,
    store::tenants::{TenantChange, TenantDeletion},
};
use utoipa::ToSchema;

use super::{
    accounts::schedule_token_deletion,
    keys::{self, CreatedKey, KeyState, NewKey, invalid_name},
};
use crate::{
    audit::audited,
    caller::Caller,
    extract::{JsonBody, Page, Paging, Path, Query, checked_limit, decode_key_cursor, timestamp_ms},
    names::{is_time_zone, normalize_name},
};

/// Accounts of a tenant read per database request.
const ACCOUNTS_PER_PAGE: u32 = 100;

/// A tenant to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Invented Cafe Ltd.", "time_zone": "Europe/Berlin"}))]
pub struct NewTenant {
    /// What the company calls itself, as administrators read it when they bind: 1 to 100 characters that can be seen.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// IANA name of its time zone; `Asia/Shanghai` if left out.
    #[schema(min_length = 1)]
    time_zone: Option<String>,
}

/// What of a tenant is to be changed, one member at least; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1, example = json!({"status": "suspended"}))]
pub struct TenantPatch {
    /// What the company calls itself: 1 to 100 characters that can be seen.
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// IANA name of its time zone.
    #[schema(min_length = 1)]
    time_zone: Option<String>,
    /// Whether its keys open the API and its messages go out.
    status: Option<PatchedStatus>,
}

/// What a tenant's status can be changed to.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PatchedStatus {
    /// Its keys open the API, and its messages go out.
    Active,
    /// Its keys open nothing and nothing is sent for it; what is pushed to its accounts is stored.
    Suspended,
}

/// A tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Tenant, example = json!({
    "id": "ten_01jd3v6m5s8qk2x9w4r7t0y1za", "name": "Invented Cafe Ltd.", "time_zone": "Europe/Berlin",
    "status": "active", "created_at": "2026-01-15T08:30:00.120Z"
}))]
pub struct TenantState {
    /// `ten_…`
    id: String,
    /// What the company calls itself.
    name: String,
    /// IANA name of its time zone.
    time_zone: String,
    /// Where it stands.
    status: TenantStatus,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// A tenant that was just made.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "ten_01jd3v6m5s8qk2x9w4r7t0y1za", "name": "Invented Cafe Ltd.", "time_zone": "Europe/Berlin",
    "status": "active", "created_at": "2026-01-15T08:30:00.120Z", "api_key": "oak_5f0c7f1e…"
}))]
pub struct CreatedTenant {
    #[serde(flatten)]
    state: TenantState,
    /// The tenant's first key, with all scopes. It is shown in this answer alone: only its hash is stored.
    api_key: String,
}

/// Create a tenant
///
/// Makes a company that uses this hub, and its first API key. Takes the operator's key. A repetition with the
/// same `Idempotency-Key` and body shows the same tenant and the same key.
#[utoipa::path(post, path = "/v1/tenants", tag = "Tenants", request_body = NewTenant,
    responses((status = 201, description = "The tenant and its key", body = CreatedTenant)))]
pub async fn create_tenant(
    State(app): State<Arc<Services>>,
    caller: Caller,
    JsonBody(new): JsonBody<NewTenant>,
) -> Result<(StatusCode, Json<CreatedTenant>), Problem> {
    let called = normalize_name(&new.name).ok_or_else(|| invalid_name("name"))?;
    let time_zone = checked_time_zone(new.time_zone)?.unwrap_or_else(|| DEFAULT_TIME_ZONE.to_owned());
    let id = caller.new_id(&app, "ten");
    let secret = caller.new_api_key(&app);
    let now = timestamp_ms(app.clock.now().as_millisecond()); // stored to the millisecond
    let (all, key_id) = (Scope::ALL, caller.new_id(&app, "key"));
    let key = api_key::ApiKey {
        made_by: Some(caller.actor.clone()),
        ..keys::new_key_record(key_id, &id, "First key".to_owned(), &all, now.as_second(), &secret)
    };
    let status = TenantStatus::Active;
    let new = tenant::Tenant { id, name: called, time_zone, status, created_at: now, revision: 0 };
    let tenant = audited(&app, &caller, &new.id, "tenant.created", &new.id, async {
        app.store.tenants().create(&new, &key, &secret).await?;
        // a tenant of an earlier attempt is returned unchanged
        app.store.tenants().get(&new.id).await?.ok_or_else(Problem::unavailable)
    })
    .await?;
    let created = CreatedTenant { state: to_api(tenant), api_key: secret.expose().to_owned() };
    Ok((StatusCode::CREATED, Json(created)))
}

/// List tenants
///
/// In the order in which they were made. Takes the operator's key.
#[utoipa::path(get, path = "/v1/tenants", tag = "Tenants", params(Paging),
    responses((status = 200, description = "A page of tenants", body = Page<TenantState>)))]
pub async fn list_tenants(
    State(app): State<Arc<Services>>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<TenantState>>, Problem> {
    let after = decode_key_cursor(paging.cursor.as_deref())?;
    let (found, next) = app.store.tenants().list(checked_limit(paging.limit)?, after.as_deref()).await?;
    Ok(Page::by_key(found, next, to_api))
}

/// Get a tenant
///
/// Takes the operator's key.
#[utoipa::path(get, path = "/v1/tenants/{id}", tag = "Tenants",
    params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "The tenant", body = TenantState)))]
pub async fn get_tenant(
    State(app): State<Arc<Services>>,
    Path(id): Path<String>,
) -> Result<Json<TenantState>, Problem> {
    app.store.tenants().get(&id).await?.map(|tenant| Json(to_api(tenant))).ok_or_else(tenant_not_found)
}

/// Change a tenant
///
/// While it is suspended its keys answer 403 `tenant_suspended` (within 30 seconds) and nothing is sent for it; what is
/// pushed to its accounts is stored. Takes the operator's key.
#[utoipa::path(patch, path = "/v1/tenants/{id}", tag = "Tenants", request_body = TenantPatch,
    params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "The tenant as it is now", body = TenantState)))]
pub async fn change_tenant(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(patch): JsonBody<TenantPatch>,
) -> Result<Json<TenantState>, Problem> {
    if patch.name.is_none() && patch.time_zone.is_none() && patch.status.is_none() {
        return Err(Problem::invalid("body: must have one of `name`, `time_zone`, `status`"));
    }
    let called =
        patch.name.map(|text| normalize_name(&text).ok_or_else(|| invalid_name("name"))).transpose()?;
    let operation = match patch.status {
        Some(PatchedStatus::Active) => "tenant.activated",
        Some(PatchedStatus::Suspended) => "tenant.suspended",
        None => "tenant.changed",
    };
    let change = TenantChange {
        name: called,
        time_zone: checked_time_zone(patch.time_zone)?,
        status: patch.status.map(|status| match status {
            PatchedStatus::Active => TenantStatus::Active,
            PatchedStatus::Suspended => TenantStatus::Suspended,
        }),
    };
    audited(&app, &caller, find_log(&app, &id).await?.as_str(), operation, &id, async {
        let now = app.store.tenants().change(&id, &change).await?.ok_or_else(tenant_not_found)?;
        if let Some(status) = change.status {
            app.store.accounts().mark_suspended(&id, status == TenantStatus::Suspended).await?;
        }
        Ok(Json(to_api(now)))
    })
    .await
}

/// Delete a tenant
///
/// Only one that is suspended and has no bound account: 409 `tenant_active` otherwise. Its keys, accounts and rules are
/// erased at once; it answers `deleted` while its customers, their events and its messages are still here. Takes the
/// operator's key.
#[utoipa::path(delete, path = "/v1/tenants/{id}", tag = "Tenants",
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
        (status = 202, description = "It is being erased", body = TenantState),
        (status = 409, description = "`tenant_active`", body = Problem, content_type = "application/problem+json")))]
pub async fn delete_tenant(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<TenantState>), Problem> {
    audited(&app, &caller, find_log(&app, &id).await?.as_str(), "tenant.deleted", &id, async {
        match app.store.tenants().delete(&id).await? {
            TenantDeletion::Deleted(tenant) => {
                schedule_all_token_deletions(&app, &id).await?;
                app.store.tenants().erase_access(&id).await?;
                Ok((StatusCode::ACCEPTED, Json(to_api(tenant))))
            }
            TenantDeletion::StillActive => Err(Problem::conflict(
                "tenant_active",
                "Suspend the tenant first, and have the authorizations of its accounts cancelled.",
            )),
            TenantDeletion::NotFound => Err(tenant_not_found()),
        }
    })
    .await
}

/// Queues the deletion of all its accounts' tokens, while the list of accounts still exists.
async fn schedule_all_token_deletions(app: &Services, tenant: &str) -> Result<(), Problem> {
    let mut after = None;
    loop {
        let (accounts, next) = app.store.accounts().list(tenant, ACCOUNTS_PER_PAGE, after.as_deref()).await?;
        for account in accounts {
            schedule_token_deletion(app, &account.app_id).await?;
        }
        after = next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Create a key for a tenant
///
/// The way back for a tenant without a key. Takes the operator's key.
#[utoipa::path(post, path = "/v1/tenants/{id}/keys", tag = "Tenants", request_body = NewKey,
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
        (status = 201, description = "The key", body = CreatedKey),
        (status = 409, description = "`too_many_keys`, `request_in_progress`", body = Problem,
            content_type = "application/problem+json")))]
pub async fn create_tenant_key(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(new): JsonBody<NewKey>,
) -> Result<(StatusCode, Json<CreatedKey>), Problem> {
    find_log(&app, &id).await?;
    keys::create_key_for(&app, &caller, &id, new).await
}

/// List a tenant's keys
///
/// As the tenant lists them, also while it is suspended. Takes the operator's key.
#[utoipa::path(get, path = "/v1/tenants/{id}/keys", tag = "Tenants",
    params(("id" = String, Path, description = "The tenant's id"), Paging),
    responses((status = 200, description = "A page of keys", body = Page<KeyState>)))]
pub async fn list_tenant_keys(
    State(app): State<Arc<Services>>,
    Path(id): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<KeyState>>, Problem> {
    find_log(&app, &id).await?;
    keys::list_keys_of(&app, &id, &paging).await
}

/// Revoke a tenant's key
///
/// It is refused within 30 seconds. For a key that somebody stole: suspend the tenant, so that it makes no others, revoke it
/// and those that it made, make a new one, and activate the tenant again. Also the last one can be revoked. Takes the
/// operator's key.
#[utoipa::path(delete, path = "/v1/tenants/{id}/keys/{key_id}", tag = "Tenants",
    params(
        ("id" = String, Path, description = "The tenant's id"),
        ("key_id" = String, Path, description = "The key's id")),
    responses((status = 204, description = "It is revoked")))]
pub async fn revoke_tenant_key(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path((id, key_id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    find_log(&app, &id).await?;
    keys::revoke_key_of(&app, &caller, &id, &key_id).await
}

/// The audit log's owner, if the tenant exists: an invented id gets no log.
async fn find_log(app: &Services, id: &str) -> Result<String, Problem> {
    app.store.tenants().get(id).await?.map(|tenant| tenant.id).ok_or_else(tenant_not_found)
}

fn tenant_not_found() -> Problem {
    Problem::not_found("tenant")
}

fn checked_time_zone(zone: Option<String>) -> Result<Option<String>, Problem> {
    match zone {
        Some(zone) if !is_time_zone(&zone) => {
            Err(Problem::invalid("time_zone: must be an IANA time zone, as `Asia/Shanghai`"))
        }
        zone => Ok(zone),
    }
}

fn to_api(tenant: tenant::Tenant) -> TenantState {
    TenantState {
        id: tenant.id,
        name: tenant.name,
        time_zone: tenant.time_zone,
        status: tenant.status,
        created_at: timestamp_ms(tenant.created_at.as_millisecond()), // release 0.1 stored nanoseconds
    }
}
