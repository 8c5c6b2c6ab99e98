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
    error::Error,
    model::{
        event::StoredEvent,
        fan::{Fan, FanId},
        import::Import,
    },
    queue::jobs::{ImportJob, ImportRef},
    services::Services,
    store::keys::CUSTOMER_SHARDS,
};

use crate::{
    progress::{finish_if_reconciled, running_import},
    types::{Budget, FollowUps, JobDelivery},
};

/// Lists read concurrently, of 290 KB each.
const CONCURRENT_LIST_READS: usize = 4;
/// Reading this many fans takes as long as reading one list.
const FANS_PER_LIST_READ: usize = 100;
/// Fans read in one request.
const MAX_FANS_PER_READ: usize = 100;
/// Fans marked concurrently.
const CONCURRENT_MARKS: usize = 25;

pub(crate) async fn run(
    app: &Services,
    ids: &ImportRef,
    shard: u32,
    cursor: Option<String>,
    delivery: JobDelivery<'_>,
) -> Result<FollowUps, Error> {
    let Some(import) = running_import(app, ids).await? else { return Ok(FollowUps::none()) };
    if import.shards_done.contains(&shard) {
        return finish_if_reconciled(app, &import).await.map(|()| FollowUps::none());
    }
    let so_far =
        app.store.import_progress().shard_progress(&ids.app_id, &ids.import_id).await?.remove(&shard);
    if let Some(so_far) = so_far
        && Some(&so_far.after) != cursor.as_ref()
        && so_far.by != delivery.message_id
    {
        return Ok(FollowUps::none()); // another is further
    }
    let clock = Stopwatch { app, started_at: app.clock.now() };
    let (account_fans, end) = scan_shard(app, ids, shard, cursor.clone(), delivery.budget, &clock).await?;
    let unseen = not_listed(app, &import, shard, account_fans, delivery.budget, &clock).await?;
    let stopped = mark_unseen(app, &import, &unseen, delivery.budget, &clock).await?;
    let Some(next) = stopped.or(end) else {
        let import = app.store.import_progress().mark_shard_done(&ids.app_id, &ids.import_id, shard).await?;
        return finish_if_reconciled(app, &import).await.map(|()| FollowUps::none());
    };
    if !app
        .store
        .import_progress()
        .advance_shard(&import, shard, cursor.as_deref(), &next, delivery.message_id)
        .await?
    {
        return Ok(FollowUps::none());
    }
    Ok(FollowUps::jobs(vec![ImportJob::ReconcileV1 { import: ids.clone(), shard, cursor: Some(next) }]))
}

/// Measures how long a job has run.
struct Stopwatch<'a> {
    app: &'a Services,
    started_at: Timestamp,
}

impl Stopwatch<'_> {
    fn elapsed(&self) -> Duration {
        Duration::try_from(self.app.clock.now().duration_since(self.started_at)).unwrap_or_default()
    }
}

/// Returns the account's fans after `cursor`, openid to customer, and the cursor where it stopped: after the
/// budget's entries, of any account, or half of its time. [`None`] is the end of the shard.
async fn scan_shard(
    app: &Services,
    ids: &ImportRef,
    shard: u32,
    mut cursor: Option<String>,
    budget: Budget,
    clock: &Stopwatch<'_>,
) -> Result<(HashMap<String, String>, Option<String>), Error> {
    let (mut account_fans, mut looked_at) = (HashMap::new(), 0);
    loop {
        let page = app.store.customers().in_shard(&ids.tenant_id, shard, cursor.as_deref()).await?;
        for (customer, fans) in page.customers {
            looked_at += fans.len().max(1);
            let here = fans.into_iter().filter(|(app_id, _)| *app_id == ids.app_id);
            account_fans.extend(here.map(|(_, open_id)| (open_id, customer.clone())));
        }
        cursor = page.more_after;
        if cursor.is_none() || looked_at >= budget.entries || clock.elapsed() >= budget.time / 2 {
            return Ok((account_fans, cursor));
        }
    }
}

/// Returns the fans on none of the import's lists as (customer, openid), sorted. Stops reading lists when
/// the budget's time is over, because a list of 290 KB is much for a share of a processor. For lists that
/// were not read, or expired after 30 days, the caller reads from the fans whether they were seen.
async fn not_listed(
    app: &Services,
    import: &Import,
    shard: u32,
    mut fans: HashMap<String, String>,
    budget: Budget,
    clock: &Stopwatch<'_>,
) -> Result<Vec<(String, String)>, Error> {
    if import.pages_listed as usize * FANS_PER_LIST_READ <= fans.len().max(MAX_FANS_PER_READ) {
        // all shards start at once: each with another list, so that they do not hit one partition
        let first = import.pages_listed * shard / CUSTOMER_SHARDS;
        let mut lists = stream::iter((first..import.pages_listed).chain(0..first))
            .map(|page| app.store.import_progress().page_eventually_consistent(&import.id, page))
            .buffer_unordered(CONCURRENT_LIST_READS);
        while !fans.is_empty()
            && clock.elapsed() < budget.time
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
async fn mark_unseen(
    app: &Services,
    import: &Import,
    unseen: &[(String, String)],
    budget: Budget,
    clock: &Stopwatch<'_>,
) -> Result<Option<String>, Error> {
    let mut batches = unseen.chunks(MAX_FANS_PER_READ).peekable();
    while let Some(batch) = batches.next() {
        let open_ids: Vec<_> = batch.iter().map(|(_, open_id)| open_id.as_str()).collect();
        let fans = app.store.fans().get_many(&import.tenant_id, &import.app_id, &open_ids).await?;
        // every mark is awaited, even after a failure: one dropped half-way would leave no event
        let marked = stream::iter(fans).map(|fan| async move { mark_unsubscribed(app, import, &fan).await });
        marked
            .buffer_unordered(CONCURRENT_MARKS)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect::<Result<(), _>>()?;
        let (last, next) = (batch.last(), batches.peek().and_then(|next| next.first()));
        if let (Some((last, _)), Some((next, _))) = (last, next)
            && last != next // a customer's fans stay together, since the next job begins behind the customer
            && clock.elapsed() >= budget.time
        {
            return Ok(Some(last.clone()));
        }
    }
    Ok(None)
}

/// Marks a fan that the import did not see. After a crash between the mark and its event, the mark names the
/// import that made it, so that the event is still inserted, once.
async fn mark_unsubscribed(app: &Services, import: &Import, fan: &Fan) -> Result<(), Error> {
    let id = FanId { tenant: &import.tenant_id, app_id: &fan.app_id, open_id: &fan.open_id };
    let unseen = fan.subscribed && fan.seen_import_at.is_none_or(|at| at < import.started_at);
    let marked = fan.gone_import.as_deref() == Some(import.id.as_str())
        || (unseen && app.store.fans().mark_unsubscribed(id, &import.id, import.started_at).await?);
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
        app.store.timeline().insert_once(id, &event).await?;
    }
    Ok(())
}
