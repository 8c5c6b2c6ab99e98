//! `TakeUpV1`: an import has not moved for a while, so one of its jobs may be lost. Queues the jobs that it
//! still needs. If a job was only late there are two of it: the first one continues, the second ends.

use shared::{error::Error, queue::jobs::ImportRef, services::Services, store::imports::ImportStatus};

use crate::{
    progress::{import_of_tenant, running_import},
    resume,
    types::{FollowUps, JobDelivery},
};

pub(crate) async fn run(
    app: &Services,
    ids: &ImportRef,
    delivery: JobDelivery<'_>,
) -> Result<FollowUps, Error> {
    let Some(import) = import_of_tenant(app, ids).await? else { return Ok(FollowUps::none()) };
    let is_running = import.status == ImportStatus::Running;
    let is_redelivery = is_running && import.taken_up_by.as_deref() == Some(delivery.message_id);
    if !is_redelivery && !import.needs_requeue(app.clock.unix()) {
        // this very job may have resumed it, and died before it queued the rest
        return match is_running {
            true => resume::resume_now(app, ids, delivery).await,
            false => Ok(FollowUps::none()),
        };
    }
    if import.status == ImportStatus::Paused {
        return resume::resume_now(app, ids, delivery).await;
    }
    let Some(import) = running_import(app, ids).await? else { return Ok(FollowUps::none()) };
    if !app.store.record_import_requeue(&import, delivery.message_id).await? {
        return Ok(FollowUps::none());
    }
    let ImportRef { app_id, import_id, .. } = ids;
    tracing::warn!(app_id, import_id, "the import of {app_id} did not move; it is taken up where it stands");
    resume::remaining_jobs(app, &import).await
}
