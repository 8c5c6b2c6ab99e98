//! Imports of an account's followers.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use shared::{
    ids,
    model::{
        account::AccountStatus,
        import::{Import, ImportStatus},
    },
    problem::Problem,
    queue::jobs::ImportJob,
    services::Services,
    start_import,
    store::imports::{ImportStart, ResumedBy},
};
use utoipa::ToSchema;

use super::find_account;
use crate::{
    audit::audited,
    caller::Caller,
    extract::{JsonBody, Page, Paging, Path, Query, checked_limit, decode_key_cursor, timestamp},
};

/// Imports of a list whose receipts are read concurrently.
const CONCURRENT_RECEIPT_READS: usize = 8;
/// A body without members.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartImportRequest {}

/// An import of an account's followers.
#[derive(Serialize, ToSchema)]
#[schema(as = Import, example = json!({
    "id": "imp_01jd3v6m5s8qk2x9w4r7t0y1za", "app_id": "wx5a1b2c3d4e5f6071", "status": "running",
    "followers_total": 23000, "followers_listed": 20000, "followers_imported": 17400,
    "started_at": "2026-01-15T08:30:00Z", "finished_at": null, "paused_until": null, "error": null
}))]
pub struct ImportState {
    /// `imp_…`
    id: String,
    /// The account.
    app_id: String,
    /// Where it stands.
    status: ImportStatus,
    /// How many followers WeChat says there are; null before its first answer.
    followers_total: Option<u64>,
    /// How many are listed so far.
    followers_listed: u64,
    /// How many are here with their details, each counted once.
    followers_imported: u64,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// When a paused one goes on by itself, at most one hour ahead.
    #[schema(value_type = Option<String>, format = DateTime)]
    paused_until: Option<Timestamp>,
    /// Why it paused or failed.
    error: Option<String>,
}

/// Start an import
///
/// Fetches all followers again. 409 `import_running` while one runs, 409 `account_not_bound` when WeChat would
/// refuse; on a paused one it resumes that one.
#[utoipa::path(post, path = "/v1/accounts/{app_id}/imports", tag = "Imports",
    params(("app_id" = String, Path, description = "WeChat's app id")),
    responses((status = 202, description = "The import", body = ImportState)))]
pub async fn start_import(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(app_id): Path<String>,
    JsonBody(_nothing): JsonBody<StartImportRequest>,
) -> Result<(StatusCode, Json<ImportState>), Problem> {
    let account = find_account(&app, &caller.tenant, &app_id).await?;
    if account.status != AccountStatus::Bound {
        return Err(Problem::conflict(
            "account_not_bound",
            "Only a bound account's followers can be imported.",
        ));
    }
    let id = caller.new_id(&app, "imp");
    let import_id = audited(&app, &caller, &caller.tenant, "import.started", &app_id, async {
        match start_import::start(&app, &account, id.clone()).await? {
            ImportStart::New => Ok(id),
            ImportStart::Existing(other) => {
                resume(&app, &other).await?;
                Ok(other.id)
            }
        }
    })
    .await?;
    let import = find_import(&app, &caller.tenant, &app_id, &import_id).await?;
    Ok((StatusCode::ACCEPTED, Json(to_api(&app, import).await?)))
}

/// Resumes a paused import; 409 if it is running.
async fn resume(app: &Services, import: &Import) -> Result<(), Problem> {
    // true again until a job takes the import over: the job of an earlier attempt may have been lost
    if app.store.imports().resume(&import.app_id, &import.id, ResumedBy::Api).await? {
        let job = ImportJob::ResumeV1 { import: import.into() };
        return Ok(app.queues.import(&[job], Duration::ZERO).await?);
    }
    if import.needs_requeue(app.clock.unix()) {
        app.queues.import(&[start_import::requeue_job(import)], Duration::ZERO).await?;
    }
    Err(Problem::conflict("import_running", "An import of this account is running.")
        .with("import_id", import.id.as_str()))
}

/// List imports
///
/// An account's imports, newest first.
#[utoipa::path(get, path = "/v1/accounts/{app_id}/imports", tag = "Imports",
    params(("app_id" = String, Path, description = "WeChat's app id"), Paging),
    responses((status = 200, description = "A page of imports", body = Page<ImportState>)))]
pub async fn list_imports(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(app_id): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ImportState>>, Problem> {
    find_account(&app, &caller.tenant, &app_id).await?;
    let limit = checked_limit(paging.limit)?;
    let before = decode_key_cursor(paging.cursor.as_deref())?;
    if before.as_ref().is_some_and(|id| !id.starts_with("imp_") || ids::unix_ms_of(id).is_none()) {
        return Err(Problem::invalid("cursor: must be a `next_cursor` of the same list"));
    }
    let mut found = app.store.imports().list(&caller.tenant, &app_id, limit + 1, before.as_deref()).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|last| last.id.clone());
    let states = stream::iter(found).map(|import| to_api(&app, import)).buffered(CONCURRENT_RECEIPT_READS);
    let states: Vec<_> = states.try_collect().await?;
    Ok(Page::by_key(states, next, |state| state))
}

/// Get an import
#[utoipa::path(get, path = "/v1/accounts/{app_id}/imports/{id}", tag = "Imports",
    params(("app_id" = String, Path, description = "WeChat's app id"),
        ("id" = String, Path, description = "The import's id")),
    responses((status = 200, description = "The import", body = ImportState)))]
pub async fn get_import(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path((app_id, id)): Path<(String, String)>,
) -> Result<Json<ImportState>, Problem> {
    find_account(&app, &caller.tenant, &app_id).await?;
    let import = find_import(&app, &caller.tenant, &app_id, &id).await?;
    Ok(Json(to_api(&app, import).await?))
}

async fn find_import(app: &Services, tenant: &str, app_id: &str, id: &str) -> Result<Import, Problem> {
    let found = app.store.imports().get(app_id, id).await?.filter(|import| import.tenant_id == tenant);
    found.ok_or_else(|| Problem::not_found("import"))
}

async fn to_api(app: &Services, import: Import) -> Result<ImportState, Problem> {
    let mut imported = import.followers_imported();
    if import.pages_done.len() < import.pages_listed as usize {
        let receipts = app.store.import_progress().all_receipts(&import.id).await?;
        let open = receipts.iter().filter(|(page, _)| !import.pages_done.contains_key(&page.to_string()));
        imported += open.flat_map(|(_, chunks)| chunks.values()).sum::<u64>();
    }
    Ok(ImportState {
        id: import.id,
        app_id: import.app_id,
        status: import.status,
        followers_total: import.followers_total,
        followers_listed: import.followers_listed,
        followers_imported: imported,
        started_at: timestamp(import.started_at),
        finished_at: import.finished_at.map(timestamp),
        paused_until: import.paused_until.map(timestamp),
        error: import.error,
    })
}
