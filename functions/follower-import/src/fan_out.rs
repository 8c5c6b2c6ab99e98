//! The chunks of a listed page: `page.rs` queues them all, `FanOutV1` those without a receipt, after an interruption.

use std::collections::BTreeMap;

use shared::{
    error::Error,
    model::{import::Import, listed_page::ListedPage},
    queue::jobs::{ImportJob, ImportRef},
    services::Services,
    wechat::user::MAX_USER_INFO_BATCH,
};

use crate::{
    progress::{self, running_import},
    types::FollowUps,
};

pub(crate) async fn run(app: &Services, ids: &ImportRef, page: u32) -> Result<FollowUps, Error> {
    let Some(import) = running_import(app, ids).await? else { return Ok(FollowUps::none()) };
    let Some(listed) = app.store.import_progress().page(&ids.import_id, page).await? else {
        return Ok(FollowUps::none());
    };
    let receipts = app.store.import_progress().page_receipts(&ids.import_id, page).await?;
    let missing = missing_chunks(&import, page, &listed, &receipts);
    if missing.is_empty() {
        let all = listed.open_ids.len().div_ceil(MAX_USER_INFO_BATCH);
        return Ok(FollowUps::jobs(progress::finish_page_if_done(app, ids, page, all, &receipts).await?));
    }
    Ok(FollowUps::jobs(missing))
}

/// The jobs for the chunks of a page that have no receipt.
pub(crate) fn missing_chunks(
    import: &Import,
    page: u32,
    listed: &ListedPage,
    receipts: &BTreeMap<u32, u64>,
) -> Vec<ImportJob> {
    let parts = listed.open_ids.chunks(MAX_USER_INFO_BATCH);
    let chunks = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    (0..)
        .zip(parts)
        .filter(|(chunk, _)| !receipts.contains_key(chunk))
        .map(|(chunk, open_ids)| ImportJob::ChunkV1 {
            import: import.into(),
            page,
            chunk,
            chunks,
            started_at: import.started_at,
            open_ids: open_ids.to_vec(),
        })
        .collect()
}
