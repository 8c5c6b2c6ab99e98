//! Which words can be the `type` of an event.

use super::{push::snake_case, push_kind::EVENTS};

/// The hub's own event types, and what they say. What is reserved no release records yet; its filter finds nothing.
const HUB_TYPES: [(&str, &str); 19] = [
    ("subscribed", "Began to follow. `EventKey` has the scene of the QR code, after `qrscene_`."),
    ("unsubscribed", "Left. One that only an import noticed has no members of WeChat's."),
    ("message_received", "Wrote something: text, picture, voice, video, place, link, file."),
    (
        "message_sent",
        "Was sent something: what, and the `channel`: `customer_service`, `template`, or `passive`, the answer of a reply rule to \
         the event before it.",
    ),
    ("menu_clicked", "Pressed a menu button; also those that scan, take pictures or pick a place."),
    ("menu_viewed", "Opened a page or a Mini Program from the menu."),
    ("qr_scanned", "Scanned a QR code of an account that they follow already."),
    ("location_reported", "WeChat told where they are."),
    ("page_visited", "Reserved: opened one of the hub's pages."),
    ("site_visited", "Reserved: opened a page of a site with the tag."),
    ("template_delivered", "WeChat says what became of a template message: `Status`."),
    ("broadcast_delivered", "WeChat says what became of a broadcast: an event of the account itself."),
    ("coupon_received", "Took a coupon."),
    ("coupon_redeemed", "Used a coupon."),
    ("coupon_deleted", "Threw a coupon away."),
    ("identity_merged", "Reserved: two customers turned out to be one."),
    ("identity_unmerged", "Reserved: a merged customer became two again."),
    ("profile_updated", "Reserved: something of the profile changed."),
    ("tags_changed", "Reserved: tags were given or taken."),
];
/// How WeChat spells the events whose words only capitals divide: the table has all names in lower case.
const CAPITALIZED_EVENTS: [(&str, &str); 2] =
    [("wificonnected", "WifiConnected"), ("shakearoundusershake", "ShakearoundUserShake")];
/// WeChat's events that get one of the hub's types instead of their own name.
const RENAMED_WECHAT_EVENTS: [&str; 18] = [
    "subscribe",
    "unsubscribe",
    "scan",
    "location",
    "click",
    "scancode_push",
    "scancode_waitmsg",
    "pic_sysphoto",
    "pic_photo_or_album",
    "pic_weixin",
    "location_select",
    "view",
    "view_miniprogram",
    "templatesendjobfinish",
    "masssendjobfinish",
    "user_get_card",
    "user_del_card",
    "user_consume_card",
];
/// Prefix of a tenant's own event types.
const TENANT_TYPE_PREFIX: &str = "x_";
/// Most letters of a type.
const MAX_TYPE_CHARS: usize = 64;

/// Whether a word can be an event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// Events have this type.
    Known,
    /// An event of WeChat that is not in the table may have this type.
    Possible,
    /// No event can have this type.
    Impossible,
}

impl EventType {
    /// Classifies a word.
    #[must_use]
    pub fn of(word: &str) -> Self {
        let snake = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !(1..=MAX_TYPE_CHARS).contains(&word.len()) || !word.bytes().all(snake) {
            return Self::Impossible;
        }
        let own = HUB_TYPES.iter().any(|(name, _)| *name == word)
            || word.strip_prefix(TENANT_TYPE_PREFIX).is_some_and(|rest| !rest.is_empty());
        // the table has `wificonnected` for `WifiConnected`, which becomes `wifi_connected`
        let bare = |name: &str| name.replace('_', "");
        let in_table = || {
            EVENTS.iter().any(|(name, _)| bare(name) == bare(word)) && !RENAMED_WECHAT_EVENTS.contains(&word)
        };
        if own || in_table() { Self::Known } else { Self::Possible }
    }

    /// All types that are known by name, and what each says: the hub's own, then WeChat's.
    pub fn all() -> impl Iterator<Item = (String, &'static str)> {
        let own = HUB_TYPES.iter().map(|(name, about)| ((*name).to_owned(), *about));
        let wechat = EVENTS.iter().filter(|(name, _)| !RENAMED_WECHAT_EVENTS.contains(name));
        own.chain(wechat.map(|(name, about)| (snake_case(as_wechat_spells(name)), about.trim())))
    }
}

/// An event's name with the capitals that its type needs.
fn as_wechat_spells(name: &'static str) -> &'static str {
    let spelled = CAPITALIZED_EVENTS.iter().find(|(lower, _)| *lower == name);
    spelled.map_or(name, |(_, spelled)| spelled)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::test_push::push;

    fn type_of(event: &str) -> String {
        push(&format!("<MsgType>event</MsgType><Event>{event}</Event>")).event_type()
    }

    fn event_names() -> impl Iterator<Item = &'static str> {
        EVENTS.iter().map(|(name, _)| *name)
    }

    #[test]
    fn every_type_that_a_push_gets_is_listed_once_and_described() {
        let pushed = event_names().map(|event| type_of(as_wechat_spells(event)));
        let own = HUB_TYPES.iter().map(|(name, _)| (*name).to_owned());
        let expected: BTreeSet<String> = pushed.chain(own).collect();
        let listed: Vec<(String, &str)> = EventType::all().collect();
        assert_eq!(listed.len(), expected.len(), "one is listed twice: {listed:?}");
        assert_eq!(listed.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>(), expected);
        for (name, about) in listed {
            assert_eq!(EventType::of(&name), EventType::Known, "{name}");
            assert!(about.ends_with('.') && about.trim() == about, "{name}: {about:?}");
        }
        for (lower, spelled) in CAPITALIZED_EVENTS {
            assert!(event_names().any(|name| name == lower), "{lower} is no event");
            assert_eq!(spelled.to_lowercase(), lower);
        }
    }

    #[test]
    fn a_type_is_a_word_that_events_have() {
        for (word, known) in [
            ("subscribed", EventType::Known),
            ("tags_changed", EventType::Known),
            ("x_order_paid", EventType::Known),
            ("user_gifting_card", EventType::Known),
            ("wifi_connected", EventType::Known),
            ("bogus", EventType::Possible),
            ("x_", EventType::Possible),
            ("subscribe", EventType::Possible),
            ("Subscribed", EventType::Impossible),
            ("message-sent", EventType::Impossible),
            ("message_received ", EventType::Impossible),
            ("", EventType::Impossible),
            (&"x_a".repeat(30), EventType::Impossible),
        ] {
            assert_eq!(EventType::of(word), known, "{word}");
        }
    }

    #[test]
    fn whatever_is_stored_of_a_known_event_is_known() {
        for event in event_names().chain(["WifiConnected", "MASSSENDJOBFINISH", "CLICK"]) {
            assert_eq!(EventType::of(&type_of(event)), EventType::Known, "{event}");
        }
        let renamed: BTreeSet<&str> = event_names().filter(|event| type_of(event) != *event).collect();
        assert_eq!(renamed, BTreeSet::from(RENAMED_WECHAT_EVENTS));
        assert_eq!(EventType::of(&type_of("SomethingNew")), EventType::Possible);
    }
}
