//! Events of the timeline: what a fan said, did and was sent, and what happened to an account itself.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{fan::FanId, passive_reply};
use crate::ids;

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
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.detail.len() + self.reply.as_ref().map_or(0, String::len)
    }

    /// The passive reply as an event of its own, right after the one that it replies to. Both are stored as
    /// one item: a second write would cost time that WeChat's five seconds do not leave.
    #[must_use]
    pub fn passive_reply_event(&self) -> Option<Self> {
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
}

#[cfg(test)]
impl StoredEvent {
    /// A message of a fan, for tests.
    pub(crate) fn sample(identity: &str, at: i64) -> Self {
        Self {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::content::Reply;

    /// 2025-01-01, unix seconds.
    const NEW_YEAR: i64 = 1_735_689_600;

    #[test]
    fn a_reply_is_an_event_right_after_what_it_answers() {
        let reply: Reply =
            serde_json::from_value(json!({"msgtype": "text", "text": {"content": "a ]]> b"}})).unwrap();
        let mut first = StoredEvent::sample("M12", NEW_YEAR);
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
            let other = StoredEvent::sample(other, NEW_YEAR).at_key();
            let between = first.at_key() < other && other < answer.at_key();
            assert!(first.at_key() < answer.at_key() && !between, "{other}");
        }
        let transfer: Reply =
            serde_json::from_value(json!({"msgtype": "transfer_customer_service"})).unwrap();
        first.reply = transfer.passive_xml("o1", "gh_1", NEW_YEAR);
        assert_eq!(first.passive_reply_event(), None, "an agent answers, not the account");
    }
}
