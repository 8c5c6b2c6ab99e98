//! The timeline: what a fan said, did and was sent. Storing a push's event *is* its deduplication.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Store,
    fans::FanId,
    keys,
    table::{Attributes, Query, Written, item, read, s},
};
use crate::{error::Error, ids};

/// Items that one listing looks at per fan before it hands back a cursor.
const LISTING_BOUND: usize = 2_000;

/// An event as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Sort key: the push's identity.
    #[serde(rename = "sk")]
    pub identity: String,
    /// Its type, as the API names it.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened, unix seconds: the push's `CreateTime`.
    pub at: i64,
    /// The account.
    pub app_id: String,
    /// The follower.
    pub open_id: String,
    /// JSON text of the push's members.
    pub detail: String,
    /// The passive reply that was given, as XML: a retry gets the same one.
    pub reply: Option<String>,
    /// Whether a message has to go out besides the reply: the id it has.
    pub sends: Option<String>,
}

impl StoredEvent {
    /// `evt_…`.
    #[must_use]
    pub fn id(&self) -> String {
        ids::derived("evt", &[&self.app_id, &self.open_id, &self.identity])
    }

    /// The push's members.
    #[must_use]
    pub fn detail(&self) -> Map<String, Value> {
        serde_json::from_str(&self.detail).unwrap_or_default()
    }

    /// Sorts by time, then by identity.
    #[must_use]
    pub fn at_key(&self) -> String {
        format!("{:013}#{}", self.at.max(0), self.identity)
    }

    /// As stored, for so many seconds from when it happened.
    fn item(&self, fan: FanId<'_>, kept: i64) -> Result<Attributes, Error> {
        let key = keys::event(fan.tenant, fan.app_id, fan.open_id, &self.identity);
        let mut attributes = item(&key, self, Some(self.at.max(0) + kept))?;
        attributes.insert("at_key".into(), s(self.at_key()));
        Ok(attributes)
    }
}

/// What became of storing an event.
#[derive(Debug)]
pub enum Stored {
    /// It is new.
    New,
    /// It was there: as it was stored the first time.
    Seen(Box<StoredEvent>),
}

impl Store {
    /// Stores an event once.
    ///
    /// # Errors
    /// [`Error::Store`]: it may or may not be stored; storing it again is safe.
    pub async fn put_event(&self, fan: FanId<'_>, event: &StoredEvent) -> Result<Stored, Error> {
        match self.put_new(&self.timeline, event.item(fan, self.events_kept)?).await? {
            Written::Done(_) => Ok(Stored::New),
            Written::Refused(Some(before)) => Ok(Stored::Seen(Box::new(read(before)?))),
            Written::Refused(None) => Err(Error::Store("the event that exists was not answered".into())),
        }
    }

    /// The item of an event, to be written with others.
    pub(super) fn event_item(
        &self,
        fan: FanId<'_>,
        event: &StoredEvent,
    ) -> Result<(&str, Attributes), Error> {
        Ok((&self.timeline, event.item(fan, self.events_kept)?))
    }

    /// Events of `fans`, newest first, before `before` (an [`StoredEvent::at_key`]), of type `kind` if given.
    /// Answers at most `limit` and where to go on.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn events(
        &self,
        fans: &[FanId<'_>],
        kind: Option<&str>,
        limit: usize,
        before: Option<&str>,
    ) -> Result<(Vec<StoredEvent>, Option<String>), Error> {
        let mut found: Vec<StoredEvent> = Vec::new();
        let mut bound = None; // older than this, not every fan was looked at
        for fan in fans {
            let mut upper = before.unwrap_or("~").to_owned();
            let (mut kept, mut looked_at) = (0, 0);
            loop {
                let page = self
                    .query(Query {
                        table: &self.timeline,
                        index: Some(keys::TIME_INDEX),
                        consistent: true,
                        condition: "pk = :pk AND at_key < :upper",
                        names: &[],
                        values: &[
                            (":pk", s(keys::fan(fan.tenant, fan.app_id, fan.open_id).pk)),
                            (":upper", s(upper.clone())),
                        ],
                        descending: true,
                        limit: i32::try_from(limit + 1).unwrap_or(i32::MAX),
                        start: None,
                    })
                    .await?;
                looked_at += page.items.len();
                for event in page.items {
                    let event: StoredEvent = read(event)?;
                    upper = event.at_key();
                    if kind.is_none_or(|k| k == event.kind) {
                        kept += 1;
                        found.push(event);
                    }
                }
                if page.next.is_none() {
                    break;
                }
                if kept > limit || looked_at >= LISTING_BOUND {
                    bound = bound.max(Some(upper));
                    break;
                }
            }
        }
        found.sort_by_key(|e| std::cmp::Reverse(e.at_key()));
        if let Some(bound) = &bound {
            found.retain(|e| e.at_key() >= *bound);
        }
        if found.len() > limit {
            found.truncate(limit);
            let next = found.last().map(StoredEvent::at_key);
            return Ok((found, next));
        }
        Ok((found, bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::table::n;

    #[test]
    fn an_event_is_kept_from_when_it_happened_for_as_long_as_was_set() {
        let event = |at| StoredEvent {
            identity: "M1".into(),
            kind: "message_received".into(),
            at,
            app_id: "wx1".into(),
            open_id: "o1".into(),
            detail: "{}".into(),
            reply: None,
            sends: None,
        };
        let fan = FanId { tenant: "ten_1", app_id: "wx1", open_id: "o1" };
        for (at, days, ttl) in [
            (1_735_689_600, 15, 1_736_985_600),
            (1_735_689_600, 365, 1_767_225_600),
            (-1, 365, 31_536_000), // a push that claims to be older than time
        ] {
            let item = event(at).item(fan, days * 24 * 3600).unwrap();
            assert_eq!(item["ttl"], n(ttl), "{days} days from {at}");
        }
    }
}
