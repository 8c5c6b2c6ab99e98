//! Which words can be the `type` of an event (contract, section 5).

use super::push_kind::EVENT_NAMES;

/// The hub's own event types.
const HUB_TYPES: [&str; 19] = [
    "subscribed",
    "unsubscribed",
    "message_received",
    "message_sent",
    "menu_clicked",
    "menu_viewed",
    "qr_scanned",
    "location_reported",
    "page_visited",
    "site_visited",
    "template_delivered",
    "broadcast_delivered",
    "coupon_received",
    "coupon_redeemed",
    "coupon_deleted",
    "identity_merged",
    "identity_unmerged",
    "profile_updated",
    "tags_changed",
];
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
        let own = HUB_TYPES.contains(&word)
            || word.strip_prefix(TENANT_TYPE_PREFIX).is_some_and(|rest| !rest.is_empty());
        // the table has `wificonnected` for `WifiConnected`, which becomes `wifi_connected`
        let bare = |name: &str| name.replace('_', "");
        let in_table = || {
            EVENT_NAMES.iter().any(|name| bare(name) == bare(word)) && !RENAMED_WECHAT_EVENTS.contains(&word)
        };
        if own || in_table() { Self::Known } else { Self::Possible }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::test_push::push;

    fn type_of(event: &str) -> String {
        push(&format!("<MsgType>event</MsgType><Event>{event}</Event>")).event_type()
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
        for event in EVENT_NAMES.iter().copied().chain(["WifiConnected", "MASSSENDJOBFINISH", "CLICK"]) {
            assert_eq!(EventType::of(&type_of(event)), EventType::Known, "{event}");
        }
        let renamed: BTreeSet<&str> =
            EVENT_NAMES.iter().copied().filter(|event| type_of(event) != *event).collect();
        assert_eq!(renamed, BTreeSet::from(RENAMED_WECHAT_EVENTS));
        assert_eq!(EventType::of(&type_of("SomethingNew")), EventType::Possible);
    }
}
