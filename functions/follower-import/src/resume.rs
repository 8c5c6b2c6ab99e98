//! `ResumeV1`: resumes a paused import when its pause is over, and queues the jobs that it still needs.
//!
//! Several of these may wait, one for each chunk that met the quota. The one whose message sets the import
//! to running continues, also after a crash; the others find it resumed by another message and end.

use shared::{
    error::Error,
    model::import::{Import, ImportStatus},
    queue::jobs::{ImportJob, ImportRef},
    services::Services,
    store::imports::ResumedBy,
};

use crate::{
    progress,
    types::{FollowUps, JobDelivery},
};

/// A job that comes this little before its time is scheduled again. One that comes earlier belongs to a
/// former pause, and ends: each pause has its own job.
const MAX_EARLY_SECONDS: i64 = 60;

/// The id of an import's timers.
pub(crate) fn timer_id(import: &ImportRef) -> String {
    format!("resume:{}", import.import_id)
}

pub(crate) async fn run(
    app: &Services,
    ids: &ImportRef,
    delivery: JobDelivery<'_>,
) -> Result<FollowUps, Error> {
    let Some(import) = progress::import_of_tenant(app, ids).await? else { return Ok(FollowUps::none()) };
    if import.status == ImportStatus::Paused {
        let until = import.paused_until.unwrap_or(0);
        let left = until.saturating_sub(app.clock.unix());
        if left > 0 {
            return Ok(FollowUps {
                retry_at: (left <= MAX_EARLY_SECONDS).then_some(until),
                ..FollowUps::none()
            });
        }
    }
    resume_now(app, ids, delivery).await
}

/// Resumes a paused import.
pub(crate) async fn resume_now(
    app: &Services,
    ids: &ImportRef,
    delivery: JobDelivery<'_>,
) -> Result<FollowUps, Error> {
    let by = ResumedBy::Job(delivery.message_id);
    if !app.store.imports().resume(&ids.app_id, &ids.import_id, by).await? {
        return Ok(FollowUps::none());
    }
    match app.store.imports().get(&ids.app_id, &ids.import_id).await? {
        Some(import) => remaining_jobs(app, &import).await,
        None => Ok(FollowUps::none()),
    }
}

/// Returns the jobs that an import still needs: its unfinished pages, the next page to list, the shards to
/// reconcile.
pub(crate) async fn remaining_jobs(app: &Services, import: &Import) -> Result<FollowUps, Error> {
    let mut first: Vec<_> = (0..import.pages_listed)
        .filter(|page| !import.pages_done.contains_key(&page.to_string()))
        .map(|page| ImportJob::FanOutV1 { import: import.into(), page })
        .collect();
    first.extend(progress::finish_or_reconcile(app, import).await?);
    let then = (!import.listing_done).then(|| ImportJob::PageV1 {
        import: import.into(),
        page: import.pages_listed,
        cursor: import.next_cursor.clone().unwrap_or_default(),
    });
    Ok(FollowUps { first, then, retry_at: None })
}
