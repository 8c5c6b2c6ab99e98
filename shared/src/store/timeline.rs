//! The timeline: what a fan said, did and was sent, and what happened to an account itself. Storing a push's
//! event *is* its deduplication.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Store,
    dynamo::{Attributes, ConditionalWrite, Query, from_item, s, to_item},
    fans::FanId,
    keys,
};
use crate::{
    error::{Error, StoreError},
    ids,
    model::{passive_reply, push::CLOCK_SKEW_SECONDS},
};

/// Events that one listing reads for each owner before it returns a cursor.
const MAX_SCANNED_EVENTS: usize = 2_000;
/// Events that a query reads at least where one type is asked for: most of them are filtered out.
const MIN_FILTERED_PAGE: usize = 100;
/// A page ends after so many bytes, whatever its limit: Lambda returns 6 MB, an event may have 256 KB.
const MAX_PAGE_BYTES: usize = 1024 * 1024;
/// Suffix of the identity of a passive reply, after that of the event it replies to. It sorts before every
/// letter and digit, so that no other identity comes between the two.
const REPLY_SUFFIX: &str = "+reply";

/// The owner of an event: one timeline.
#[derive(Debug, Clone, Copy)]
pub enum TimelineOwner<'a> {
    /// A fan.
    Fan(FanId<'a>),
    /// The account itself.
    Account {
        /// The tenant that asks.
        tenant: &'a str,
        /// The account.
        app_id: &'a str,
    },
}

impl<'a> From<FanId<'a>> for TimelineOwner<'a> {
    fn from(fan: FanId<'a>) -> Self {
        Self::Fan(fan)
    }
}

impl TimelineOwner<'_> {
    fn key(self, identity: &str) -> keys::Key {
        match self {
            Self::Fan(fan) => keys::event(fan.tenant, fan.app_id, fan.open_id, identity),
            Self::Account { tenant, app_id } => keys::account_event(tenant, app_id, identity),
        }
    }
}

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
    /// The follower; empty where it is the account's own event.
    pub open_id: String,
    /// JSON text of the push's members.
    pub detail: String,
    /// The passive reply as XML: WeChat's repetition of the push gets the same one.
    pub reply: Option<String>,
    /// WeChat's message JSON to send as a customer-service message, where the rule's reply cannot be passive.
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

    /// Roughly its size in a response.
    fn bytes(&self) -> usize {
        self.detail.len() + self.reply.as_ref().map_or(0, String::len)
    }

    /// The passive reply as an event of its own, right after the one that it replies to. Both are stored as
    /// one item: a second write would cost time that WeChat's five seconds do not leave.
    fn passive_reply_event(&self) -> Option<Self> {
        let content = passive_reply::parse_passive_xml(self.reply.as_deref()?)?;
        Some(Self {
            identity: format!("{}{REPLY_SUFFIX}", self.identity),
            kind: "message_sent".into(),
            detail: json!({ "channel": "passive", "content": content }).to_string(),
            reply: None,
            sends: None,
            ..self.clone()
        })
    }

    /// The item as stored at `now`, for `kept` seconds.
    fn item(&self, owner: TimelineOwner<'_>, kept: i64, now: i64) -> Result<Attributes, Error> {
        let mut attributes = to_item(&owner.key(&self.identity), self, Some(expiry(self.at, kept, now)))?;
        attributes.insert("at_key".into(), s(self.at_key()));
        Ok(attributes)
    }
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

