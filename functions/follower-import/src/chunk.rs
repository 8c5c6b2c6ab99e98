//! `ChunkV1`: fetches the details of at most 100 followers. Its receipt holds their count, so that writing it
//! twice counts once. A redelivered job skips the followers that an earlier try stored.

use std::collections::HashSet;

use shared::{app::App, error::Error, store::fans::Details};

use crate::{
    details, finish,
    job::{Delivery, Ids, Next, running},
};

/// Which chunk of which page.
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
    delivery: Delivery<'_>,
) -> Result<Next, Error> {
    let (import, mut receipts) =
        futures::future::try_join(running(app, ids), app.store.page_receipts(ids.import, at.page)).await?;
    let Some(import) = import else { return Ok(Next::none()) };
    if !receipts.contains_key(&at.chunk) {
        let open =
            if delivery.receive_count > 1 { unseen(app, ids, open_ids).await? } else { open_ids.to_vec() };
        if !open.is_empty() {
            let told = details::fetch(app, ids, &open, import.asks_since(), delivery.until).await?;
            let import_id = Some(ids.import);
            let details = told.infos.iter().map(|info| Details { info, as_of: started_at, import_id });
            details::store(app, ids, &details.collect::<Vec<_>>()).await?;
            if let Some(error) = told.left {
                return Err(error);
            }
        }
        receipts = app.store.keep_receipt(ids.import, at.page, at.chunk, open_ids.len() as u64).await?;
    }
    Ok(Next::jobs(finish::page(app, ids, at.page, at.chunks as usize, &receipts).await?))
}

/// Those of `open_ids` that this import has not stored yet.
async fn unseen(app: &App, ids: Ids<'_>, open_ids: &[String]) -> Result<Vec<String>, Error> {
    let names: Vec<_> = open_ids.iter().map(String::as_str).collect();
    let mut fans = app.store.fans(ids.tenant, ids.app, &names).await?;
    fans.retain(|fan| fan.seen_import.as_deref() == Some(ids.import));
    let seen: HashSet<_> = fans.into_iter().map(|fan| fan.open_id).collect();
    Ok(open_ids.iter().filter(|id| !seen.contains(*id)).cloned().collect())
}
