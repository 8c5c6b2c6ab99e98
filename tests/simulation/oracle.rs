//! What the checks know of a push: what the simulator wrote, read by the simulator's own reader. They ask
//! none of the hub's code what a push means or by which key it is stored, for a mistake there would excuse
//! itself.
//!
//! Acts are numbered by WeChat itself: a message has its `MsgId`. Of events, WeChat gives nothing to tell two
//! acts apart that say the same within one second, and so those are one push.

use std::collections::BTreeMap;

use oahub_harness::dynamo::{scan, text_of};
use serde_json::Value;
use wechat_simulator::xml::{XmlDocument, first_value};

use crate::run::{Run, tenant_of};

/// WeChat's report on a broadcast: the only push in these histories that no fan caused.
const BROADCAST_REPORT: &str = "MASSSENDJOBFINISH";

/// A table's items by their keys.
pub type Items = BTreeMap<(String, String), Value>;

pub fn table(run: &Run, name: &str) -> Items {
    scan(&run.world.backends.db, name)
}

pub fn fan_key(run: &Run, account: usize, open_id: &str) -> String {
    format!("FAN#{}#{}#{open_id}", run.tenants[tenant_of(account)], run.apps[account])
}

/// Whether a push is about the account and not about a fan.
pub fn is_about_account(plaintext: &str) -> bool {
    first_value(plaintext, "Event") == Some(BROADCAST_REPORT)
}

/// What a push says besides sender and recipient, in one spelling.
fn said(plaintext: &str) -> String {
    let document = XmlDocument::parse(plaintext).unwrap();
    let members = document.values().filter(|(name, _)| !matches!(*name, "ToUserName" | "FromUserName"));
    serde_json::to_string(&members.collect::<BTreeMap<_, _>>()).unwrap()
}

/// The stored events, found by what they say.
pub struct Timeline(BTreeMap<(String, String), Vec<Value>>);

impl Timeline {
    /// All that is stored now.
    pub fn of(run: &Run) -> Self {
        let mut events = BTreeMap::<_, Vec<_>>::new();
        for ((pk, _), event) in table(run, "TimelineTable") {
            let detail: BTreeMap<String, Value> = serde_json::from_str(&text_of(&event, "detail")).unwrap();
            events.entry((pk, serde_json::to_string(&detail).unwrap())).or_default().push(event);
        }
        Self(events)
    }

    /// The event of a push on the timeline `pk`; two would be a push that counts twice.
    pub fn event(&self, pk: &str, plaintext: &str) -> Option<&Value> {
        let events = self.0.get(&(pk.to_owned(), said(plaintext)))?;
        assert!(events.len() == 1, "promise 2: a push is stored {} times: {events:?}", events.len());
        events.first()
    }

    /// All events on the timeline `pk`.
    pub fn events(&self, pk: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |((of, _), _)| of == pk).flat_map(|(_, events)| events)
    }
}
