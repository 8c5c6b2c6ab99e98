//! `ResumeV1`: look whether a paused import may go on; if so, queue what it was stopped at.
//!
//! Several of these may wait, one for each chunk that met the quota. The one whose message turns the import to
//! running goes on, and goes on again if it crashes; the others find it running by another's word and end.

use std::time::Duration;

use shared::{
    app::App,
    error::Error,
    queue::{MAX_DELAY, jobs::ImportJob},
    store::imports::{Import, ImportStatus},
};

use crate::{
    finish,
    job::{Delivery, Ids, Next},
    page,
};

pub(crate) async fn run(
    app: &App,
    ids: Ids<'_>,
    job: &ImportJob,
    delivery: Delivery<'_>,
) -> Result<Next, Error> {
    let Some(import) = app.store.import(ids.app, ids.import).await? else { return Ok(Next::none()) };
    if import.tenant_id != ids.tenant {
        return Ok(Next::none());
    }
    if import.status == ImportStatus::Paused {
        let left = import.paused_until.unwrap_or(0).saturating_sub(app.clock.unix());
        if left > 0 {
            return Ok(Next { first: vec![job.clone()], then: None, delay: delay(left) });
        }
    }
    now(app, ids, delivery).await
}

/// Lets a paused import go on.
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

/// The jobs of what an import stands at: pages whose hundreds are not all here, the page to list next, shards to be
/// reconciled.
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
    Ok(Next { first, then, delay: Duration::ZERO })
}

/// How long to wait before looking again, where `seconds` are left: SQS delays by 15 minutes at most.
pub(crate) fn delay(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(MAX_DELAY)
}
