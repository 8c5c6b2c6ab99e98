//! Followers: lists and details.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::endpoint::{ApiRequest, ok};
use crate::error::ApiError;
use crate::state::WeChatState;
use crate::state::follower::Follower;

/// Most entries of one `user/info/batchget`.
const MAX_BATCH: usize = 100;
/// Marks around text that stays unescaped, until [`restore_unescaped`]: private-use characters.
const UNESCAPED_MARKS: [char; 2] = ['\u{e000}', '\u{e001}'];

/// `user/get`. A page without followers has no `data`; the last page with followers still has a
/// `next_openid`: its last openid.
pub(super) fn get(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    let after = request.query.get("next_openid").cloned().unwrap_or_default();
    let max = request.world.state.settings.followers_page;
    let followers = &request.account()?.followers;
    let page = followers.page(&after, max).ok_or_else(|| ApiError::new(40003))?;
    let (total, count) = (followers.total(), page.len());
    Ok(match page.last().cloned() {
        None => json!({"total": total, "count": 0, "next_openid": ""}),
        Some(last) => json!({"total": total, "count": count, "data": {"openid": page}, "next_openid": last}),
    })
}

/// The page before the one that this call asks for, for the fault that repeats it.
pub(super) fn previous_page(
    state: &WeChatState,
    app_id: Option<&str>,
    query: &BTreeMap<String, String>,
) -> Vec<String> {
    let next_openid = query.get("next_openid").map_or("", String::as_str);
    let max = state.settings.followers_page;
    let Some(followers) = app_id.and_then(|id| state.accounts.get(id)).map(|account| &account.followers)
    else {
        return Vec::new();
    };
    let mut after = String::new();
    while let Some(page) = followers.page(&after, max)
        && let Some(last) = page.last()
        && !next_openid.is_empty()
    {
        if last == next_openid {
            return page;
        }
        after.clone_from(last);
    }
    Vec::new()
}

/// `user/info`.
pub(super) fn info(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    let openid = request
        .query
        .get("openid")
        .cloned()
        .filter(|id| !id.is_empty())
        .ok_or_else(|| ApiError::new(41009))?;
    let language = request.query.get("lang").cloned();
    let follower = request.account()?.followers.get(&openid).ok_or_else(|| ApiError::new(40003))?;
    Ok(details(&follower, language.as_deref()))
}

/// `user/info/batchget`.
pub(super) fn batchget(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    let list = request
        .body
        .get("user_list")
        .and_then(Value::as_array)
        .cloned()
        .ok_or_else(|| ApiError::new(40031))?;
    if list.is_empty() || list.len() > MAX_BATCH {
        return Err(ApiError::new(40032));
    }
    let followers = &request.account()?.followers;
    let mut out = Vec::with_capacity(list.len());
    for wanted in list {
        let text = |name: &str| wanted.get(name).and_then(Value::as_str);
        let follower =
            text("openid").and_then(|openid| followers.get(openid)).ok_or_else(|| ApiError::new(40031))?;
        out.push(details(&follower, text("lang")));
    }
    Ok(json!({"user_info_list": out}))
}

/// `user/info/updateremark`.
pub(super) fn update_remark(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    let (openid, remark) = (request.text("openid"), request.text("remark"));
    if remark.chars().count() >= 30 {
        return Err(ApiError::new(40035));
    }
    let followers = &mut request.account()?.followers;
    followers.update(&openid, |follower| follower.remark = remark).ok_or_else(|| ApiError::new(40003))?;
    Ok(ok())
}

fn remark_with_marks(follower: &Follower) -> String {
    let [open, close] = UNESCAPED_MARKS;
    match follower.unescaped.as_str() {
        "" => follower.remark.clone(),
        raw => format!("{}{open}{raw}{close}", follower.remark),
    }
}

/// The response with the marked text as followers typed it, unescaped.
pub(super) fn restore_unescaped(answer: String) -> String {
    let [open, close] = UNESCAPED_MARKS;
    let mut rest = answer.as_str();
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once(open)
        && let Some((escaped, after)) = after.split_once(close)
    {
        out.push_str(before);
        out.push_str(&serde_json::from_str::<String>(&format!("\"{escaped}\"")).unwrap_or_default());
        rest = after;
    }
    if out.is_empty() { answer } else { out + rest }
}

/// What WeChat returns since 2021: names and places are always empty.
fn details(follower: &Follower, language: Option<&str>) -> Value {
    let mut out = if follower.subscribed {
        json!({
            "subscribe": 1,
            "openid": follower.openid,
            "nickname": "",
            "sex": 0,
            "language": language.unwrap_or("zh_CN"),
            "city": "",
            "province": "",
            "country": "",
            "headimgurl": "",
            "subscribe_time": follower.subscribe_time,
            "remark": remark_with_marks(follower),
            "groupid": 0,
            "tagid_list": follower.tagid_list,
            "subscribe_scene": follower.subscribe_scene,
            "qr_scene": follower.qr_scene,
            "qr_scene_str": follower.qr_scene_str,
        })
    } else {
        json!({"subscribe": 0, "openid": follower.openid, "tagid_list": []})
    };
    if let (Some(unionid), Some(out)) = (&follower.unionid, out.as_object_mut()) {
        out.insert("unionid".into(), json!(unionid));
    }
    out
}
