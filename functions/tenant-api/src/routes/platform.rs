//! How the platform stands, for the operator.

use std::{collections::HashSet, sync::Arc};

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::Serialize;
use shared::{app::App, model::token, problem::Problem};
use utoipa::ToSchema;

use crate::params::time;

/// What counts as expiring, minutes.
const AHEAD_MINUTES: i64 = 10;

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
#[utoipa::path(get, path = "/v1/platform", tag = "Platform",
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