impl Store {
    /// Stores an event once.
    ///
    /// # Errors
    /// [`Error::Store`]: it may or may not be stored; storing it again is safe.
    pub async fn insert_event_once<'a>(
        &self,
        owner: impl Into<TimelineOwner<'a>>,
        event: &StoredEvent,
    ) -> Result<EventInsert, Error> {
        let item = event.item(owner.into(), self.event_retention_seconds, self.clock.unix())?;
        match self.put_if_absent(&self.timeline, item).await? {
            ConditionalWrite::Done(_) => Ok(EventInsert::New),
            ConditionalWrite::ConditionFailed(Some(before)) => {
                Ok(EventInsert::Existing(Box::new(from_item(before)?)))
            }
            ConditionalWrite::ConditionFailed(None) => {
                Err(StoreError::Unavailable("the event that exists was not answered".into()).into())
            }
        }
    }

    /// The item of an event, to be written with others.
    pub(super) fn event_item<'a>(
        &self,
        owner: impl Into<TimelineOwner<'a>>,
        event: &StoredEvent,
    ) -> Result<(&str, Attributes), Error> {
        Ok((&self.timeline, event.item(owner.into(), self.event_retention_seconds, self.clock.unix())?))
    }

    /// Events of `owners`, newest first, before `before` (an [`StoredEvent::at_key`]), of type `kind` if
    /// given. Passive replies are events too. Returns at most `limit`, and the cursor.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn events<'a>(
        &self,
        owners: &[impl Into<TimelineOwner<'a>> + Copy],
        kind: Option<&str>,
        limit: usize,
        before: Option<&str>,
    ) -> Result<(Vec<StoredEvent>, Option<String>), Error> {
        let mut found: Vec<StoredEvent> = Vec::new();
        let mut complete_from = None; // events older than this are incomplete
        let page_limit = if kind.is_some() { (limit + 1).max(MIN_FILTERED_PAGE) } else { limit + 1 };
        for owner in owners {
            let pk = (*owner).into().key("").pk;
            let mut upper = before.unwrap_or("~").to_owned();
            let (mut matched, mut looked_at) = (0, 0);
            loop {
                let page = self
                    .query(Query {
                        table: &self.timeline,
                        index: Some(keys::TIME_INDEX),
                        consistent: true,
                        condition: "pk = :pk AND at_key < :upper",
                        names: &[],
                        values: &[(":pk", s(&pk)), (":upper", s(upper.clone()))],
                        descending: true,
                        limit: i32::try_from(page_limit).unwrap_or(i32::MAX),
                        start: None,
                    })
                    .await?;
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
    use crate::{model::content::Reply, store::dynamo::n};

    const DAY: i64 = 24 * 3600;
    /// 2025-01-01, unix seconds.
    const NEW_YEAR: i64 = 1_735_689_600;

    fn event(identity: &str, at: i64) -> StoredEvent {
        StoredEvent {
            identity: identity.into(),
            kind: "message_received".into(),
            at,
            app_id: "wx1".into(),
            open_id: "o1".into(),
            detail: "{}".into(),
            reply: None,
            sends: None,
        }
    }

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
            let item = event("M1", at).item(fan.into(), days * DAY, NEW_YEAR).unwrap();
            assert_eq!(item["ttl"], n(kept_from + days * DAY), "{what}");
        }
    }

    #[test]
    fn a_reply_is_an_event_right_after_what_it_answers() {
        let reply: Reply =
            serde_json::from_value(json!({"msgtype": "text", "text": {"content": "a ]]> b"}})).unwrap();
        let mut first = event("M12", NEW_YEAR);
        first.reply = reply.passive_xml("o1", "gh_1", NEW_YEAR);
        let answer = first.passive_reply_event().unwrap();
        assert_eq!(
            (answer.kind.as_str(), answer.at, answer.open_id.as_str()),
            ("message_sent", NEW_YEAR, "o1")
        );
        let detail =
            json!({"channel": "passive", "content": {"msgtype": "text", "text": {"content": "a ]]> b"}}});
        assert_eq!(Value::Object(answer.detail()), detail);
        assert_ne!(answer.id(), first.id());
        assert_eq!(answer.passive_reply_event(), None);
        for other in ["M1", "M120", "M13", "E00", "Smsg_1", "Rimp_1", "e#o1"] {
            let other = event(other, NEW_YEAR).at_key();
            let between = first.at_key() < other && other < answer.at_key();
            assert!(first.at_key() < answer.at_key() && !between, "{other}");
        }
        let transfer: Reply =
            serde_json::from_value(json!({"msgtype": "transfer_customer_service"})).unwrap();
        first.reply = transfer.passive_xml("o1", "gh_1", NEW_YEAR);
        assert_eq!(first.passive_reply_event(), None, "an agent answers, not the account");
    }
}
