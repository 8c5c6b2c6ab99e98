//! Bindings: links by which an administrator binds an account.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, extract::State};
use http::{StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared::{
    model::{
        binding::{Binding, BindingStatus},
        binding_refusal::BindingRefusal,
        permission::missing_permissions,
    },
    problem::Problem,
    services::Services,
};
use utoipa::ToSchema;

use crate::{
    audit::audited,
    caller::Caller,
    extract::{JsonBody, Path, timestamp},
};

/// How long a binding's link is valid.
const LINK_LIFETIME: SignedDuration = SignedDuration::from_hours(1);
/// Maximum characters of an app id; WeChat's have 18.
const MAX_APP_ID_CHARS: usize = 32;
/// Maximum bytes of a `return_url`.
const MAX_RETURN_URL_BYTES: usize = 2048;

/// A binding to be begun.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "return_url": "https://crm.example.com/wechat/done?request=17", "app_id": "wx5a1b2c3d4e5f6071"
}))]
pub struct NewBinding {
    /// Where the last page leads: https, or http on this machine; no user name, a host in ASCII, which the pages show. It
    /// is led to as it stands here, with nothing added: put your own word into it, and ask for the binding to see how it
    /// went.
    #[schema(format = "uri")]
    return_url: Option<String>,
    /// The only account that may be bound by this link; its administrator alone can agree to it. Any account if it is left
    /// out.
    #[schema(pattern = "^wx[0-9A-Za-z]{1,30}$")]
    app_id: Option<String>,
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
    "id": "bnd_01jd3v6m5s8qk2x9w4r7t0y1za", "status": "bound", "app_id": "wx5a1b2c3d4e5f6071",
    "missing_permissions": ["WeChat Coupon Access"]
}))]
pub struct BindingState {
    /// `bnd_…`
    id: String,
    /// Where it stands.
    status: BindingStatus,
    /// The account, once an administrator authorized one; before that the one that the link is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    /// Why it was refused: `unverified_account`, `account_bound_elsewhere`, `not_an_official_account`,
    /// `authorization_failed` or `other_account` (than the link's). While the link lives it may be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    reason: Option<BindingRefusal>,
    /// Of a bound account: names of the required permission sets that its administrator did not grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_permissions: Option<Vec<String>>,
}

/// Begin a binding
///
/// Answers a link. Whoever administers an Official Account opens it, scans WeChat's code and agrees; the
/// account then belongs to this tenant, and the import of its followers begins where it granted that. The page names the tenant, the account where
/// `app_id` fixes it, and the host of `return_url`, in Chinese or English as the browser likes. Ask for the binding to see
/// how it went.
#[utoipa::path(post, path = "/v1/bindings", tag = "Bindings", request_body = Option<NewBinding>,
    responses((status = 201, description = "The link", body = CreatedBinding)))]
pub async fn create_binding(
    State(app): State<Arc<Services>>,
    caller: Caller,
    JsonBody(new): JsonBody<NewBinding>,
) -> Result<(StatusCode, Json<CreatedBinding>), Problem> {
    if new.return_url.as_deref().is_some_and(|url| !is_allowed_return_url(url)) {
        return Err(Problem::invalid(
            "return_url: must be an https URL (http on this machine alone) without a user name, whose host is in ASCII",
        ));
    }
    if new.app_id.as_deref().is_some_and(|app_id| !is_app_id(app_id)) {
        return Err(Problem::invalid("app_id: must be an account's app id: `wx` and 16 letters or digits"));
    }
    let now = timestamp(app.clock.unix());
    let binding = Binding {
        id: caller.new_id(&app, "bnd"),
        tenant_id: caller.tenant.clone(),
        status: BindingStatus::Pending,
        app_id: None,
        account_name: None,
        only_app_id: new.app_id,
        reason: None,
        return_url: new.return_url,
        created_at: now,
        expires_at: now.saturating_add(LINK_LIFETIME).unwrap_or(now),
        pre_auth_code: None,
        pre_auth_at: None,
        pre_auth_expires: None,
        event_at: None,
        asked: BTreeSet::new(),
        ended_by: None,
    };
    // a binding of an earlier attempt is returned unchanged
    let binding = audited(&app, &caller, &caller.tenant, "binding.created", &binding.id, async {
        Ok(app.store.bindings().create(&binding).await?)
    })
    .await?;
    let url = format!("{}/bind/{}", app.config.public_url, binding.id);
    Ok((StatusCode::CREATED, Json(CreatedBinding { id: binding.id, url, expires_at: binding.expires_at })))
}

