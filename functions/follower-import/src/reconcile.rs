//! `ReconcileV1`: those who left while nobody listened, in one shard of the tenant's people: followers whom the
//! import did not see. Each gets the `unsubscribed` event that no push brought.
//!
//! Reconciling begins when everybody on the lists is stored, so whoever is on them was seen: only the others are
//! read. That is a tenth of the reads of asking each fan, and nearly none of the work.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use shared::{
    app::App,
    error::Error,
    queue::jobs::ImportJob,
    store::{
        fans::{Fan, FanId},
        imports::Import,
        timeline::StoredEvent,
    },
};

use crate::{
    finish,
    job::{Ids, Next, running},
};

/// Followers that one job looks through: their openids are in memory at once, some 5 MB, and are read in a few
/// seconds, as are the lists of 10 million followers: well inside the function's minute.
const WINDOW: usize = 50_000;
/// Lists that are read at once: 290 KB each.
const LISTS: usize = 4;
/// Fans that are read in one request.
const READS: usize = 100;
/// Fans that are marked at once.
const MARKS: usize = 25;

pub(crate) async fn run(
    app: &App,
    ids: Ids<'_>,
    shard: u32,
    mut cursor: Option<String>,
) -> Result<Next, Error> {
    let Some(import) = running(app, ids).await? else { return Ok(Next::none()) };
    if import.shards_done.contains(&shard) {
        return Ok(Next::jobs(if all_done(&import) { finish::import(app, &import).await? } else { vec![] }));
    }
    let mut unseen = HashSet::new();
    loop {
        let page = app.store.people(ids.tenant, shard, cursor.as_deref()).await?;
        let here = page.customers.into_values().flatten().filter(|(app_id, _)| app_id == ids.app);
        unseen.extend(here.map(|(_, open_id)| open_id));
        cursor = page.more_after;
        if cursor.is_none() || unseen.len() >= WINDOW {
            break;
        }
    }
    let unseen = without_listed(app, &import, unseen).await?;
    for some in unseen.chunks(READS) {
        let open_ids: Vec<_> = some.iter().map(String::as_str).collect();
        let fans = app.store.fans(ids.tenant, ids.app, &open_ids).await?;
        stream::iter(fans)
            .map(|fan| {
                let import = &import;
                async move { reconcile(app, import, &fan).await }
            })
            .buffer_unordered(MARKS)
            .try_collect::<()>()
            .await?;
    }
    if cursor.is_none() {
        let import = app.store.finish_shard(ids.app, ids.import, shard).await?;
        if all_done(&import) {
            finish::import(app, &import).await?;
        }
        return Ok(Next::none());
    }
    Ok(Next::jobs(vec![ImportJob::ReconcileV1 {
        import_id: ids.import.into(),
        app_id: ids.app.into(),
        tenant_id: ids.tenant.into(),
        shard,
        cursor,
    }]))
}

/// Those of `fans` who are on none of the import's lists. A list that is gone, after 30 days, names nobody: then
/// the fans themselves tell whether they were seen.
async fn without_listed(app: &App, import: &Import, mut fans: HashSet<String>) -> Result<Vec<String>, Error> {
    let mut lists = stream::iter(0..import.pages_listed)
        .map(|page| app.store.listed_page(&import.id, page))
        .buffer_unordered(LISTS);
    while !fans.is_empty()
        && let Some(list) = lists.try_next().await?
    {
        for open_id in list.iter().flat_map(|list| &list.open_ids) {
            fans.remove(open_id);
        }
    }
    Ok(fans.into_iter().collect())
}

fn all_done(import: &Import) -> bool {
    import.shards_done.len() >= shared::store::keys::PEOPLE_SHARDS as usize
}

/// Marks a fan whom the import did not see. A crash may have come between the mark and its event: the mark tells
/// which import made it, so that the event is put then, once.
async fn reconcile(app: &App, import: &Import, fan: &Fan) -> Result<(), Error> {
    let id = FanId { tenant: &import.tenant_id, app_id: &fan.app_id, open_id: &fan.open_id };
    let unseen = fan.subscribed && fan.seen_import_at.is_none_or(|at| at < import.started_at);
    let marked = fan.gone_import.as_deref() == Some(import.id.as_str())
        || (unseen && app.store.mark_gone(id, &import.id, import.started_at).await?);
    if marked {
        let event = StoredEvent {
            identity: format!("R{}", import.id),
            kind: "unsubscribed".into(),
            at: import.started_at,
            app_id: fan.app_id.clone(),
            open_id: fan.open_id.clone(),
            detail: json!({ "inferred_by_import": import.id }).to_string(),
            reply: None,
            sends: None,
        };
        app.store.put_event(id, &event).await?;
    }
    Ok(())
}
