//! Bindings: links by which an administrator binds an account.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::{StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared::{
    app::App,
    problem::Problem,
    store::bindings::{Binding, BindingStatus},
};
use utoipa::ToSchema;

use crate::{
    audit::audited,
    caller::Caller,
    params::{Body, Path, time},
};

/// How long a link lives.
const LIFE: SignedDuration = SignedDuration::from_hours(1);
/// Bytes of a `return_url` at most.
const MAX_URL: usize = 2048;

/// A binding to be begun.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"return_url": "https://crm.example.com/wechat/done"}))]
pub struct NewBinding {
    /// Where the last page leads: http or https.
    #[schema(format = "uri")]
    return_url: Option<String>,
}

/// A binding that was begun.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "bnd_01jd3v6m5s8qk2x9w4r7t0y1za",
    "url": "https://hub.example.com/bind/bnd_01jd3v6m5s8qk2x9w4r7t0y1za",
    "expires_at": "2026-01-15T09:30:00Z"
}))]
pub struct CreatedBinding {
    /// `bnd_…`
    id: String,
    /// Open it in the browser of the account's administrator.
    url: String,
    /// Until when the link works: one hour.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Where a binding stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Binding, example = json!({
    "id": "bnd_01jd3v6m5s8qk2x9w4r7t0y1za", "status": "bound", "app_id": "wx5a1b2c3d4e5f6071"
}))]
pub struct BindingState {
    /// `bnd_…`
    id: String,
    /// Where it stands.
    status: BindingStatus,
    /// The account, once an administrator authorized one.
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    /// Why it was refused: `unverified_account`, `account_bound_elsewhere`, `not_an_official_account` or
    /// `authorization_failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Begin a binding
///
/// Answers a link. Whoever administers an Official Account opens it, scans WeChat's code and agrees; the
/// account then belongs to this tenant, and the import of its followers begins. Ask for the binding to see how
/// it went.
#[utoipa::path(post, path = "/v1/bindings", tag = "Bindings", request_body = NewBinding,
    responses((status = 201, description = "The link", body = CreatedBinding)))]
pub async fn create_binding(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewBinding>,
) -> Result<(StatusCode, Json<CreatedBinding>), Problem> {
    if new.return_url.as_deref().is_some_and(|url| !is_web_url(url)) {
        return Err(Problem::invalid("return_url: must be an http or https URL"));
    }
    let now = time(app.clock.unix());
    let binding = Binding {
        id: caller.new_id(&app, "bnd"),
        tenant_id: caller.tenant.clone(),
        status: BindingStatus::Pending,
        app_id: None,
        reason: None,
        return_url: new.return_url,
        created_at: now,
        expires_at: now.saturating_add(LIFE).unwrap_or(now),
        pre_auth_code: None,
        pre_auth_expires: None,
        event_at: None,
    };
    audited(&app, &caller, &caller.tenant, "binding.created", &binding.id, async {
        Ok(app.store.create_binding(&binding).await?)
    })
    .await?;
    let url = format!("{}/bind/{}", app.config.public_url, binding.id);
    Ok((StatusCode::CREATED, Json(CreatedBinding { id: binding.id, url, expires_at: binding.expires_at })))
}

/// Get a binding
///
/// `pending` until the administrator agreed, `expired` when nobody did within the hour.
#[utoipa::path(get, path = "/v1/bindings/{id}", tag = "Bindings",
    params(("id" = String, Path, description = "The binding's id")),
    responses((status = 200, description = "Where it stands", body = BindingState)))]
pub async fn get_binding(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<BindingState>, Problem> {
    let found = app.store.binding(&caller.tenant, &id).await?;
    let binding = found.ok_or_else(|| Problem::not_found("binding"))?;
    Ok(Json(BindingState {
        status: binding.status_at(app.clock.now()),
        id: binding.id,
        app_id: binding.app_id,
        reason: binding.reason,
    }))
}

fn is_web_url(url: &str) -> bool {
    url.len() <= MAX_URL
        && !url.chars().any(|c| c.is_control() || c.is_whitespace())
        && url.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|h| !h.is_empty())
        })
}

#[cfg(test)]
mod tests {
    use super::is_web_url;

    #[test]
    fn only_web_urls_are_led_to() {
        for (url, fits) in [
            ("https://a.example/x?y=1#z", true),
            ("http://localhost:3000", true),
            ("javascript:alert(1)", false),
            ("ftp://a.example", false),
            ("//a.example", false),
            ("https://", false),
            ("https://a.example/\n", false),
            ("", false),
        ] {
            assert_eq!(is_web_url(url), fits, "{url}");
        }
    }
}
