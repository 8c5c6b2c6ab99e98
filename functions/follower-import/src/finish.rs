//! When a page is done, and when all are: then those who left are looked for, in every shard at once.

use std::collections::BTreeMap;

use shared::{
    app::App,
    error::Error,
    metrics::Metric,
    queue::jobs::ImportJob,
    store::{
        imports::{Import, ImportStatus},
        keys::PEOPLE_SHARDS,
    },
};

use crate::job::Ids;

/// After a receipt: the jobs that follow if it was the page's last one.
pub(crate) async fn page(
    app: &App,
    ids: Ids<'_>,
    page: u32,
    chunks: usize,
    receipts: &BTreeMap<u32, u64>,
) -> Result<Vec<ImportJob>, Error> {
    if receipts.len() < chunks {
        return Ok(Vec::new());
    }
    let done = app.store.finish_page(ids.app, ids.import, page, receipts.values().sum()).await?;
    import(app, &done).await
}

/// The jobs that follow if everybody who was listed is here. A list that was cut short ends the import as
/// failed: who is not on it may still follow, so nobody is taken for gone.
pub(crate) async fn import(app: &App, import: &Import) -> Result<Vec<ImportJob>, Error> {
    if !import.all_here() {
        return Ok(Vec::new());
    }
    if let Some(cut) = &import.listing_cut {
        if app.store.end_import(&import.app_id, &import.id, ImportStatus::Failed, Some(cut)).await? {
            app.metrics.count(Metric::HaltedImports, app.clock.now());
        }
        return Ok(Vec::new());
    }
    let open: Vec<_> = (0..PEOPLE_SHARDS).filter(|shard| !import.shards_done.contains(shard)).collect();
    if open.is_empty() {
        app.store.end_import(&import.app_id, &import.id, ImportStatus::Completed, None).await?;
    }
    let job = |shard| ImportJob::ReconcileV1 {
        import_id: import.id.clone(),
        app_id: import.app_id.clone(),
        tenant_id: import.tenant_id.clone(),
        shard,
        cursor: None,
    };
    Ok(open.into_iter().map(job).collect())
}
