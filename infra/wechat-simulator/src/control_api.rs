//! `/_sim/…`: the JSON API by which tests and the simulator's page change the simulated state.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::faults::InjectedFault;
use crate::follower_actions::{FollowerAction, PushOverrides};
use crate::log::PushDelivery;
use crate::owner_actions::{IssuedAuthCode, OwnerConsent};
use crate::simulator::Simulator;
use crate::state::account::{NewAccount, SimulatedAccount};
use crate::state::follower::Follower;
use crate::state::outgoing_push::CallbackUrl;
use crate::state::tokens::TokenOwner;
use crate::state::{Settings, WeChatState, account::PERMISSIONS};

/// The routes; the simulator is added as state later.
pub(crate) fn router() -> Router<Simulator> {
    Router::new()
        .route("/_sim/accounts", get(accounts).post(add_account))
        .route("/_sim/accounts/{app_id}", get(account).patch(change_account))
        .route("/_sim/accounts/{app_id}/followers", get(followers).post(add_follower))
        .route("/_sim/accounts/{app_id}/followers/{openid}", get(follower).patch(change_follower))
        .route("/_sim/accounts/{app_id}/followers/{openid}/act", post(act))
        .route("/_sim/accounts/{app_id}/followers/{openid}/messages", get(messages))
        .route("/_sim/authorize", post(authorize))
        .route("/_sim/unauthorize", post(unauthorize))
        .route("/_sim/push", post(push))
        .route("/_sim/ticket", post(ticket))
        .route("/_sim/deliveries", get(deliveries))
        .route("/_sim/faults", get(faults).post(add_faults).delete(clear_faults))
        .route("/_sim/calls", get(calls).delete(clear_calls))
        .route("/_sim/quota", post(quota))
        .route("/_sim/tokens", post(tokens))
        .route("/_sim/settings", get(settings).patch(change_settings))
        .route("/_sim/aes_key", post(aes_key))
}

/// A refused request: 422 with WeChat's error code and message.
struct Unprocessable(ApiError);