/// Get a binding
///
/// `pending` until the administrator agreed, `expired` when nobody did within the hour. A `refused` one becomes `bound` where
/// a later try on the same link succeeds.
#[utoipa::path(get, path = "/v1/bindings/{id}", tag = "Bindings",
    params(("id" = String, Path, description = "The binding's id")),
    responses((status = 200, description = "Where it stands", body = BindingState)))]
pub async fn get_binding(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<BindingState>, Problem> {
    let found = app.store.bindings().get(&caller.tenant, &id).await?;
    let binding = found.ok_or_else(|| Problem::not_found("binding"))?;
    let status = binding.status_at(app.clock.now());
    let account = match (&binding.app_id, status) {
        (Some(app_id), BindingStatus::Bound) => app.store.accounts().get(&caller.tenant, app_id).await?,
        _ => None,
    };
    Ok(Json(BindingState {
        status,
        id: binding.id,
        app_id: binding.app_id.or(binding.only_app_id),
        reason: binding.reason,
        missing_permissions: account.map(|account| missing_permissions(&account.granted)),
    }))
}

/// Delete a binding
///
/// Takes a link back, as one that somebody made with a stolen key: its page is gone, and a consent that began on it binds
/// nothing. An account that is bound already stays bound.
#[utoipa::path(delete, path = "/v1/bindings/{id}", tag = "Bindings",
    params(("id" = String, Path, description = "The binding's id")),
    responses((status = 204, description = "The link leads nowhere any more")))]
pub async fn delete_binding(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    // invented ids leave no audit entries, under which others could be buried
    app.store.bindings().get(&caller.tenant, &id).await?.ok_or_else(|| Problem::not_found("binding"))?;
    audited(&app, &caller, &caller.tenant, "binding.deleted", &id, async {
        match app.store.bindings().delete(&caller.tenant, &id).await? {
            true => Ok(StatusCode::NO_CONTENT),
            false => Err(Problem::not_found("binding")),
        }
    })
    .await
}

/// Whether the last page may link to it: it must lead where it seems to, so no user name, an ASCII host.
fn is_allowed_return_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else { return false };
    let loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]") || host.ends_with(".localhost");
    let scheme = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => loopback,
        _ => false,
    };
    scheme
        && url.len() <= MAX_RETURN_URL_BYTES
        && url.bytes().all(|b| b.is_ascii_graphic())
        && !host.is_empty()
        && !authority.as_str().contains('@')
}

/// Whether it can be an app id; it becomes part of a WeChat URL, so nothing else may pass.
fn is_app_id(app_id: &str) -> bool {
    app_id.starts_with("wx")
        && (3..=MAX_APP_ID_CHARS).contains(&app_id.len())
        && app_id.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::{is_allowed_return_url, is_app_id};

    #[test]
    fn the_last_page_leads_to_where_it_seems_to() {
        for (url, fits) in [
            ("https://a.example/x?y=1#z", true),
            ("https://a.example:8443/?next=a@b", true),
            ("http://localhost:3000", true),
            ("http://127.0.0.1:8080/done", true),
            ("http://[::1]:8080/done", true),
            ("http://crm.localhost/done", true),
            ("http://a.example", false),
            ("http://localhost.evil.example", false),
            ("https://hub.example@evil.example/", false),
            ("https://hub.example:secret@evil.example/", false),
            ("https://b\u{fc}cher.example/", false),
            ("https://xn--bcher-kva.example/", true),
            ("https://a.example/\u{202e}", false),
            ("javascript:alert(1)", false),
            ("ftp://a.example", false),
            ("//a.example", false),
            ("https://", false),
            ("https://a.example/\n", false),
            ("", false),
        ] {
            assert_eq!(is_allowed_return_url(url), fits, "{url}");
        }
    }

    #[test]
    fn an_account_is_named_by_its_app_id() {
        for (app_id, fits) in [
            ("wx5a1b2c3d4e5f6071", true),
            ("gh_7b1c9d2e4f60", false),
            ("wx&x=1", false),
            ("wx", false),
            ("", false),
        ] {
            assert_eq!(is_app_id(app_id), fits, "{app_id}");
        }
    }
}
