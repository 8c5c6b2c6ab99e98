//! Imports of an account's followers, as others than their own jobs see them: how one is started, at a binding and when
//! a tenant asks for one, and who comes back for one whose jobs got lost.

use std::time::Duration;

use crate::{
    app::App,
    error::Error,
    model::account::capabilities,
    queue::jobs::ImportJob,
    store::{
        accounts::AccountRecord,
        imports::{Import, ImportStatus, Started},
    },
};

/// Before an import that has listed nothing is begun again: whoever started it has queued its first job by then, or
/// has died. Were it sooner, two chains of jobs would list and store everything side by side.
const BEGIN_AGAIN: Duration = Duration::from_secs(15);

/// The first job of an import: its first page.
#[must_use]
pub fn first_job(import: &Import) -> ImportJob {
    ImportJob::PageV1 {
        import_id: import.id.clone(),
        app_id: import.app_id.clone(),
        tenant_id: import.tenant_id.clone(),
        page: 0,
        cursor: String::new(),
    }
}

/// The job that queues again what an import stands at.
#[must_use]
pub fn take_up_job(import: &Import) -> ImportJob {
    ImportJob::TakeUpV1 {
        import_id: import.id.clone(),
        app_id: import.app_id.clone(),
        tenant_id: import.tenant_id.clone(),
    }
}

/// Starts the import `id` of a tenant's account, unless another one runs there. The same id again makes no
/// second one: it only queues the first job once more where that may have been lost. One of an earlier binding is ended:
/// it takes for followers who left while nobody listened.
///
/// # Errors
/// [`Error::Store`], [`Error::Queue`]: the same call again is safe.
pub async fn start(app: &App, account: &AccountRecord, id: String) -> Result<Started, Error> {
    let (tenant, app_id) = (account.tenant_id.as_str(), account.app_id.as_str());
    let import = Import {
        id,
        app_id: app_id.to_owned(),
        tenant_id: tenant.to_owned(),
        status: ImportStatus::Running,
        followers_total: None,
        followers_listed: 0,
        pages_listed: 0,
        next_cursor: None,
        listing_done: false,
        listing_cut: None,
        pages_done: std::collections::BTreeMap::new(),
        shards_done: Vec::new(),
        started_at: app.clock.unix(),
        moved_at: app.clock.unix(),
        resumed_at: None,
        listed_by: None,
        taken_up_at: None,
        taken_up_by: None,
        finished_at: None,
        paused_until: None,
        error: None,
    };
    let mut started = app.store.start_import(&import).await?;
    if let Started::Running(other) = &started
        && let Some(why) = outlived(other, account)
    {
        app.store.end_import(app_id, &other.id, ImportStatus::Failed, Some(why)).await?;
        started = app.store.start_import(&import).await?;
    }
    match started {
        Started::New => {
            app.queues.import(&[first_job(&import)], Duration::ZERO).await?;
            tracing::info!(app_id, import_id = import.id, "an import of the followers of {app_id} begins");
            Ok(Started::New)
        }
        Started::Running(same) if same.id == import.id => {
            begin_again(app, &same).await?;
            Ok(Started::New)
        }
        running @ Started::Running(_) => Ok(running),
    }
}

/// Why an import that has not ended is none of the account as it is bound now, if so.
fn outlived(import: &Import, account: &AccountRecord) -> Option<&'static str> {
    if import.tenant_id != account.tenant_id {
        // of the tenant that had the account before: its tokens are gone, so it cannot end by itself
        return Some("account_not_bound");
    }
    // what it stored of those who left while the account was unbound is wrong, and it would take it for right
    (import.started_at < account.bound_at)
        .then_some("the account was bound anew, which started another import")
}

/// Starts the import of an account that was just authorized: none has begun since it was bound, or one has failed and the
/// account may list its followers now. Also after a crash between the two.
///
/// # Errors
/// [`Error::Store`], [`Error::Queue`]: the same call again is safe.
pub async fn after_consent(app: &App, tenant: &str, app_id: &str) -> Result<(), Error> {
    let Some(account) = app.store.account(tenant, app_id).await? else { return Ok(()) };
    let newest = app.store.imports(tenant, app_id, 1, None).await?.into_iter().next();
    let can = capabilities(account.account_type, account.verified, &account.granted);
    match newest.filter(|import| import.started_at >= account.bound_at) {
        Some(import) if import.status != ImportStatus::Failed => {
            // perhaps by us, who died before its first job was queued
            begin_again(app, &import).await
        }
        _ if can.get("followers") != Some(&true) => Ok(()), // it would fail
        Some(_) | None => start(app, &account, app.fresh_id("imp")).await.map(drop),
    }
}

/// Looks through the imports that have not ended: what nothing moves any more is taken up where it stands. Answers how
/// many are stuck although somebody came for them. An import whose jobs are merely slow loses nothing by it.
///
/// # Errors
/// [`Error::Store`], [`Error::Queue`]: the next look finds the same.
pub async fn look_after(app: &App) -> Result<usize, Error> {
    let now = app.clock.unix();
    let open = app.store.open_imports(now).await?;
    let quiet: Vec<_> = open.imports.iter().filter(|i| i.wants_taking_up(now)).map(take_up_job).collect();
    app.queues.import(&quiet, Duration::ZERO).await?;
    let stuck: Vec<_> = open.imports.iter().filter(|import| import.is_stuck(now)).collect();
    for Import { app_id, id, .. } in &stuck {
        tracing::error!(app_id, import_id = id, "the import {id} of {app_id} has not moved for an hour");
    }
    Ok(stuck.len() + open.unreadable)
}

/// Queues the first job of an import that was started but has listed nothing: whoever started it may have died
/// before the job was queued, and nobody else would ever end it. The job may come twice, so it comes late.
///
/// # Errors
/// [`Error::Queue`]: the same call again is safe.
pub async fn begin_again(app: &App, import: &Import) -> Result<(), Error> {
    if import.status == ImportStatus::Running && import.pages_listed == 0 {
        app.queues.import(&[first_job(import)], BEGIN_AGAIN).await?;
    }
    Ok(())
}
