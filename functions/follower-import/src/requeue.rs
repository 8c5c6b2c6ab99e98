//! `TakeUpV1`: an import has not moved for a while, so one of its jobs may be lost. Queues the jobs that it
//! still needs. If a job was only late there are two of it: the first one continues, the second ends.

use shared::{error::Error, model::import::ImportStatus, queue::jobs::ImportRef, services::Services};

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
    let is_redelivery = import.taken_up_by.as_deref() == Some(delivery.message_id);
    let needs_requeue = import.needs_requeue(app.clock.unix());
    match import.status {
        ImportStatus::Running if is_redelivery || needs_requeue => {}
        // this very job may have resumed it, and died before it queued the rest
        ImportStatus::Running => return resume::resume_now(app, ids, delivery).await,
        ImportStatus::Paused if needs_requeue => return resume::resume_now(app, ids, delivery).await,
        _ => return Ok(FollowUps::none()),
    }
    let Some(import) = running_import(app, ids).await? else { return Ok(FollowUps::none()) };
    if !app.store.imports().record_requeue(&import, delivery.message_id).await? {
        return Ok(FollowUps::none());
    }
    let ImportRef { app_id, import_id, .. } = ids;
    tracing::warn!(app_id, import_id, "the import of {app_id} did not move; it is taken up where it stands");
    resume::remaining_jobs(app, &import).await
}
