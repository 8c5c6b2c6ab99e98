//! Starting imports of an account's followers, at a binding or at
//! a tenant's request, and requeuing those whose jobs got lost.

use std::time::Duration;

use crate::{
    error::Error,
    model::{
        account::AccountRecord,
        capability::capabilities,
        import::{Import, ImportStatus},
    },
    queue::jobs::{ImportJob, ImportRef},
    services::Services,
    store::imports::ImportStart,
};

/// Delay before the first job of an import is queued again: by then its starter has
/// queued it or has died. A shorter delay could run two chains of jobs side by side.
const REQUEUE_FIRST_JOB_DELAY: Duration = Duration::from_secs(15);

impl From<&Import> for ImportRef {
    fn from(import: &Import) -> Self {
        Self {
            import_id: import.id.clone(),
            app_id: import.app_id.clone(),
            tenant_id: import.tenant_id.clone(),
        }
    }
}

/// The first job of an import: its first page.
#[must_use]
pub fn first_page_job(import: &Import) -> ImportJob {
    ImportJob::PageV1 { import: import.into(), page: 0, cursor: String::new() }
}

/// The job that queues the next step of an import again.
#[must_use]
pub fn requeue_job(import: &Import) -> ImportJob {
    ImportJob::TakeUpV1 { import: import.into() }
}

/// Starts the import `id` of a tenant's account, unless another one runs there. The same id starts no
/// second import: it only requeues the first job if that may have been lost. An import of an earlier
/// binding is failed first: it would count as followers those who left while the account was unbound.
///
/// # Errors
/// [`Error::Store`], [`Error::Queue`]: the same call again is safe.
pub async fn start(app: &Services, account: &AccountRecord, id: String) -> Result<ImportStart, Error> {
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
    let mut started = app.store.imports().start(&import).await?;
    if let ImportStart::Existing(other) = &started
        && let Some(why) = superseded_reason(other, account)
    {
        app.store.imports().end(app_id, &other.id, ImportStatus::Failed, Some(why)).await?;
        started = app.store.imports().start(&import).await?;
    }
    match started {
        ImportStart::New => {
            app.queues.import(&[first_page_job(&import)], Duration::ZERO).await?;
            tracing::info!(app_id, import_id = import.id, "an import of the followers of {app_id} begins");
            Ok(ImportStart::New)
        }
        ImportStart::Existing(same) if same.id == import.id => {
            requeue_first_job(app, &same).await?;
            Ok(ImportStart::New)
        }
        running @ ImportStart::Existing(_) => Ok(running),
    }
}

/// Why an unfinished import does not belong to the current binding of the account, or [`None`] if it does.
fn superseded_reason(import: &Import, account: &AccountRecord) -> Option<&'static str> {
    if import.tenant_id != account.tenant_id {
        // belongs to the previous tenant of the account, whose tokens are gone: it cannot end by itself
        return Some("account_not_bound");
    }
    // it may have stored followers who left while the account was unbound
    (import.started_at < account.bound_at)
        .then_some("the account was bound anew, which started another import")
}

/// Starts the import of an account that was just authorized, if none has begun since it was bound, or
/// if one has failed and the account may list its followers now. Safe after a crash between the two.
///
/// # Errors
/// [`Error::Store`], [`Error::Queue`]: the same call again is safe.
pub async fn start_after_consent(app: &Services, tenant: &str, app_id: &str) -> Result<(), Error> {
    let Some(account) = app.store.accounts().get(tenant, app_id).await? else { return Ok(()) };
    let newest = app.store.imports().list(tenant, app_id, 1, None).await?.into_iter().next();
    let can = capabilities(account.account_type, account.verified, &account.granted);
    match newest.filter(|import| import.started_at >= account.bound_at) {
        Some(import) if import.status != ImportStatus::Failed => {
            // perhaps started by an attempt that died before its first job was queued
            requeue_first_job(app, &import).await
        }
        _ if can.get("followers") != Some(&true) => Ok(()), // it would fail
        Some(_) | None => start(app, &account, app.fresh_id("imp")).await.map(drop),
    }
}

/// Requeues unfinished imports that make no progress. Returns how many are stuck
/// although they were requeued. An import whose jobs are merely slow is not harmed.
///
/// # Errors
/// [`Error::Store`], [`Error::Queue`]: the next look finds the same.
pub async fn requeue_quiet_imports(app: &Services) -> Result<usize, Error> {
    let now = app.clock.unix();
    let open = app.store.imports().unfinished(now).await?;
    let quiet: Vec<_> = open.imports.iter().filter(|i| i.needs_requeue(now)).map(requeue_job).collect();
    app.queues.import(&quiet, Duration::ZERO).await?;
    let stuck: Vec<_> = open.imports.iter().filter(|import| import.is_stuck(now)).collect();
    for Import { app_id, id, .. } in &stuck {
        tracing::error!(app_id, import_id = id, "the import {id} of {app_id} has not moved for an hour");
    }
    Ok(stuck.len() + open.unreadable)
}

/// Queues the first job of an import that was started but has listed nothing: its starter may have died
/// before it queued the job, and nothing else would move it. The job may come twice, so it is delayed.
///
/// # Errors
/// [`Error::Queue`]: the same call again is safe.
pub async fn requeue_first_job(app: &Services, import: &Import) -> Result<(), Error> {
    if import.status == ImportStatus::Running && import.pages_listed == 0 {
        app.queues.import(&[first_page_job(import)], REQUEUE_FIRST_JOB_DELAY).await?;
    }
    Ok(())
}
