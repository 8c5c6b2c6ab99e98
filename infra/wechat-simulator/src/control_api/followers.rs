//! Followers, and what they do and see.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::response::{ControlResult, PageQuery};
use crate::error::ApiError;
use crate::follower_actions::{FollowerAction, PushOverrides};
use crate::log::PushDelivery;
use crate::simulator::Simulator;
use crate::state::follower::Follower;

pub async fn followers(
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
pub struct NewFollower {
    openid: Option<String>,
    name: Option<String>,
    person: Option<u64>,
}

pub async fn add_follower(
    State(simulator): State<Simulator>,
    Path(app_id): Path<String>,
    Json(new): Json<NewFollower>,
) -> ControlResult<Follower> {
    Ok(Json(simulator.add_follower(&app_id, new.openid, new.name, new.person)?))
}

pub async fn follower(
    State(simulator): State<Simulator>,
    Path((app_id, openid)): Path<(String, String)>,
) -> ControlResult<Follower> {
    let state = simulator.state();
    Ok(Json(state.account(&app_id)?.followers.get(&openid).ok_or_else(|| ApiError::new(40003))?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowerChange {
    /// Follows or unfollows without a push, as if it were lost.
    subscribed: Option<bool>,
    remark: Option<String>,
    tagid_list: Option<Vec<i64>>,
    blocks_templates: Option<bool>,
    unescaped: Option<String>,
}

pub async fn change_follower(
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
pub struct ActionBody {
    #[serde(flatten)]
    act: FollowerAction,
    #[serde(flatten)]
    stamp: PushOverrides,
}

pub async fn act(
    State(simulator): State<Simulator>,
    Path((app_id, openid)): Path<(String, String)>,
    Json(body): Json<ActionBody>,
) -> ControlResult<PushDelivery> {
    Ok(Json(simulator.act(&app_id, &openid, body.act, body.stamp).await?))
}

pub async fn messages(
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
