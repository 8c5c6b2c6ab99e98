//! Bound accounts.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use http::StatusCode;
use shared::{
    model::account::{Account, capabilities, missing_permissions, permissions},
    problem::Problem,
    queue::jobs::AuthorizationJob,
    services::Services,
    store::accounts::{AccountDeletion, AccountRecord},
};

use super::find_account;
use crate::{
    audit::audited,
    caller::Caller,
    extract::{Page, Paging, Path, Query, checked_limit, decode_key_cursor, timestamp},
};

/// Delay before a deleted account's tokens are deleted: longer than the deleting request may take.
const TOKEN_DELETION_DELAY: Duration = Duration::from_mins(1);

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
        app.store.accounts(&caller.tenant, checked_limit(paging.limit)?, after.as_deref()).await?;
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
        deletion_response(app.store.delete_account(&caller.tenant, &app_id).await?)
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
    let account = app.store.account_of_any_tenant(&app_id).await?.filter(|account| !account.deleted);
    let account = account.ok_or_else(|| Problem::not_found("account"))?;
    schedule_token_deletion(&app, &app_id).await?;
    audited(&app, &caller, &account.tenant_id, "account.released", &app_id, async {
        deletion_response(app.store.release_account(&app_id).await?.0)
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
