//! What follows when a page is done, and when all are: every shard is searched for those who left.

use std::collections::BTreeMap;

use shared::{
    error::Error,
    metrics::Metric,
    queue::jobs::ImportJob,
    services::Services,
    store::{
        imports::{Import, ImportStatus},
        keys::CUSTOMER_SHARDS,
    },
};

use crate::dispatch::ImportIds;

/// Called after a receipt. Returns the jobs that follow if it was the page's last one.
pub(crate) async fn finish_page_if_done(
    app: &Services,
    ids: ImportIds<'_>,
    page: u32,
    chunks: usize,
    receipts: &BTreeMap<u32, u64>,
) -> Result<Vec<ImportJob>, Error> {
    if receipts.len() < chunks {
        return Ok(Vec::new());
    }
    let done = app.store.mark_page_done(ids.app_id, ids.import_id, page, receipts.values().sum()).await?;
    finish_or_reconcile(app, &done).await
}

/// Returns the jobs that follow once every listed follower is stored. A truncated list ends the import as
/// failed: who is missing from it may still follow, so nobody is marked as unsubscribed.
pub(crate) async fn finish_or_reconcile(app: &Services, import: &Import) -> Result<Vec<ImportJob>, Error> {
    if !import.all_pages_imported() {
        return Ok(Vec::new());
    }
    if let Some(cut) = &import.listing_cut {
        fail(app, &import.app_id, &import.id, cut).await?;
        return Ok(Vec::new());
    }
    let open_shards: Vec<_> =
        (0..CUSTOMER_SHARDS).filter(|shard| !import.shards_done.contains(shard)).collect();
    if open_shards.is_empty() {
        complete(app, import).await?;
        return Ok(Vec::new());
    }
    let mut places = app.store.shard_progress(&import.app_id, &import.id).await?;
    let job = |shard| ImportJob::ReconcileV1 {
        import_id: import.id.clone(),
        app_id: import.app_id.clone(),
        tenant_id: import.tenant_id.clone(),
        shard,
        cursor: places.remove(&shard).map(|place| place.after),
    };
    Ok(open_shards.into_iter().map(job).collect())
}

async fn complete(app: &Services, import: &Import) -> Result<(), Error> {
    let Import { app_id, id, .. } = import;
    if app.store.end_import(app_id, id, ImportStatus::Completed, None).await? {
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
pub(crate) async fn fail(app: &Services, app_id: &str, import_id: &str, why: &str) -> Result<(), Error> {
    if app.store.end_import(app_id, import_id, ImportStatus::Failed, Some(why)).await? {
        app.metrics.count(Metric::HaltedImports, app.clock.now());
        tracing::warn!(app_id, import_id, "the import of {app_id} failed: {why}");
    }
    Ok(())
}
