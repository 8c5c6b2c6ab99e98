//! The timeline: what a fan said, did and was sent, and what happened to an account itself. Storing a push's
//! event *is* its deduplication.

use super::{
    dynamo::{
        Attributes, conditional_write::ConditionalWrite, database::Database, from_item, query::Query, s,
        statement::Statement, to_item,
    },
    keys::{self, Key},
};
use crate::{
    error::{Error, StoreError},
    model::{
        event::{StoredEvent, TimelineOwner},
        push::CLOCK_SKEW_SECONDS,
    },
};

/// Events that one listing reads for each owner before it returns a cursor.
const MAX_SCANNED_EVENTS: usize = 2_000;
/// Events that a query reads at least where one type is asked for: most of them are filtered out.
const MIN_FILTERED_PAGE: usize = 100;
/// A page ends after so many bytes, whatever its limit: Lambda returns 6 MB, an event may have 256 KB.
const MAX_PAGE_BYTES: usize = 1024 * 1024;
/// The key of the event `identity` in a timeline.
fn event_key(owner: TimelineOwner<'_>, identity: &str) -> Key {
    match owner {
        TimelineOwner::Fan(fan) => keys::event(fan.tenant, fan.app_id, fan.open_id, identity),
        TimelineOwner::Account { tenant, app_id } => keys::account_event(tenant, app_id, identity),
    }
}

/// The item of an event that is stored at `now`, for `kept` seconds.
fn item_of(event: &StoredEvent, owner: TimelineOwner<'_>, kept: i64, now: i64) -> Result<Attributes, Error> {
    let key = event_key(owner, &event.identity);
    let mut attributes = to_item(&key, event, Some(expiry(event.at, kept, now)))?;
    attributes.insert("at_key".into(), s(event.at_key()));
    Ok(attributes)
}

/// When an event of `at` may be deleted: `kept` seconds later. One that claims to be older than that counts
/// from now, and so does one of the far future: an event is stored long enough to recognise its repeated
/// push, and no longer than others. DynamoDB never deletes what expired more than five years ago.
fn expiry(at: i64, kept: i64, now: i64) -> i64 {
    let from = if at + kept <= now { now } else { at.min(now + CLOCK_SKEW_SECONDS) };
    from + kept
}

/// The result of storing an event.
#[derive(Debug)]
pub enum EventInsert {
    /// It is new.
    New,
    /// It existed: as it was stored the first time.
    Existing(Box<StoredEvent>),
}

/// The timelines of fans and accounts.
#[derive(Clone, Copy)]
pub struct Timeline<'a> {
    pub(super) db: &'a Database,
    /// How long an event is stored, seconds.
    pub(super) retention_seconds: i64,
}

