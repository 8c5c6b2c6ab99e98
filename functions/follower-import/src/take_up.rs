//! `TakeUpV1`: an import has not moved for a while, so one of its jobs may be lost. Queues the jobs that it
//! still needs. If a job was only late there are two of it: the first one continues, the second ends.

use shared::{app::App, error::Error, store::imports::ImportStatus};

use crate::{
    job::{Delivery, Ids, Next, running},
    resume,
};

pub(crate) async fn run(app: &App, ids: Ids<'_>, delivery: Delivery<'_>) -> Result<Next, Error> {
    let Some(import) = app.store.import(ids.app, ids.import).await? else { return Ok(Next::none()) };
    let again = import.taken_up_by.as_deref() == Some(delivery.message_id);
    if import.tenant_id != ids.tenant || !(again || import.wants_taking_up(app.clock.unix())) {
        return Ok(Next::none());
    }
    if import.status == ImportStatus::Paused {
        return resume::now(app, ids, delivery).await;
    }
    let Some(import) = running(app, ids).await? else { return Ok(Next::none()) };
    if !app.store.take_up_import(&import, delivery.message_id).await? {
        return Ok(Next::none());
    }
    let (app_id, id) = (ids.app, ids.import);
    tracing::warn!(
        app_id,
        import_id = id,
        "the import of {app_id} did not move; it is taken up where it stands"
    );
    resume::go_on(app, ids, &import).await
}
