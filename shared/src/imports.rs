//! Starting an import of an account's followers: at a binding, and when a tenant asks for one.

use std::time::Duration;

use crate::{
    app::App,
    error::Error,
    queue::jobs::ImportJob,
    store::imports::{Import, ImportStatus, Started},
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

/// Starts the import `id` of a tenant's account, unless another one runs there. The same id again makes no
/// second one: it only queues the first job once more where that may have been lost.
///
/// # Errors
/// [`Error::Store`], [`Error::Queue`]: the same call again is safe.
pub async fn start(app: &App, tenant: &str, app_id: &str, id: String) -> Result<Started, Error> {
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
        finished_at: None,
        paused_until: None,
        error: None,
    };
    let mut started = app.store.start_import(&import).await?;
    if let Started::Running(other) = &started
        && other.tenant_id != tenant
    {
        // of the tenant that had the account before: its tokens are gone, so it cannot end by itself
        let why = Some("account_not_bound");
        app.store.end_import(app_id, &other.id, ImportStatus::Failed, why).await?;
        started = app.store.start_import(&import).await?;
    }
    match started {
        Started::New => {
            app.queues.import(&[first_job(&import)], Duration::ZERO).await?;
            Ok(Started::New)
        }
        Started::Running(same) if same.id == import.id => {
            begin_again(app, &same).await?;
            Ok(Started::New)
        }
        running @ Started::Running(_) => Ok(running),
    }
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
