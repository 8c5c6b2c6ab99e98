//! `ReconcileV1`: those who left while nobody listened, in one shard of the tenant's people: followers whom the
//! import did not see. Each gets the `unsubscribed` event that no push brought.
//!
//! Reconciling begins when everybody on the lists is stored, so whoever is on them was seen: only the others are
//! read. That is a tenth of the reads of asking each fan, and nearly none of the work; of an account whose lists are
//! longer than what a job looks at, the fans are asked. A job ends where its budget does, and the next goes on from
//! there, so that neither the account's size nor that of its tenant's others is in the way.

use std::{collections::HashMap, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde_json::json;
use shared::{
    app::App,
    error::Error,
    queue::jobs::ImportJob,
    store::{
        fans::{Fan, FanId},
        imports::Import,
        keys::PEOPLE_SHARDS,
        timeline::StoredEvent,
    },
};

use crate::{
    finish,
    job::{Budget, Delivery, Ids, Next, running},
};

/// Lists that are read at once: 290 KB each.
const LISTS: usize = 4;
/// So many fans are read as fast as one list.
const FANS_A_LIST: usize = 100;
/// Fans that are read in one request.
const READS: usize = 100;
/// Fans that are marked at once.
const MARKS: usize = 25;

pub(crate) async fn run(
    app: &App,
    ids: Ids<'_>,
    shard: u32,
    cursor: Option<String>,
    delivery: Delivery<'_>,
) -> Result<Next, Error> {
    let Some(import) = running(app, ids).await? else { return Ok(Next::none()) };
    if import.shards_done.contains(&shard) {
        return Ok(Next::jobs(if all_done(&import) { finish::import(app, &import).await? } else { vec![] }));
    }
    let place = app.store.shard_places(ids.app, ids.import).await?.remove(&shard);
    if let Some(place) = place
        && Some(&place.after) != cursor.as_ref()
        && place.by != delivery.message_id
    {
        return Ok(Next::none()); // another is further
    }
    let clock = Stopwatch { app, began: app.clock.now() };
    let (window, end) = window(app, ids, shard, cursor.clone(), delivery.budget, &clock).await?;
    let unseen = not_listed(app, &import, shard, window, delivery.budget, &clock).await?;
    let stopped = mark(app, &import, &unseen, delivery.budget, &clock).await?;
    let Some(next) = stopped.or(end) else {
        let import = app.store.finish_shard(ids.app, ids.import, shard).await?;
        if all_done(&import) {
            finish::import(app, &import).await?;
        }
        return Ok(Next::none());
    };
    if !app.store.advance_shard(&import, shard, cursor.as_deref(), &next, delivery.message_id).await? {
        return Ok(Next::none());
    }
    Ok(Next::jobs(vec![ImportJob::ReconcileV1 {
        import_id: ids.import.into(),
        app_id: ids.app.into(),
        tenant_id: ids.tenant.into(),
        shard,
        cursor: Some(next),
    }]))
}

/// How long a job has worked.
struct Stopwatch<'a> {
    app: &'a App,
    began: Timestamp,
}

impl Stopwatch<'_> {
    fn shows(&self) -> Duration {
        Duration::try_from(self.app.clock.now().duration_since(self.began)).unwrap_or_default()
    }
}

/// The account's fans behind `cursor` by openid, each with their customer, and where the window ends: at as many
/// entries as the budget has, whoever they belong to, or after half of its time; [`None`] at the end of the shard.
async fn window(
    app: &App,
    ids: Ids<'_>,
    shard: u32,
    mut cursor: Option<String>,
    budget: Budget,
    clock: &Stopwatch<'_>,
) -> Result<(HashMap<String, String>, Option<String>), Error> {
    let (mut window, mut looked_at) = (HashMap::new(), 0);
    loop {
        let page = app.store.people(ids.tenant, shard, cursor.as_deref()).await?;
        for (customer, fans) in page.customers {
            looked_at += fans.len().max(1);
            let here = fans.into_iter().filter(|(app_id, _)| app_id == ids.app);
            window.extend(here.map(|(_, open_id)| (open_id, customer.clone())));
        }
        cursor = page.more_after;
        if cursor.is_none() || looked_at >= budget.entries || clock.shows() >= budget.time / 2 {
            return Ok((window, cursor));
        }
    }
}

/// Those of `fans` who are on none of the import's lists, as far as it is worth to read these: (customer, openid),
/// sorted. Lists of 290 KB are much to read for a share of a processor, so that this too ends with the
/// time. Of a list that was not read, or that is gone, after 30 days, the fans themselves tell whether they were seen.
async fn not_listed(
    app: &App,
    import: &Import,
    shard: u32,
    mut fans: HashMap<String, String>,
    budget: Budget,
    clock: &Stopwatch<'_>,
) -> Result<Vec<(String, String)>, Error> {
    if import.pages_listed as usize * FANS_A_LIST <= fans.len().max(READS) {
        // the shards begin together: each with another list, so that they do not all ask one partition
        let first = import.pages_listed * shard / PEOPLE_SHARDS;
        let mut lists = stream::iter((first..import.pages_listed).chain(0..first))
            .map(|page| app.store.listed_page_lately(&import.id, page))
            .buffer_unordered(LISTS);
        while !fans.is_empty()
            && clock.shows() < budget.time
            && let Some(list) = lists.try_next().await?
        {
            for open_id in list.iter().flat_map(|list| &list.open_ids) {
                fans.remove(open_id);
            }
        }
    }
    let mut left: Vec<_> = fans.into_iter().map(|(open_id, customer)| (customer, open_id)).collect();
    left.sort();
    Ok(left)
}

/// Marks whom the import did not see. Answers the customer whom it came to where the time was up.
async fn mark(
    app: &App,
    import: &Import,
    unseen: &[(String, String)],
    budget: Budget,
    clock: &Stopwatch<'_>,
) -> Result<Option<String>, Error> {
    let mut some = unseen.chunks(READS).peekable();
    while let Some(these) = some.next() {
        let open_ids: Vec<_> = these.iter().map(|(_, open_id)| open_id.as_str()).collect();
        let fans = app.store.fans(&import.tenant_id, &import.app_id, &open_ids).await?;
        // all to their end, whatever becomes of one: a mark that is dropped half-way has no event
        let marked = stream::iter(fans).map(|fan| async move { reconcile(app, import, &fan).await });
        marked.buffer_unordered(MARKS).collect::<Vec<_>>().await.into_iter().collect::<Result<(), _>>()?;
        let (last, next) = (these.last(), some.peek().and_then(|next| next.first()));
        if let (Some((last, _)), Some((next, _))) = (last, next)
            && last != next // a customer's fans stay together, since the next job begins behind the customer
            && clock.shows() >= budget.time
        {
            return Ok(Some(last.clone()));
        }
    }
    Ok(None)
}

fn all_done(import: &Import) -> bool {
    import.shards_done.len() >= PEOPLE_SHARDS as usize
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
