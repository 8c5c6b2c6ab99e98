//! `ResumeV1`: resumes a paused import when its pause is over, and queues the jobs that it still needs.
//!
//! Several of these may wait, one for each chunk that met the quota. The one whose message sets the import
//! to running continues, also after a crash; the others find it resumed by another message and end.

use shared::{
    app::App,
    error::Error,
    queue::jobs::ImportJob,
    store::imports::{Import, ImportStatus},
};

use crate::{
    finish,
    job::{Delivery, Ids, Next},
    page,
};

/// A job that comes this little before its time is scheduled again. One that comes earlier belongs to a
/// former pause, and ends: each pause has its own job.
const EARLY: i64 = 60;

/// The id of an import's timers.
pub(crate) fn timer(import_id: &str) -> String {
    format!("resume:{import_id}")
}

pub(crate) async fn run(app: &App, ids: Ids<'_>, delivery: Delivery<'_>) -> Result<Next, Error> {
    let Some(import) = app.store.import(ids.app, ids.import).await? else { return Ok(Next::none()) };
    if import.tenant_id != ids.tenant {
        return Ok(Next::none());
    }
    if import.status == ImportStatus::Paused {
        let until = import.paused_until.unwrap_or(0);
        let left = until.saturating_sub(app.clock.unix());
        if left > 0 {
            return Ok(Next { again_at: (left <= EARLY).then_some(until), ..Next::none() });
        }
    }
    now(app, ids, delivery).await
}

/// Resumes a paused import.
pub(crate) async fn now(app: &App, ids: Ids<'_>, delivery: Delivery<'_>) -> Result<Next, Error> {
    let by = format!("resume:{}", delivery.message_id);
    if !app.store.resume_import(ids.app, ids.import, &by).await? {
        return Ok(Next::none());
    }
    match app.store.import(ids.app, ids.import).await? {
        Some(import) => go_on(app, ids, &import).await,
        None => Ok(Next::none()),
    }
}

/// Returns the jobs that an import still needs: its unfinished pages, the next page to list, the shards to
/// reconcile.
pub(crate) async fn go_on(app: &App, ids: Ids<'_>, import: &Import) -> Result<Next, Error> {
    let mut first: Vec<_> = (0..import.pages_listed)
        .filter(|page| !import.pages_done.contains_key(&page.to_string()))
        .map(|page| ImportJob::FanOutV1 {
            import_id: ids.import.into(),
            app_id: ids.app.into(),
            tenant_id: ids.tenant.into(),
            page,
        })
        .collect();
    first.extend(finish::import(app, import).await?);
    let then = (!import.listing_done)
        .then(|| page::page_job(ids, import.pages_listed, import.next_cursor.clone().unwrap_or_default()));
    Ok(Next { first, then, again_at: None })
}
