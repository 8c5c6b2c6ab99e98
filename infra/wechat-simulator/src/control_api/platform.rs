//! The platform itself: its pushes, tokens, quotas and settings, the faults it has, and the calls that it got.

use axum::Json;
use axum::extract::{Query, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::response::{ControlResult, PageQuery, Unprocessable};
use crate::error::ApiError;
use crate::faults::InjectedFault;
use crate::log::PushDelivery;
use crate::simulator::Simulator;
use crate::state::Settings;
use crate::state::outgoing_push::CallbackUrl;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPush {
    to: CallbackUrl,
    app_id: Option<String>,
    xml: String,
}

pub async fn push(State(simulator): State<Simulator>, Json(raw): Json<RawPush>) -> Json<PushDelivery> {
    Json(simulator.push_raw(raw.to, raw.app_id.as_deref(), raw.xml).await)
}

pub async fn ticket(State(simulator): State<Simulator>) -> Json<PushDelivery> {
    Json(simulator.push_ticket().await)
}

pub async fn deliveries(State(simulator): State<Simulator>, Query(window): Query<PageQuery>) -> Json<Value> {
    let limit = window.limit.unwrap_or(100);
    let list: Vec<PushDelivery> = simulator.state().deliveries.0.iter().rev().take(limit).cloned().collect();
    Json(json!({"deliveries": list}))
}

pub async fn faults(State(simulator): State<Simulator>) -> Json<Value> {
    Json(json!({"faults": simulator.state().faults}))
}

#[derive(Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    Many(Vec<InjectedFault>),
    One(InjectedFault),
}

pub async fn add_faults(State(simulator): State<Simulator>, Json(new): Json<OneOrMany>) -> Json<Value> {
    match new {
        OneOrMany::Many(faults) => faults.into_iter().for_each(|fault| simulator.inject_fault(fault)),
        OneOrMany::One(fault) => simulator.inject_fault(fault),
    }
    faults(State(simulator)).await
}

pub async fn clear_faults(State(simulator): State<Simulator>) -> Json<Value> {
    simulator.clear_faults();
    Json(json!({"faults": []}))
}

pub async fn calls(State(simulator): State<Simulator>, Query(window): Query<PageQuery>) -> Json<Value> {
    let limit = window.limit.unwrap_or(100);
    let state = simulator.state();
    let list: Vec<_> = state.calls.entries.iter().rev().take(limit).collect();
    Json(json!({
        "counters": state.calls.counters,
        "tokens_issued": state.tokens.issued_counts(),
        "calls": list,
    }))
}

pub async fn clear_calls(State(simulator): State<Simulator>) -> StatusCode {
    simulator.clear_calls();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaChange {
    app_id: Option<String>,
    path: String,
    limit: Option<u64>,
    used: Option<u64>,
}

pub async fn quota(State(simulator): State<Simulator>, Json(change): Json<QuotaChange>) -> StatusCode {
    let app_id = change.app_id.as_deref().unwrap_or("*");
    if let Some(limit) = change.limit {
        simulator.limit_quota(app_id, &change.path, limit);
    }
    if let Some(used) = change.used {
        simulator.set_quota_used(app_id, &change.path, used);
    }
    StatusCode::NO_CONTENT
}

/// What happens to tokens that are still valid.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum TokenChange {
    /// 42001 from now on.
    Expire,
    /// 40001 from now on, as if replaced elsewhere.
    Invalidate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokensBody {
    /// The account whose tokens are meant; the component's own if absent.
    app_id: Option<String>,
    change: TokenChange,
}

pub async fn tokens(State(simulator): State<Simulator>, Json(body): Json<TokensBody>) -> StatusCode {
    match body.change {
        TokenChange::Expire => simulator.expire_tokens(body.app_id.as_deref()),
        TokenChange::Invalidate => simulator.invalidate_tokens(body.app_id.as_deref()),
    }
    StatusCode::NO_CONTENT
}

pub async fn settings(State(simulator): State<Simulator>) -> Json<Settings> {
    Json(simulator.settings())
}

pub async fn change_settings(
    State(simulator): State<Simulator>,
    Json(change): Json<Value>,
) -> ControlResult<Settings> {
    let mut whole = serde_json::to_value(simulator.settings()).unwrap_or_default();
    if let (Some(whole), Some(change)) = (whole.as_object_mut(), change.as_object()) {
        whole.extend(change.clone());
    }
    let fresh: Settings =
        serde_json::from_value(whole).map_err(|error| ApiError::with_errmsg(40035, error.to_string()))?;
    simulator.configure(|settings| settings.clone_from(&fresh));
    Ok(Json(fresh))
}

#[derive(Deserialize)]
pub struct KeyBody {
    aes_key: String,
}

pub async fn aes_key(
    State(simulator): State<Simulator>,
    Json(body): Json<KeyBody>,
) -> Result<StatusCode, Unprocessable> {
    simulator
        .rotate_aes_key(&body.aes_key)
        .map_err(|error| ApiError::with_errmsg(40035, error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}
