//! Accounts, and what their owners do.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::response::ControlResult;
use crate::owner_actions::{IssuedAuthCode, OwnerConsent};
use crate::simulator::Simulator;
use crate::state::WeChatState;
use crate::state::account::{NewAccount, PERMISSIONS, SimulatedAccount};
use crate::state::tokens::TokenOwner;

/// An account as shown to people and tests: without follower list, chats and refresh token.
fn account_json(state: &WeChatState, account: &SimulatedAccount, now: i64) -> Value {
    let owner = TokenOwner::Authorizer(account.app_id.clone());
    json!({
        "app_id": account.app_id,
        "original_id": account.original_id,
        "name": account.name,
        "kind": account.kind,
        "service_type": account.kind.service_type(),
        "verify_type": account.verify_type,
        "account_status": account.account_status,
        "description": account.description(),
        "open_platform": account.open_platform,
        "followers": account.followers.total(),
        "authorized": account.authorization.is_some(),
        "func_ids": account.authorization.as_ref().map(|grant| &grant.funcs),
        "auth_time": account.authorization.as_ref().map(|grant| grant.auth_time),
        "live_tokens": state.tokens.live_count(&owner, now),
        "templates": account.templates,
    })
}

pub async fn accounts(State(simulator): State<Simulator>) -> Json<Value> {
    let (state, now) = (simulator.state(), simulator.now());
    let views: Vec<Value> =
        state.accounts_in_order().into_iter().map(|account| account_json(&state, account, now)).collect();
    let permissions =
        PERMISSIONS.map(|(id, name, required)| json!({"id": id, "name": name, "required": required}));
    Json(json!({"accounts": views, "permissions": permissions}))
}

pub async fn add_account(
    State(simulator): State<Simulator>,
    Json(new): Json<NewAccount>,
) -> ControlResult<Value> {
    let account = simulator.add_account(new)?;
    Ok(Json(account_json(&simulator.state(), &account, simulator.now())))
}

pub async fn account(State(simulator): State<Simulator>, Path(app_id): Path<String>) -> ControlResult<Value> {
    let state = simulator.state();
    Ok(Json(account_json(&state, state.account(&app_id)?, simulator.now())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountChange {
    name: Option<String>,
    verify_type: Option<i64>,
    account_status: Option<i64>,
    open_platform: Option<String>,
}

pub async fn change_account(
    State(simulator): State<Simulator>,
    Path(app_id): Path<String>,
    Json(change): Json<AccountChange>,
) -> ControlResult<Value> {
    simulator.change_account(&app_id, |account| {
        if let Some(name) = change.name {
            account.name = name;
        }
        account.verify_type = change.verify_type.unwrap_or(account.verify_type);
        account.account_status = change.account_status.unwrap_or(account.account_status);
        if let Some(name) = change.open_platform {
            // An empty name unbinds.
            account.open_platform = Some(name).filter(|name| !name.is_empty());
            account.followers.set_open_platform(account.open_platform.clone());
        }
    })?;
    self::account(State(simulator), Path(app_id)).await
}

pub async fn authorize(
    State(simulator): State<Simulator>,
    Json(grant): Json<OwnerConsent>,
) -> ControlResult<IssuedAuthCode> {
    Ok(Json(simulator.authorize(grant)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    app_id: String,
    #[serde(default)]
    without_event: bool,
}

pub async fn unauthorize(
    State(simulator): State<Simulator>,
    Json(gone): Json<Revocation>,
) -> ControlResult<Value> {
    simulator.unauthorize(&gone.app_id, !gone.without_event)?;
    Ok(Json(json!({"app_id": gone.app_id, "authorized": false})))
}
