//! What the operator does: tenants, and how the platform stands.

use std::{collections::HashSet, sync::Arc};

use axum::{Json, extract::State};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{app::App, model::token, problem::Problem, store::tenants::Tenant};
use utoipa::ToSchema;

use crate::{
    guard::Caller,
    params::{Body, time},
};

/// Characters of a tenant's name at most.
const MAX_NAME: usize = 100;
/// What counts as expiring, minutes.
const AHEAD_MINUTES: i64 = 10;

/// A tenant to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Invented Cafe Ltd."}))]
pub struct NewTenant {
    /// What the company calls itself: 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

/// A tenant that was just made.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "ten_01jd3v6m5s8qk2x9w4r7t0y1za",
    "name": "Invented Cafe Ltd.",
    "api_key": "oak_5f0c7f1e…"
}))]
pub struct CreatedTenant {
    /// `ten_…`
    id: String,
    /// As given.
    name: String,
    /// The tenant's key. It is shown in this answer alone: only its hash is stored.
    api_key: String,
}

/// Create a tenant
///
/// Makes a company that uses this hub, and its first API key. Takes the operator's key. A repetition with the
/// same `Idempotency-Key` and body shows the same tenant and the same key.
#[utoipa::path(post, path = "/v1/tenants", tag = "Platform", security(("operator_key" = [])),
    request_body = NewTenant,
    responses((status = 201, description = "The tenant and its key", body = CreatedTenant)))]
pub async fn create_tenant(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewTenant>,
) -> Result<(StatusCode, Json<CreatedTenant>), Problem> {
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Problem::invalid(format!(
            "name: must have 1 to {MAX_NAME} characters, none of them control"
        )));
    }
    let id = caller.new_id(&app, "ten");
    let api_key = caller.new_api_key(&app, &id);
    let tenant = match app.store.tenant(&id).await? {
        Some(tenant) => tenant, // made by an earlier try
        None => Tenant { id, name: name.to_owned(), created_at: app.clock.now() },
    };
    app.store.create_tenant(&tenant, &api_key).await?;
    let created = CreatedTenant { id: tenant.id, name: tenant.name, api_key: api_key.expose().to_owned() };
    Ok((StatusCode::CREATED, Json(created)))
}

/// How the platform stands.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "component_app_id": "wx00c0ffee00c0ffee",
    "ticket_received_at": "2026-01-15T08:00:03Z",
    "component_token_expires_at": "2026-01-15T09:41:10Z",
    "accounts_bound": 128,
    "authorizer_tokens_expiring": 11
}))]
pub struct Platform {
    /// The third-party platform's own app id.
    component_app_id: String,
    /// When WeChat pushed the newest `component_verify_ticket`, every 10 minutes as a rule; null before the
    /// first.
    #[schema(value_type = Option<String>, format = DateTime)]
    ticket_received_at: Option<Timestamp>,
    /// Until when the component token lives; null before the first.
    #[schema(value_type = Option<String>, format = DateTime)]
    component_token_expires_at: Option<Timestamp>,
    /// Accounts that are bound now, all tenants together.
    accounts_bound: u64,
    /// Accounts whose token the schedule looks at within the next 10 minutes.
    authorizer_tokens_expiring: u64,
}

/// Get the platform's state
///
/// Whether WeChat's tickets arrive and tokens are fresh. Takes the operator's key.
#[utoipa::path(get, path = "/v1/platform", tag = "Platform", security(("operator_key" = [])),
    responses((status = 200, description = "The platform's state", body = Platform)))]
pub async fn get_platform(State(app): State<Arc<App>>) -> Result<Json<Platform>, Problem> {
    let component = app.store.component().await?;
    Ok(Json(Platform {
        component_app_id: app.config.component.app_id.clone(),
        ticket_received_at: component.ticket.is_some().then(|| time(component.ticket_at)),
        component_token_expires_at: component.token.map(|t| time(t.issued_at.saturating_add(t.expires_in))),
        accounts_bound: app.store.accounts_bound().await?,
        authorizer_tokens_expiring: expiring(&app).await?,
    }))
}

async fn expiring(app: &App) -> Result<u64, Problem> {
    let now = app.clock.unix();
    let minute = now.div_euclid(60);
    let slots = (minute..=minute + AHEAD_MINUTES).map(|m| app.store.due_in_slot(token::slot_of(m)));
    let on_wheel = futures::future::try_join_all(slots).await?;
    let others = app.store.due_by(now + AHEAD_MINUTES * 60).await?;
    let accounts: HashSet<String> = on_wheel.into_iter().flatten().chain(others).collect();
    Ok(accounts.len() as u64)
}
