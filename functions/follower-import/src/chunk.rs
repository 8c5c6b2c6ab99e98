//! `ChunkV1`: the details of at most 100 followers. Its receipt is its count: written again, it counts once.

use shared::{app::App, deadline::Deadline, error::Error, store::fans::Details};

use crate::{
    details, finish,
    job::{Ids, Next, running},
};

/// Which hundred, and of how many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub page: u32,
    pub chunk: u32,
    pub chunks: u32,
}

pub(crate) async fn run(
    app: &App,
    ids: Ids<'_>,
    at: Place,
    started_at: i64,
    open_ids: &[String],
    until: Deadline,
) -> Result<Next, Error> {
    let (import, mut receipts) =
        futures::future::try_join(running(app, ids), app.store.page_receipts(ids.import, at.page)).await?;
    let Some(import) = import else { return Ok(Next::none()) };
    if !receipts.contains_key(&at.chunk) {
        let infos = details::fetch(app, ids, open_ids, import.asks_since(), until).await?;
        let details =
            infos.iter().map(|info| Details { info, as_of: started_at, import_id: Some(ids.import) });
        details::store(app, ids, &details.collect::<Vec<_>>()).await?;
        receipts = app.store.keep_receipt(ids.import, at.page, at.chunk, open_ids.len() as u64).await?;
    }
    Ok(Next::jobs(finish::page(app, ids, at.page, at.chunks as usize, &receipts).await?))
}