impl Timeline<'_> {
    /// Stores an event once.
    ///
    /// # Errors
    /// [`Error::Store`]: it may or may not be stored; storing it again is safe.
    pub async fn insert_once<'a>(
        self,
        owner: impl Into<TimelineOwner<'a>>,
        event: &StoredEvent,
    ) -> Result<EventInsert, Error> {
        let item = item_of(event, owner.into(), self.retention_seconds, self.db.clock.unix())?;
        match self.db.put_if_absent(&self.db.timeline, item).await? {
            ConditionalWrite::Done(_) => Ok(EventInsert::New),
            ConditionalWrite::ConditionFailed(Some(before)) => {
                Ok(EventInsert::Existing(Box::new(from_item(before)?)))
            }
            ConditionalWrite::ConditionFailed(None) => {
                Err(StoreError::Unavailable("the event that exists was not answered".into()).into())
            }
        }
    }

    /// The statement that inserts an event, to be executed with others.
    pub(super) fn insert_statement(
        self,
        owner: TimelineOwner<'_>,
        event: &StoredEvent,
    ) -> Result<Statement, Error> {
        let item = item_of(event, owner, self.retention_seconds, self.db.clock.unix())?;
        Ok(Statement::insert(&self.db.timeline, item))
    }

    /// Events of `owners`, newest first, before `before` (an [`StoredEvent::at_key`]), of type `kind` if
    /// given. Passive replies are events too. Returns at most `limit`, and the cursor.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list<'a>(
        self,
        owners: &[impl Into<TimelineOwner<'a>> + Copy],
        kind: Option<&str>,
        limit: usize,
        before: Option<&str>,
    ) -> Result<(Vec<StoredEvent>, Option<String>), Error> {
        let mut found: Vec<StoredEvent> = Vec::new();
        let mut complete_from = None; // events older than this are incomplete
        let page_limit = if kind.is_some() { (limit + 1).max(MIN_FILTERED_PAGE) } else { limit + 1 };
        for owner in owners {
            let pk = event_key((*owner).into(), "").pk;
            let mut upper = before.unwrap_or("~").to_owned();
            let (mut matched, mut looked_at) = (0, 0);
            loop {
                let page_limit = i32::try_from(page_limit).unwrap_or(i32::MAX);
                let newest_first = Query::on(&self.db.timeline, &pk, page_limit)
                    .index(keys::TIME_INDEX)
                    .before(&upper)
                    .descending();
                let page = self.db.query(newest_first).await?;
                looked_at += page.items.len();
                for event in page.items {
                    let event: StoredEvent = from_item(event)?;
                    upper = event.at_key();
                    let of_kind = |event: &StoredEvent| kind.is_none_or(|kind| kind == event.kind);
                    // the page before may have ended between an event and its reply
                    let is_in_range =
                        |reply: &StoredEvent| before.is_none_or(|before| *reply.at_key() < *before);
                    let reply = event.passive_reply_event().filter(is_in_range);
                    for event in reply.into_iter().chain([event]).filter(of_kind) {
                        matched += 1;
                        found.push(event);
                    }
                }
                if page.next.is_none() {
                    break;
                }
                if matched > limit || looked_at >= MAX_SCANNED_EVENTS {
                    complete_from = complete_from.max(Some(upper));
                    break;
                }
            }
        }
        found.sort_by_key(|e| std::cmp::Reverse(e.at_key()));
        if let Some(bound) = &complete_from {
            found.retain(|e| e.at_key() >= *bound);
        }
        let mut bytes = 0;
        let fitting = found.iter().take(limit).take_while(|event| {
            bytes += event.bytes();
            bytes <= MAX_PAGE_BYTES
        });
        let page = fitting.count().max(1);
        if found.len() > page {
            found.truncate(page);
            let next = found.last().map(StoredEvent::at_key);
            return Ok((found, next));
        }
        Ok((found, complete_from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::fan::FanId, store::dynamo::n};

    const DAY: i64 = 24 * 3600;
    /// 2025-01-01, unix seconds.
    const NEW_YEAR: i64 = 1_735_689_600;

    #[test]
    fn an_event_is_kept_from_when_it_happened_for_as_long_as_was_set() {
        let fan = FanId { tenant: "ten_1", app_id: "wx1", open_id: "o1" };
        for (what, at, days, kept_from) in [
            ("of now", NEW_YEAR, 15, NEW_YEAR),
            ("of now, for a year", NEW_YEAR, 365, NEW_YEAR),
            ("late by three days", NEW_YEAR - 3 * DAY, 15, NEW_YEAR - 3 * DAY),
            ("by a clock that is ahead of ours", NEW_YEAR + 5, 15, NEW_YEAR + 5),
            ("late by more than events are kept", NEW_YEAR - 16 * DAY, 15, NEW_YEAR),
            ("of 1970", 0, 365, NEW_YEAR),
            ("older than time", -1, 365, NEW_YEAR),
            ("of the year 9999", 253_402_300_799, 365, NEW_YEAR + CLOCK_SKEW_SECONDS),
        ] {
            let item = item_of(&StoredEvent::sample("M1", at), fan.into(), days * DAY, NEW_YEAR).unwrap();
            assert_eq!(item["ttl"], n(kept_from + days * DAY), "{what}");
        }
    }
}
