//! `ChunkV1`: fetches the details of at most 100 followers. Its receipt holds their count, so that writing it
//! twice counts once. A redelivered job skips the followers that an earlier try stored.

use std::collections::HashSet;

use shared::{error::Error, queue::jobs::ImportRef, services::Services, store::fans::FanDetails};

use crate::{
    details,
    progress::{self, running_import},
    types::{FollowUps, JobDelivery},
};

/// Which chunk of which page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkPosition {
    pub page: u32,
    pub chunk: u32,
    pub chunks: u32,
}

pub(crate) async fn run(
    app: &Services,
    ids: &ImportRef,
    at: ChunkPosition,
    started_at: i64,
    open_ids: &[String],
    delivery: JobDelivery<'_>,
) -> Result<FollowUps, Error> {
    let (import, mut receipts) = futures::future::try_join(
        running_import(app, ids),
        app.store.import_progress().page_receipts(&ids.import_id, at.page),
    )
    .await?;
    let Some(import) = import else { return Ok(FollowUps::none()) };
    if !receipts.contains_key(&at.chunk) {
        let missing = if delivery.receive_count > 1 {
            not_yet_stored(app, ids, open_ids).await?
        } else {
            open_ids.to_vec()
        };
        if !missing.is_empty() {
            let fetched =
                details::fetch(app, ids.into(), &missing, import.requests_since(), delivery.until).await?;
            let import_id = Some(ids.import_id.as_str());
            let details = fetched.infos.iter().map(|info| FanDetails { info, as_of: started_at, import_id });
            details::store(app, ids.into(), &details.collect::<Vec<_>>()).await?;
            if let Some(error) = fetched.failure {
                return Err(error);
            }
        }
        receipts = app
            .store
            .import_progress()
            .store_receipt(&ids.import_id, at.page, at.chunk, open_ids.len() as u64)
            .await?;
    }
    Ok(FollowUps::jobs(
        progress::finish_page_if_done(app, ids, at.page, at.chunks as usize, &receipts).await?,
    ))
}

/// Those of `open_ids` that this import has not stored yet.
async fn not_yet_stored(app: &Services, ids: &ImportRef, open_ids: &[String]) -> Result<Vec<String>, Error> {
    let names: Vec<_> = open_ids.iter().map(String::as_str).collect();
    let mut fans = app.store.fans().get_many(&ids.tenant_id, &ids.app_id, &names).await?;
    fans.retain(|fan| fan.seen_import.as_deref() == Some(ids.import_id.as_str()));
    let seen: HashSet<_> = fans.into_iter().map(|fan| fan.open_id).collect();
    Ok(open_ids.iter().filter(|id| !seen.contains(*id)).cloned().collect())
}
