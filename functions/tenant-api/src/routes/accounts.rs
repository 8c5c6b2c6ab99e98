//! Bound accounts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Json, extract::State};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    model::{
        account::{AccountRecord, AccountStatus, AccountType},
        capability::capabilities,
        permission::{Permission, missing_permissions, permissions},
    },
    problem::Problem,
    queue::jobs::AuthorizationJob,
    services::Services,
    store::accounts::AccountDeletion,
};
use utoipa::ToSchema;

use super::find_account;
use crate::{
    audit::audited,
    caller::Caller,
    extract::{Page, Paging, Path, Query, checked_limit, decode_key_cursor, timestamp},
};

/// Delay before a deleted account's tokens are deleted: longer than the deleting request may take.
const TOKEN_DELETION_DELAY: Duration = Duration::from_mins(1);

/// An Official Account, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "app_id": "wx5a1b2c3d4e5f6071", "original_id": "gh_7b1c9d2e4f60", "name": "Invented Cafe",
    "alias": "invented-cafe", "avatar_url": "https://wx.qlogo.example/mmopen/cafe/0",
    "qr_code_url": "https://mmbiz.qpic.example/mmbiz/cafe/0", "principal_name": "Invented Cafe Ltd.",
    "account_type": "service", "verified": true, "status": "bound",
    "permissions": [{"id": 1, "name": "Message Management Access", "granted": true, "required": true}],
    "missing_permissions": ["WeChat Coupon Access"],
    "capabilities": {"auto_reply": true, "customer_service_message": true, "coupon": false},
    "bound_at": "2026-01-10T04:10:00Z", "unbound_at": null
}))]
pub struct Account {
    /// `wx` and 16 hex digits.
    pub app_id: String,
    /// `gh_…`, which pushes name it by.
    pub original_id: String,
    /// As fans see it.
    pub name: String,
    /// What people search for; may be empty.
    pub alias: String,
    /// WeChat's URL of the picture.
    pub avatar_url: String,
    /// WeChat's URL of the account's own QR code; other sites cannot show it.
    pub qr_code_url: String,
    /// Who owns it.
    pub principal_name: String,
    /// Its kind.
    pub account_type: AccountType,
    /// WeChat has verified it, or its qualification at least.
    pub verified: bool,
    /// Bound or not.
    pub status: AccountStatus,
    /// The permission sets that the hub requires, granted or not, and the others that were granted.
    pub permissions: Vec<Permission>,
    /// Names of the required permission sets that were not granted.
    pub missing_permissions: Vec<String>,
    /// What the account can do: its kind allows it, and the permission set was granted.
    pub capabilities: BTreeMap<String, bool>,
    /// Of the newest binding.
    #[schema(value_type = String, format = DateTime)]
    pub bound_at: Timestamp,
    /// Null while bound.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub unbound_at: Option<Timestamp>,
}

/// List accounts
///
/// The tenant's Official Accounts by app id, bound or not.
#[utoipa::path(get, path = "/v1/accounts", tag = "Accounts", params(Paging),
    responses((status = 200, description = "A page of accounts", body = Page<Account>)))]
pub async fn list_accounts(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Account>>, Problem> {
    let after = decode_key_cursor(paging.cursor.as_deref())?;
    let (found, next) =
        app.store.accounts().list(&caller.tenant, checked_limit(paging.limit)?, after.as_deref()).await?;
    Ok(Page::by_key(found, next, to_api))
}

/// Get an account
///
/// With what its administrator granted and what it therefore can do.
#[utoipa::path(get, path = "/v1/accounts/{app_id}", tag = "Accounts",
    params(("app_id" = String, Path, description = "WeChat's app id")),
    responses((status = 200, description = "The account", body = Account)))]
pub async fn get_account(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(app_id): Path<String>,
) -> Result<Json<Account>, Problem> {
    Ok(Json(to_api(find_account(&app, &caller.tenant, &app_id).await?)))
}

/// Delete an account
///
/// Frees an unbound account for other tenants. Its customers stay: binding it again finds them as they were.
/// Its tokens are deleted within minutes. While it is bound this is 409 `account_still_bound`; its administrator unbinds it on mp.weixin.qq.com.
#[utoipa::path(delete, path = "/v1/accounts/{app_id}", tag = "Accounts",
    params(("app_id" = String, Path, description = "WeChat's app id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "`account_still_bound`", body = Problem,
            content_type = "application/problem+json")))]
