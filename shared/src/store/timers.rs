//! Jobs for a later time, in [`keys::TIMER_SHARDS`] shards, each sorted by when they are due.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    dynamo::{Attributes, database::Database, from_item, n, query::Query, s, to_item, update::Update},
    keys::{self, Key},
};
use crate::{error::Error, model::timer::StoredTimer};

/// How long a sweeper leases a shard, seconds: longer than it sweeps, which `token-refresh` makes sure of.
pub const SWEEP_LEASE_SECONDS: i64 = 35;

/// A timer that is due.
#[derive(Debug, Clone)]
pub struct DueTimer {
    /// Its key in the table.
    key: Key,
    /// The job to queue.
    pub timer: StoredTimer,
}

impl DueTimer {
    /// The cursor of a page that begins with this timer.
    #[must_use]
    pub fn cursor(&self) -> TimerCursor {
        TimerCursor(self.key.sk.clone())
    }

    /// The cursor of a page that begins after all timers with this ordering key and time.
    #[must_use]
    pub fn cursor_after_ordering_key(&self) -> TimerCursor {
        TimerCursor(keys::after_ordering_key(&self.key.sk))
    }
}

/// A page of due timers.
#[derive(Debug, Default)]
pub struct DuePage {
    /// Sorted by when they are due.
    pub timers: Vec<DueTimer>,
    /// How many cannot be read, and stay stored.
    pub unreadable: usize,
    /// Where the next page begins, if there is one.
    pub next: Option<TimerCursor>,
}

impl DuePage {
    /// The last timer of the page, if that one can be read.
    #[must_use]
    pub fn last_readable(&self) -> Option<&DueTimer> {
        let last = self.timers.last()?;
        (self.next.as_ref()?.0 == keys::after(&last.key.sk)).then_some(last)
    }
}

/// Where a page begins: the first sort key that it may hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerCursor(String);

/// Jobs for a later time.
#[derive(Clone, Copy)]
pub struct Timers<'a> {
    pub(super) db: &'a Database,
}

impl Timers<'_> {
    /// Stores a timer for the unix millisecond `due`. The same call twice is one timer. Timers of one
    /// `ordering_key` that are due at the same time go in the order of their ids.
    ///
    /// # Errors
    /// [`Error::Store`]: it may be stored; repeating is safe.
    pub async fn create(
        self,
        ordering_key: &str,
        due: i64,
        id: &str,
        timer: &StoredTimer,
    ) -> Result<(), Error> {
        self.db.put(&self.db.work, to_item(&keys::timer(ordering_key, due, id), timer, None)?).await
    }

    /// At most `limit` timers of a shard that are due at the unix millisecond `now`, beginning at `from`. The
    /// read is eventually consistent, so one that was stored this second may be found a minute later.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn due(
        self,
        shard: u32,
        now: i64,
        limit: i32,
        from: Option<TimerCursor>,
    ) -> Result<DuePage, Error> {
        let (first, to) = keys::timers_until(shard, now);
        let from = from.map_or(first.sk, |TimerCursor(sk)| sk);
        if from > to.sk {
            return Ok(DuePage::default()); // DynamoDB refuses such a range
        }
        let due = Query::on(&self.db.work, &to.pk, limit).between(&from, &to.sk);
        let page = self.db.query(due).await?;
        let (mut timers, mut unreadable) = (Vec::with_capacity(page.items.len()), Vec::new());
        for found in page.items {
            match read_timer(found) {
                Ok(timer) => timers.push(timer),
                Err(error) => unreadable.push(error),
            }
        }
        if let Some(error) = unreadable.first() {
            tracing::error!(shard, timers = unreadable.len(), %error, "timers cannot be read, the first: {error}");
        }
        let last = page.next.as_ref().and_then(|key| key.get("sk")).and_then(|sk| sk.as_s().ok());
        let next = last.map(|sk| TimerCursor(keys::after(sk)));
        Ok(DuePage { timers, unreadable: unreadable.len(), next })
    }

    /// Deletes timers whose jobs are in their queues.
    ///
    /// # Errors
    /// [`Error::Store`]: some may still be stored, and come again.
    pub async fn delete<'a>(self, done: impl IntoIterator<Item = &'a DueTimer>) -> Result<(), Error> {
        let keys: Vec<Key> = done.into_iter().map(|due| due.key.clone()).collect();
        self.db.delete_many(&self.db.work, &keys).await
    }

    /// Leases a shard to sweep it, if it is free. Two sweepers at once would only queue jobs twice.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn lease_shard(self, shard: u32, owner: &str) -> Result<bool, Error> {
        let now = self.db.clock.unix();
        let update =
            Update::new().set("lease_until", n(now + SWEEP_LEASE_SECONDS)).set("lease_owner", s(owner)).when(
                "attribute_not_exists(lease_until) OR lease_until <= :now OR lease_owner = :me",
                &[(":now", n(now)), (":me", s(owner))],
            );
        Ok(self.db.update(&self.db.work, &keys::timer_sweep(shard), update).await?.is_done())
    }

    /// Ends the lease of a shard.
    ///
    /// # Errors
    /// [`Error::Store`]: then the shard is free when the lease expires.
    pub async fn release_shard(self, shard: u32, owner: &str) -> Result<(), Error> {
        let update = Update::new().remove("lease_until").when("lease_owner = :me", &[(":me", s(owner))]);
        self.db.update(&self.db.work, &keys::timer_sweep(shard), update).await.map(drop)
    }
}

/// One that cannot be read stays: a later release wrote it.
fn read_timer(found: Attributes) -> Result<DueTimer, Error> {
    let word = |name: &str| found.get(name).and_then(|v: &AttributeValue| v.as_s().ok()).cloned();
    let (Some(pk), Some(sk)) = (word("pk"), word("sk")) else {
        return Err(Error::Item("a timer without a key".into()));
    };
    Ok(DueTimer { key: Key { pk, sk }, timer: from_item(found)? })
}
