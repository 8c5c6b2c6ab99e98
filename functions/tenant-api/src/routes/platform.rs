//! The platform's state, for the operator.

use std::sync::Arc;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::Serialize;
use shared::{problem::Problem, services::Services};
use utoipa::ToSchema;

use crate::extract::timestamp;

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
    /// Accounts whose token the schedule looks at within 10 minutes, as it counted within the last five.
    authorizer_tokens_expiring: u64,
}

/// Get the platform's state
///
/// Whether WeChat's tickets arrive and tokens are fresh, as the minute's tick saw it. Takes the operator's key.
#[utoipa::path(get, path = "/v1/platform", tag = "Platform",
    responses((status = 200, description = "The platform's state", body = Platform)))]
pub async fn get_platform(State(app): State<Arc<Services>>) -> Result<Json<Platform>, Problem> {
    let (status, accounts_bound) =
        futures::future::try_join(app.store.platform_status().get(), app.store.accounts().count_bound())
            .await?;
    Ok(Json(Platform {
        component_app_id: app.config.component.app_id.clone(),
        ticket_received_at: status.ticket_at.map(timestamp),
        component_token_expires_at: status.component_token_expires_at.map(timestamp),
        accounts_bound,
        authorizer_tokens_expiring: status.tokens_expiring,
    }))
}