impl From<ApiError> for Unprocessable {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Unprocessable {
    fn into_response(self) -> Response {
        let body = json!({"errcode": self.0.errcode, "errmsg": self.0.errmsg});
        (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
    }
}

type ControlResult<T> = Result<Json<T>, Unprocessable>;

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

async fn accounts(State(simulator): State<Simulator>) -> Json<Value> {
    let (state, now) = (simulator.state(), simulator.now());
    let views: Vec<Value> =
        state.accounts_in_order().into_iter().map(|account| account_json(&state, account, now)).collect();
    let permissions =
        PERMISSIONS.map(|(id, name, required)| json!({"id": id, "name": name, "required": required}));
    Json(json!({"accounts": views, "permissions": permissions}))
}

async fn add_account(
    State(simulator): State<Simulator>,
    Json(new): Json<NewAccount>,
) -> ControlResult<Value> {
    let account = simulator.add_account(new)?;
    Ok(Json(account_json(&simulator.state(), &account, simulator.now())))
}

async fn account(State(simulator): State<Simulator>, Path(app_id): Path<String>) -> ControlResult<Value> {
    let state = simulator.state();
    Ok(Json(account_json(&state, state.account(&app_id)?, simulator.now())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountChange {
    name: Option<String>,
    verify_type: Option<i64>,
    account_status: Option<i64>,
    open_platform: Option<String>,
}

async fn change_account(
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

#[derive(Deserialize)]
struct PageQuery {
    offset: Option<usize>,
    limit: Option<usize>,
}

async fn followers(
    State(simulator): State<Simulator>,
    Path(app_id): Path<String>,
    Query(window): Query<PageQuery>,
) -> ControlResult<Value> {
    let state = simulator.state();
    let followers = &state.account(&app_id)?.followers;
    let list = followers.latest(window.offset.unwrap_or(0), window.limit.unwrap_or(50).min(1000));
    Ok(Json(json!({"total": followers.total(), "followers": list})))
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct NewFollower {
    openid: Option<String>,
    name: Option<String>,
    person: Option<u64>,
}

async fn add_follower(
    State(simulator): State<Simulator>,
    Path(app_id): Path<String>,
    Json(new): Json<NewFollower>,
) -> ControlResult<Follower> {
    Ok(Json(simulator.add_follower(&app_id, new.openid, new.name, new.person)?))
}

async fn follower(
    State(simulator): State<Simulator>,
    Path((app_id, openid)): Path<(String, String)>,
) -> ControlResult<Follower> {
    let state = simulator.state();
    Ok(Json(state.account(&app_id)?.followers.get(&openid).ok_or_else(|| ApiError::new(40003))?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FollowerChange {
    /// Follows or unfollows without a push, as if it were lost.
    subscribed: Option<bool>,
    remark: Option<String>,
    tagid_list: Option<Vec<i64>>,
    blocks_templates: Option<bool>,
    unescaped: Option<String>,
}

async fn change_follower(
    State(simulator): State<Simulator>,
    Path((app_id, openid)): Path<(String, String)>,
    Json(change): Json<FollowerChange>,
) -> ControlResult<Follower> {
    let followers = simulator.change_account(&app_id, |account| {
        account.followers.update(&openid, |follower| {
            follower.subscribed = change.subscribed.unwrap_or(follower.subscribed);
            follower.blocks_templates = change.blocks_templates.unwrap_or(follower.blocks_templates);
            if let Some(remark) = change.remark {
                follower.remark = remark;
            }
            if let Some(unescaped) = change.unescaped {
                follower.unescaped = unescaped;
            }
            if let Some(tags) = change.tagid_list {
                follower.tagid_list = tags;
            }
            follower.clone()
        })
    })?;
    Ok(Json(followers.ok_or_else(|| ApiError::new(40003))?))
}

#[derive(Deserialize)]
struct ActionBody {
    #[serde(flatten)]
    act: FollowerAction,
    #[serde(flatten)]
    stamp: PushOverrides,
}

async fn act(
    State(simulator): State<Simulator>,
    Path((app_id, openid)): Path<(String, String)>,
    Json(body): Json<ActionBody>,
) -> ControlResult<PushDelivery> {
    Ok(Json(simulator.act(&app_id, &openid, body.act, body.stamp).await?))
}

async fn messages(
    State(simulator): State<Simulator>,
    Path((app_id, openid)): Path<(String, String)>,
) -> ControlResult<Value> {
    let now = simulator.now();
    let state = simulator.state();
    let account = state.account(&app_id)?;
    let follower = account.followers.get(&openid).ok_or_else(|| ApiError::new(40003))?;
    let chat = account.chats.get(&openid).cloned().unwrap_or_default();
    let window = chat.window(now).map(|(sends, until)| json!({"sends_left": sends, "closes_at": until}));
    let typing = chat.typing_since.is_some_and(|since| now < since + 30);
    Ok(Json(
        json!({"follower": follower, "messages": chat.items, "window": window, "typing": typing, "now": now}),
    ))
}

async fn authorize(
    State(simulator): State<Simulator>,
    Json(grant): Json<OwnerConsent>,
) -> ControlResult<IssuedAuthCode> {
    Ok(Json(simulator.authorize(grant)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revocation {
    app_id: String,
    #[serde(default)]
    without_event: bool,
}

async fn unauthorize(
    State(simulator): State<Simulator>,
    Json(gone): Json<Revocation>,
) -> ControlResult<Value> {
    simulator.unauthorize(&gone.app_id, !gone.without_event)?;
    Ok(Json(json!({"app_id": gone.app_id, "authorized": false})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPush {
    to: CallbackUrl,
    app_id: Option<String>,
    xml: String,
}

async fn push(State(simulator): State<Simulator>, Json(raw): Json<RawPush>) -> Json<PushDelivery> {
    Json(simulator.push_raw(raw.to, raw.app_id.as_deref(), raw.xml).await)
}

async fn ticket(State(simulator): State<Simulator>) -> Json<PushDelivery> {
    Json(simulator.push_ticket().await)
}

async fn deliveries(State(simulator): State<Simulator>, Query(window): Query<PageQuery>) -> Json<Value> {
    let limit = window.limit.unwrap_or(100);
    let list: Vec<PushDelivery> = simulator.state().deliveries.0.iter().rev().take(limit).cloned().collect();
    Json(json!({"deliveries": list}))
}

async fn faults(State(simulator): State<Simulator>) -> Json<Value> {
    Json(json!({"faults": simulator.state().faults}))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<InjectedFault>),
    One(InjectedFault),
}

async fn add_faults(State(simulator): State<Simulator>, Json(new): Json<OneOrMany>) -> Json<Value> {
    match new {
        OneOrMany::Many(faults) => faults.into_iter().for_each(|fault| simulator.inject_fault(fault)),
        OneOrMany::One(fault) => simulator.inject_fault(fault),
    }
    faults(State(simulator)).await
}

async fn clear_faults(State(simulator): State<Simulator>) -> Json<Value> {
    simulator.clear_faults();
    Json(json!({"faults": []}))
}

async fn calls(State(simulator): State<Simulator>, Query(window): Query<PageQuery>) -> Json<Value> {
    let limit = window.limit.unwrap_or(100);
    let state = simulator.state();
    let list: Vec<_> = state.calls.entries.iter().rev().take(limit).collect();
    Json(json!({
        "counters": state.calls.counters,
        "tokens_issued": state.tokens.issued_counts(),
        "calls": list,
    }))
}

async fn clear_calls(State(simulator): State<Simulator>) -> StatusCode {
    simulator.clear_calls();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaChange {
    app_id: Option<String>,
    path: String,
    limit: Option<u64>,
    used: Option<u64>,
}

async fn quota(State(simulator): State<Simulator>, Json(change): Json<QuotaChange>) -> StatusCode {
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
enum TokenChange {
    /// 42001 from now on.
    Expire,
    /// 40001 from now on, as if replaced elsewhere.
    Invalidate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensBody {
    /// The account whose tokens are meant; the component's own if absent.
    app_id: Option<String>,
    change: TokenChange,
}

async fn tokens(State(simulator): State<Simulator>, Json(body): Json<TokensBody>) -> StatusCode {
    match body.change {
        TokenChange::Expire => simulator.expire_tokens(body.app_id.as_deref()),
        TokenChange::Invalidate => simulator.invalidate_tokens(body.app_id.as_deref()),
    }
    StatusCode::NO_CONTENT
}

async fn settings(State(simulator): State<Simulator>) -> Json<Settings> {
    Json(simulator.settings())
}

async fn change_settings(
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
struct KeyBody {
    aes_key: String,
}

async fn aes_key(
    State(simulator): State<Simulator>,
    Json(body): Json<KeyBody>,
) -> Result<StatusCode, Unprocessable> {
    simulator
        .rotate_aes_key(&body.aes_key)
        .map_err(|error| ApiError::with_errmsg(40035, error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}
