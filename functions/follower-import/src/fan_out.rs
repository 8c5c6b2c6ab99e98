//! `FanOutV1`: queues the chunks of a listed page that have no receipt, to continue an interrupted import.

use std::collections::BTreeMap;

use shared::{
    app::App,
    error::Error,
    queue::jobs::ImportJob,
    store::{import_pages::ListedPage, imports::Import},
    wechat::user::USER_INFO_BATCH_MAX,
};

use crate::{
    finish,
    job::{Ids, Next, running},
};

pub(crate) async fn run(app: &App, ids: Ids<'_>, page: u32) -> Result<Next, Error> {
    let Some(import) = running(app, ids).await? else { return Ok(Next::none()) };
    let Some(listed) = app.store.listed_page(ids.import, page).await? else { return Ok(Next::none()) };
    let receipts = app.store.page_receipts(ids.import, page).await?;
    let missing = chunks(ids, &import, page, &listed, &receipts);
    if missing.is_empty() {
        let all = listed.open_ids.len().div_ceil(USER_INFO_BATCH_MAX);
        return Ok(Next::jobs(finish::page(app, ids, page, all, &receipts).await?));
    }
    Ok(Next::jobs(missing))
}

/// The jobs for the chunks of a page that have no receipt.
pub(crate) fn chunks(
    ids: Ids<'_>,
    import: &Import,
    page: u32,
    listed: &ListedPage,
    receipts: &BTreeMap<u32, u64>,
) -> Vec<ImportJob> {
    let parts = listed.open_ids.chunks(USER_INFO_BATCH_MAX);
    let chunks = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    (0..)
        .zip(parts)
        .filter(|(chunk, _)| !receipts.contains_key(chunk))
        .map(|(chunk, open_ids)| ImportJob::ChunkV1 {
            import_id: ids.import.into(),
            app_id: ids.app.into(),
            tenant_id: ids.tenant.into(),
            page,
            chunk,
            chunks,
            started_at: import.started_at,
            open_ids: open_ids.to_vec(),
        })
        .collect()
}
