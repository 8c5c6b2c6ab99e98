//! `ReconcileV1`: finds followers who left without a push, in one shard of the tenant's customers: those that
//! the import did not see. Each gets the `unsubscribed` event that no push brought.
//!
//! It begins when everybody listed is stored, so whoever is listed was seen, and only the others are read:
//! a tenth of the reads of checking each fan. Where an account's lists are longer than a job can read, the
//! fans themselves are read. A job ends when its budget is used up and the next continues from there, so
//! that neither the account's size nor the tenant's other accounts matter.

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

/// Lists read concurrently, of 290 KB each.
const LISTS: usize = 4;
/// Reading this many fans takes as long as reading one list.
const FANS_A_LIST: usize = 100;
/// Fans read in one request.
const READS: usize = 100;
/// Fans marked concurrently.
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

/// Measures how long a job has run.
struct Stopwatch<'a> {
    app: &'a App,
    began: Timestamp,
}

impl Stopwatch<'_> {
    fn shows(&self) -> Duration {
        Duration::try_from(self.app.clock.now().duration_since(self.began)).unwrap_or_default()
    }
}

/// Returns the account's fans after `cursor`, openid to customer, and the cursor where it stopped: after the
/// budget's entries, of any account, or half of its time. [`None`] is the end of the shard.
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

/// Returns the fans on none of the import's lists as (customer, openid), sorted. Stops reading lists when
/// the budget's time is over, because a list of 290 KB is much for a share of a processor. For lists that
/// were not read, or expired after 30 days, the caller reads from the fans whether they were seen.
async fn not_listed(
    app: &App,
    import: &Import,
    shard: u32,
    mut fans: HashMap<String, String>,
    budget: Budget,
    clock: &Stopwatch<'_>,
) -> Result<Vec<(String, String)>, Error> {
    if import.pages_listed as usize * FANS_A_LIST <= fans.len().max(READS) {
        // all shards start at once: each with another list, so that they do not hit one partition
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

/// Marks the fans that the import did not see. Returns the last customer if time ran out before the end.
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
        // every mark is awaited, even after a failure: one dropped half-way would leave no event
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

/// Marks a fan that the import did not see. After a crash between the mark and its event, the mark names the
/// import that made it, so that the event is still inserted, once.
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
