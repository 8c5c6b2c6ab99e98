//! Reply rules.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde_json::Value;
use shared::{model::reply_rules, problem::Problem, services::Services};

use super::{content_schema::ReplyRules, find_account};
use crate::{
    audit::audited,
    caller::Caller,
    extract::{JsonBody, Path, content_problem},
};

/// Get reply rules
///
/// What the account answers by itself; all empty where nothing was set.
#[utoipa::path(get, path = "/v1/accounts/{app_id}/reply-rules", tag = "Reply rules",
    params(("app_id" = String, Path, description = "WeChat's app id")),
    responses((status = 200, description = "The rules", body = ReplyRules)))]
pub async fn get_reply_rules(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(app_id): Path<String>,
) -> Result<Json<reply_rules::ReplyRules>, Problem> {
    find_account(&app, &caller.tenant, &app_id).await?;
    Ok(Json(app.store.reply_rules().get(&caller.tenant, &app_id).await?))
}

/// Replace reply rules
///
/// All rules at once: each of the three members must be there, `null` or `[]` for none. They hold from a few
/// seconds later on. What a passive reply cannot carry (`mpnews`, `mpnewsarticle`, `msgmenu`, `wxcard`, `miniprogrampage`) is sent as a
/// customer-service message instead.
#[utoipa::path(put, path = "/v1/accounts/{app_id}/reply-rules", tag = "Reply rules",
    params(("app_id" = String, Path, description = "WeChat's app id")),
    request_body = ReplyRules,
    responses((status = 200, description = "The rules as they are now", body = ReplyRules)))]
pub async fn put_reply_rules(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(app_id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Json<reply_rules::ReplyRules>, Problem> {
    find_account(&app, &caller.tenant, &app_id).await?;
    refuse_unknown(&body)?;
    let rules = reply_rules::ReplyRules::parse(body).map_err(|error| content_problem(error, ""))?;
    audited(&app, &caller, &caller.tenant, "reply_rules.replaced", &app_id, async {
        match app.store.reply_rules().replace(&caller.tenant, &app_id, &rules).await? {
            true => Ok(()),
            false => Err(Problem::not_found("account")), // another's since we looked
        }
    })
    .await?;
    Ok(Json(rules))
}

/// Refuses unknown members; members inside a reply are WeChat's and pass.
fn refuse_unknown(body: &Value) -> Result<(), Problem> {
    let unknown = |value: &Value, path: &str, known: &[&str]| {
        let name = value.as_object().and_then(|o| o.keys().find(|name| !known.contains(&name.as_str())))?;
        let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        Some(Problem::invalid(format!("{path}{name}: is not known here; known: {}", known.join(", "))))
    };
    let keywords = body.get("keywords").and_then(Value::as_array).into_iter().flatten().enumerate();
    let found = unknown(body, "", &["on_subscribe", "keywords", "default"]).or_else(|| {
        let mut wrong = keywords.filter_map(|(n, rule)| {
            unknown(rule, &format!("keywords[{n}]."), &["keyword", "match", "reply"])
        });
        wrong.next()
    });
    found.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn typos_are_refused_and_wechats_members_are_not() {
        let reply = json!({"msgtype": "text", "text": {"content": "a", "new": 1}, "newer": 2});
        for (body, path) in [
            (json!({"onsubscribe": reply}), Some("onsubscribe: ")),
            (
                json!({"keywords": [{"keyword": "a", "match": "exact", "replies": reply}]}),
                Some("keywords[0].replies: "),
            ),
            (json!({"default": reply}), None),
        ] {
            let refused = refuse_unknown(&body).err().map(|problem| problem.detail);
            assert_eq!(refused.is_some(), path.is_some());
            assert!(refused.unwrap_or_default().starts_with(path.unwrap_or_default()));
        }
    }
}
