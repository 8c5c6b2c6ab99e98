//! `ResumeV1`: look whether a paused import may go on; if so, queue what it was stopped at.
//!
//! Several of these may wait, one for each chunk that met the quota. The one whose message turns the import to
//! running goes on, and goes on again if it crashes; the others find it running by another's word and end.

use std::time::Duration;

use shared::{
    app::App,
    error::Error,
    queue::{MAX_DELAY, jobs::ImportJob},
    store::imports::ImportStatus,
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
    let by = format!("resume:{}", delivery.message_id);
    if !app.store.resume_import(ids.app, ids.import, &by).await? {
        return Ok(Next::none());
    }
    let Some(import) = app.store.import(ids.app, ids.import).await? else { return Ok(Next::none()) };
    let mut first: Vec<_> = (0..import.pages_listed)
        .filter(|page| !import.pages_done.contains_key(&page.to_string()))
        .map(|page| ImportJob::FanOutV1 {
            import_id: ids.import.into(),
            app_id: ids.app.into(),
            tenant_id: ids.tenant.into(),
            page,
        })
        .collect();
    first.extend(finish::import(app, &import).await?);
    let then = (!import.listing_done)
        .then(|| page::page_job(ids, import.pages_listed, import.next_cursor.unwrap_or_default()));
    Ok(Next { first, then, delay: Duration::ZERO })
}

/// How long to wait before looking again, where `seconds` are left: SQS delays by 15 minutes at most.
pub(crate) fn delay(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(MAX_DELAY)
}