pub async fn delete_account(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(app_id): Path<String>,
) -> Result<StatusCode, Problem> {
    find_account(&app, &caller.tenant, &app_id).await?;
    // queue first: after a crash past the deletion no request would come back to queue it
    schedule_token_deletion(&app, &app_id).await?;
    audited(&app, &caller, &caller.tenant, "account.deleted", &app_id, async {
        deletion_response(app.store.accounts().delete(&caller.tenant, &app_id).await?)
    })
    .await
}

/// Release an account
///
/// Takes an unbound account from the tenant that has it, as if that had deleted it, so that its owner can bind it
/// elsewhere. Takes the operator's key.
#[utoipa::path(post, path = "/v1/platform/accounts/{app_id}/release", tag = "Platform",
    params(("app_id" = String, Path, description = "WeChat's app id")),
    responses(
        (status = 204, description = "It is free"),
        (status = 409, description = "`account_still_bound`, `request_in_progress`", body = Problem,
            content_type = "application/problem+json")))]
pub async fn release_account(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(app_id): Path<String>,
) -> Result<StatusCode, Problem> {
    let account = app.store.accounts().of_any_tenant(&app_id).await?.filter(|account| !account.deleted);
    let account = account.ok_or_else(|| Problem::not_found("account"))?;
    schedule_token_deletion(&app, &app_id).await?;
    audited(&app, &caller, &account.tenant_id, "account.released", &app_id, async {
        deletion_response(app.store.accounts().release(&app_id).await?.0)
    })
    .await
}

/// Queues the deletion of an account's tokens; the job checks first that the account is gone.
pub async fn schedule_token_deletion(app: &Services, app_id: &str) -> Result<(), Problem> {
    let forget = AuthorizationJob::DeletedV1 { app_id: app_id.to_owned() };
    Ok(app.queues.authorization(&forget, TOKEN_DELETION_DELAY).await?)
}

fn deletion_response(deleted: AccountDeletion) -> Result<StatusCode, Problem> {
    match deleted {
        AccountDeletion::Deleted => Ok(StatusCode::NO_CONTENT),
        AccountDeletion::StillBound => Err(Problem::conflict(
            "account_still_bound",
            "The account's authorization still stands. Its administrator ends it on mp.weixin.qq.com.",
        )),
        AccountDeletion::NotFound => Err(Problem::not_found("account")),
    }
}

fn to_api(record: AccountRecord) -> Account {
    let can = capabilities(record.account_type, record.verified, &record.granted);
    Account {
        permissions: permissions(&record.granted),
        missing_permissions: missing_permissions(&record.granted),
        capabilities: can.into_iter().map(|(name, can)| (name.to_owned(), can)).collect(),
        app_id: record.app_id,
        original_id: record.original_id,
        name: record.name,
        alias: record.alias,
        avatar_url: record.avatar_url,
        qr_code_url: record.qr_code_url,
        principal_name: record.principal_name,
        account_type: record.account_type,
        verified: record.verified,
        status: record.status,
        bound_at: timestamp(record.bound_at),
        unbound_at: record.unbound_at.map(timestamp),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_looks_as_the_contract_says() {
        let account = Account {
            app_id: "wx5a1b2c3d4e5f6071".into(),
            original_id: "gh_7b1c9d2e4f60".into(),
            name: "Invented Cafe".into(),
            alias: String::new(),
            avatar_url: String::new(),
            qr_code_url: String::new(),
            principal_name: String::new(),
            account_type: AccountType::Subscription,
            verified: true,
            status: AccountStatus::Bound,
            permissions: vec![],
            missing_permissions: vec![],
            capabilities: BTreeMap::from([("menu".to_owned(), true)]),
            bound_at: Timestamp::from_second(1_735_689_600).unwrap(),
            unbound_at: None,
        };
        let json = serde_json::to_value(&account).unwrap();
        let expected = json!({
            "app_id": "wx5a1b2c3d4e5f6071", "original_id": "gh_7b1c9d2e4f60", "name": "Invented Cafe",
            "alias": "", "avatar_url": "", "qr_code_url": "", "principal_name": "",
            "account_type": "subscription", "verified": true, "status": "bound", "permissions": [],
            "missing_permissions": [], "capabilities": { "menu": true },
            "bound_at": "2025-01-01T00:00:00Z", "unbound_at": null
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Account>(json).unwrap(), account);
    }
}
