//! What an import's record allows and requires: whether a job may run, what follows a page or a shard that is
//! done, and the import's end.

use std::collections::BTreeMap;

use shared::{
    error::Error,
    metrics::Metric,
    model::{
        account::AccountStatus,
        import::{Import, ImportStatus},
    },
    queue::jobs::{ImportJob, ImportRef},
    services::Services,
};

use crate::phase::{ImportPhase, phase};

/// The import, if it is the tenant's: an account may have another one by now.
pub(crate) async fn import_of_tenant(app: &Services, ids: &ImportRef) -> Result<Option<Import>, Error> {
    let import = app.store.imports().get(&ids.app_id, &ids.import_id).await?;
    Ok(import.filter(|import| import.tenant_id == ids.tenant_id))
}

/// The import, if it is running: only `ResumeV1` continues a paused one. If another tenant has the account by
/// now the import ends, because that account's tokens would list another tenant's followers.
pub(crate) async fn running_import(app: &Services, ids: &ImportRef) -> Result<Option<Import>, Error> {
    let (import, account) = futures::future::try_join(
        import_of_tenant(app, ids),
        app.store.accounts().get(&ids.tenant_id, &ids.app_id),
    )
    .await?;
    let Some(import) = import.filter(|import| import.status == ImportStatus::Running) else {
        return Ok(None);
    };
    match account {
        Some(account) if account.status == AccountStatus::Bound => Ok(Some(import)),
        Some(_) => Err(Error::NotAuthorized(ids.app_id.clone())),
        None => {
            fail(app, ids, "the account was deleted; bind it again to import its followers").await?;
            Ok(None)
        }
    }
}

/// Called after a receipt. Returns the jobs that follow if it was the page's last one.
pub(crate) async fn finish_page_if_done(
    app: &Services,
    ids: &ImportRef,
    page: u32,
    chunks: usize,
    receipts: &BTreeMap<u32, u64>,
) -> Result<Vec<ImportJob>, Error> {
    if receipts.len() < chunks {
        return Ok(Vec::new());
    }
    let done = app
        .store
        .import_progress()
        .mark_page_done(&ids.app_id, &ids.import_id, page, receipts.values().sum())
        .await?;
    finish_or_reconcile(app, &done).await
}

/// Returns the jobs that follow once every listed follower is stored. A truncated list ends the import as
/// failed: who is missing from it may still follow, so nobody is marked as unsubscribed.
pub(crate) async fn finish_or_reconcile(app: &Services, import: &Import) -> Result<Vec<ImportJob>, Error> {
    match phase(import) {
        ImportPhase::Importing | ImportPhase::Paused | ImportPhase::Ended => Ok(Vec::new()),
        ImportPhase::Cut(why) => fail(app, &import.into(), why).await.map(|()| Vec::new()),
        ImportPhase::Reconciled => complete(app, import).await.map(|()| Vec::new()),
        ImportPhase::Reconciling { open_shards } => {
            let mut progress = app.store.import_progress().shard_progress(&import.app_id, &import.id).await?;
            let job = |shard| ImportJob::ReconcileV1 {
                import: import.into(),
                shard,
                cursor: progress.remove(&shard).map(|so_far| so_far.after),
            };
            Ok(open_shards.into_iter().map(job).collect())
        }
    }
}

/// Completes an import after its last shard.
pub(crate) async fn finish_if_reconciled(app: &Services, import: &Import) -> Result<(), Error> {
    match phase(import) {
        ImportPhase::Reconciled => complete(app, import).await,
        _ => Ok(()),
    }
}

async fn complete(app: &Services, import: &Import) -> Result<(), Error> {
    let Import { app_id, id, .. } = import;
    if app.store.imports().end(app_id, id, ImportStatus::Completed, None).await? {
        let (followers, seconds) = (import.followers_imported(), app.clock.unix() - import.started_at);
        tracing::info!(
            app_id,
            import_id = id,
            followers,
            seconds,
            "the import of {app_id} is complete: {followers} followers in {seconds} s"
        );
    }
    Ok(())
}

/// Ends an import that cannot continue; `why` tells its tenant what to do.
pub(crate) async fn fail(app: &Services, ids: &ImportRef, why: &str) -> Result<(), Error> {
    let ImportRef { app_id, import_id, .. } = ids;
    if app.store.imports().end(app_id, import_id, ImportStatus::Failed, Some(why)).await? {
        app.metrics.count(Metric::HaltedImports, app.clock.now());
        tracing::warn!(app_id, import_id, "the import of {app_id} failed: {why}");
    }
    Ok(())
}
