//! One decrypted push of a bound account: a message, or an event.

use std::{borrow::Cow, fmt::Write as _};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::detail;
pub use super::push_kind::PushKind;
use super::window::WindowKind;
use crate::envelope::CallbackError;
use crate::envelope::element::{self, Element};
use crate::envelope::signature::hex;

/// The members that name sender and recipient; everything else is the content of the push.
const PARTY_MEMBERS: [&str; 2] = ["ToUserName", "FromUserName"];
/// The last second of the year 9999: later times are rejected.
const MAX_UNIX_SECONDS: i64 = 253_402_300_799;
/// Most bytes of a sender or recipient id, which become part of table keys; real ones have 28.
/// The same limit as for ids in the API's paths, so that every stored fan can be requested.
const MAX_PARTY_ID_BYTES: usize = 200;
/// Most letters of a timeline type that is made from WeChat's event name.
const MAX_TYPE_LEN: usize = 64;
/// Digits of the largest `MsgId`.
const MAX_MSG_ID_DIGITS: usize = 20;
/// How far WeChat's clock may be ahead of ours, seconds.
pub const CLOCK_SKEW_SECONDS: i64 = 600;
/// Bytes of a scene; WeChat takes 64 characters.
const MAX_SCENE_BYTES: usize = 256;
/// The sender of WeChat's notices to an account's administrator, where it is not an openid.
const ADMIN_HELPER: &str = "mphelper";
/// Prefix of original ids.
const ORIGINAL_ID_PREFIX: &str = "gh_";
/// What WeChat puts before the scene of a QR code that led to a follow.
const SCENE_PREFIX: &str = "qrscene_";

/// One push, which borrows from its plaintext.
#[derive(Debug, Clone, PartialEq)]
pub struct Push<'a> {
    /// The account's original id, `gh_…`.
    pub to_user_name: String,
    /// The follower's openid.
    pub from_user_name: String,
    /// Unix seconds.
    pub create_time: i64,
    /// `text`, `event`, … as WeChat writes it.
    pub msg_type: String,
    /// The event's name as WeChat writes it; none for a message.
    pub event: Option<String>,
    /// Only of messages.
    pub msg_id: Option<u64>,
    /// What it says.
    pub kind: PushKind,
    /// All members.
    root: Element<'a>,
    plaintext: &'a [u8],
}

impl<'a> Push<'a> {
    /// Reads a decrypted body.
    ///
    /// # Errors
    /// [`CallbackError::Malformed`] or [`CallbackError::TooLarge`]. Members of some types may be missing.
    pub fn parse(plaintext: &'a [u8]) -> Result<Self, CallbackError> {
        let root = match element::decode(plaintext)? {
            Cow::Borrowed(text) => Element::parse_push(text)?,
            Cow::Owned(text) => Element::parse_push(&text)?.into_owned(),
        };
        let side = |name| {
            let side = root.text_of(name).ok_or(CallbackError::Malformed)?;
            if side.len() > MAX_PARTY_ID_BYTES { Err(CallbackError::TooLarge) } else { Ok(side.to_owned()) }
        };
        let need = |name| root.text_of(name).ok_or(CallbackError::Malformed);
        let create_time = need("CreateTime")?.parse().map_err(|_| CallbackError::Malformed)?;
        if !(0..=MAX_UNIX_SECONDS).contains(&create_time) {
            return Err(CallbackError::Malformed);
        }
        let msg_type = need("MsgType")?;
        let is_event = msg_type.eq_ignore_ascii_case("event");
        let event = is_event.then(|| root.text_of("Event").unwrap_or_default());
        let kind = match event {
            Some(event) => PushKind::of_event(&event.to_ascii_lowercase(), &root),
            None => PushKind::of_message(msg_type, &root),
        };
        let msg_id = if is_event { None } else { root.text_of("MsgId").and_then(|id| id.parse().ok()) };
        Ok(Self {
            to_user_name: side("ToUserName")?,
            from_user_name: side("FromUserName")?,
            create_time,
            msg_type: msg_type.to_owned(),
            event: event.map(str::to_owned),
            msg_id,
            kind,
            root,
            plaintext,
        })
    }

    /// [`Push::fields`] as JSON text for the table: see [`detail`].
    #[must_use]
    pub fn detail(&self) -> String {
        detail::bounded_json(&self.fields())
    }

    /// All members under WeChat's names, except those that name sender and recipient.
    #[must_use]
    pub fn fields(&self) -> Map<String, Value> {
        let mut members = Map::with_capacity(self.root.children.len());
        let is_content = |child: &&Element<'_>| !PARTY_MEMBERS.contains(&child.name.as_ref());
        for child in self.root.children.iter().filter(is_content) {
            child.merge_into(&mut members);
        }
        members
    }

    /// Identifies repetitions of a push, within its account and sender: the
    /// `MsgId` of a message; otherwise a hash of the whole plaintext. Sender and second are not enough: coupon events share them.
    #[must_use]
    pub fn identity(&self) -> String {
        match self.msg_id {
            Some(id) => {
                let mut identity = String::with_capacity(1 + MAX_MSG_ID_DIGITS);
                // Writing to a String cannot fail.
                let _ = write!(identity, "M{id}");
                identity
            }
            None => format!("E{}", hex(&Sha256::digest(self.plaintext))),
        }
    }

    /// Its `type` on the timeline.
    #[must_use]
    pub fn event_type(&self) -> String {
        let name = match &self.kind {
            PushKind::Subscribe { .. } => "subscribed",
            PushKind::Unsubscribe => "unsubscribed",
            PushKind::Scan { .. } => "qr_scanned",
            PushKind::ReportedLocation => "location_reported",
            PushKind::Click
            | PushKind::ScanCodePush
            | PushKind::ScanCodeWaitMsg
            | PushKind::PicSysPhoto
            | PushKind::PicPhotoOrAlbum
            | PushKind::PicWeixin
            | PushKind::LocationSelect => "menu_clicked",
            PushKind::View | PushKind::ViewMiniProgram => "menu_viewed",
            PushKind::TemplateFinished { .. } => "template_delivered",
            PushKind::BroadcastFinished => "broadcast_delivered",
            PushKind::CardReceived => "coupon_received",
            PushKind::CardRedeemed => "coupon_redeemed",
            PushKind::CardDeleted => "coupon_deleted",
            _ => match &self.event {
                None => "message_received",
                Some(event) => return snake_case(event),
            },
        };
        name.to_owned()
    }

    /// The customer-service window that it opens, if any. Menu items that lead to a page open none.
    #[must_use]
    pub fn opened_window(&self) -> Option<WindowKind> {
        match &self.kind {
            PushKind::Subscribe { .. } => Some(WindowKind::Follow),
            PushKind::Click | PushKind::ScanCodePush | PushKind::ScanCodeWaitMsg | PushKind::Scan { .. } => {
                Some(WindowKind::Menu)
            }
            _ => self.event.is_none().then_some(WindowKind::Message),
        }
    }

    /// Whether it is about the account itself: results of broadcasts and publications, reviews, verification.
    /// Its sender, an openid or WeChat's own helper, did nothing and does not become a customer by it.
    #[must_use]
    pub fn is_about_account(&self) -> bool {
        match &self.kind {
            PushKind::BroadcastFinished
            | PushKind::PublishFinished
            | PushKind::QualificationVerified
            | PushKind::QualificationFailed
            | PushKind::NamingVerified
            | PushKind::NamingFailed
            | PushKind::AnnualRenew
            | PushKind::VerifyExpired
            | PushKind::CardPassed
            | PushKind::CardRefused
            | PushKind::CardStockLow
            | PushKind::CardOrder
            | PushKind::CardMerchantChecked
            | PushKind::PoiChecked => true,
            _ => {
                let sender = self.from_user_name.as_str();
                self.event.is_some() && (sender == ADMIN_HELPER || sender.starts_with(ORIGINAL_ID_PREFIX))
            }
        }
    }

    /// Whether it is a message of a follower rather than an event.
    #[must_use]
    pub fn is_message(&self) -> bool {
        self.event.is_none()
    }

    /// The scene of the QR code that led here, for a follow and for a scan.
    #[must_use]
    pub fn scene(&self) -> Option<&str> {
        match &self.kind {
            PushKind::Subscribe { event_key } => event_key.strip_prefix(SCENE_PREFIX),
            PushKind::Scan { event_key } => Some(event_key.as_str()),
            _ => None,
        }
        .filter(|scene| (1..=MAX_SCENE_BYTES).contains(&scene.len()))
    }
}

/// `WifiConnected` → `wifi_connected`, `SOMEJOB` → `somejob`. Other characters become `_`.
pub(super) fn snake_case(event: &str) -> String {
    let mut out = String::with_capacity(event.len() + 4);
    let mut after_lower = false;
    for c in event.chars().take(MAX_TYPE_LEN) {
        if c.is_ascii_uppercase() && after_lower {
            out.push('_');
        }
        out.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
        after_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
    }
    if out.is_empty() { "unknown_event".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::test_push::push;

    fn event(name: &str, rest: &str) -> Push<'static> {
        push(&format!("<MsgType>event</MsgType><Event>{name}</Event>{rest}"))
    }

    #[test]
    fn a_push_has_its_type_and_window() {
        use WindowKind::{Follow, Menu};
        for (name, event_type, window) in [
            ("subscribe", "subscribed", Some(Follow)),
            ("unsubscribe", "unsubscribed", None),
            ("SCAN", "qr_scanned", Some(Menu)),
            ("scan", "qr_scanned", Some(Menu)),
            ("LOCATION", "location_reported", None),
            ("CLICK", "menu_clicked", Some(Menu)),
            ("scancode_push", "menu_clicked", Some(Menu)),
            ("scancode_waitmsg", "menu_clicked", Some(Menu)),
            ("pic_sysphoto", "menu_clicked", None),
            ("pic_photo_or_album", "menu_clicked", None),
            ("pic_weixin", "menu_clicked", None),
            ("location_select", "menu_clicked", None),
            ("VIEW", "menu_viewed", None),
            ("view_miniprogram", "menu_viewed", None),
            ("TEMPLATESENDJOBFINISH", "template_delivered", None),
            ("MASSSENDJOBFINISH", "broadcast_delivered", None),
            ("user_get_card", "coupon_received", None),
            ("user_consume_card", "coupon_redeemed", None),
            ("user_del_card", "coupon_deleted", None),
            ("kf_create_session", "kf_create_session", None),
            ("WifiConnected", "wifi_connected", None),
            ("PUBLISHJOBFINISH", "publishjobfinish", None),
            ("brand new-event/2030", "brand_new_event_2030", None),
            ("", "unknown_event", None),
        ] {
            let push = event(name, "");
            assert_eq!(push.event_type(), event_type, "{name}");
            assert_eq!(push.opened_window(), window, "{name}");
        }
        let text = push("<MsgType>text</MsgType><Content>hi</Content><MsgId>9</MsgId>");
        assert_eq!(
            (text.event_type().as_str(), text.opened_window()),
            ("message_received", Some(WindowKind::Message))
        );
    }

    #[test]
    fn what_happens_to_the_account_is_nobodys_doing() {
        for (name, of_account) in [
            ("MASSSENDJOBFINISH", true),
            ("PUBLISHJOBFINISH", true),
            ("FREEPUBLISHJOBFINISH", true),
            ("qualification_verify_success", true),
            ("qualification_verify_fail", true),
            ("naming_verify_success", true),
            ("naming_verify_fail", true),
            ("annual_renew", true),
            ("verify_expired", true),
            ("card_pass_check", true),
            ("card_not_pass_check", true),
            ("card_sku_remind", true),
            ("card_pay_order", true),
            ("card_merchant_check_result", true),
            ("poi_check_notify", true),
            ("TEMPLATESENDJOBFINISH", false),
            ("user_get_card", false),
            ("user_info_modified", false),
            ("kf_create_session", false),
            ("merchant_order", false),
            ("subscribe", false),
            ("brand_new", false),
        ] {
            assert_eq!(event(name, "").is_about_account(), of_account, "{name}");
        }
        for (sender, of_account) in [("mphelper", true), ("gh_1", true), ("oFan", false)] {
            let mut new = event("brand_new", "");
            new.from_user_name = sender.into();
            assert_eq!(new.is_about_account(), of_account, "{sender}");
        }
        let mut text = push("<MsgType>text</MsgType><Content>hi</Content><MsgId>9</MsgId>");
        text.from_user_name = "gh_1".into();
        assert!(!text.is_about_account(), "who writes is somebody");
    }

    #[test]
    fn a_scene_is_what_the_code_was_made_with() {
        for (what, name, key, scene) in [
            ("a follow through a code", "subscribe", "qrscene_shelf7", Some("shelf7")),
            ("a code whose scene looks like a prefix", "subscribe", "qrscene_qrscene_1", Some("qrscene_1")),
            ("a plain follow", "subscribe", "", None),
            ("a follow after a payment", "subscribe", "last_trade_no_1", None),
            ("longer than any scene", "SCAN", &"s".repeat(257), None),
            ("a scan", "SCAN", "123", Some("123")),
            ("a click", "CLICK", "qrscene_1", None),
        ] {
            let push = event(name, &format!("<EventKey>{key}</EventKey>"));
            assert_eq!(push.scene(), scene, "{what}");
        }
    }

    #[test]
    fn two_pushes_are_the_same_exactly_when_wechat_says_so() {
        let text = |id: &str| format!("<MsgType>text</MsgType><Content>hi</Content>{id}");
        let card = |code: &str| {
            format!("<MsgType>event</MsgType><Event>user_get_card</Event><UserCardCode>{code}</UserCardCode>")
        };
        for (what, a, b, same) in [
            ("a retried message", text("<MsgId>7</MsgId>"), text("<MsgId>7</MsgId><New/>"), true),
            ("the next message", text("<MsgId>7</MsgId>"), text("<MsgId>8</MsgId>"), false),
            ("a retried event", card("1"), card("1"), true),
            ("two coupons in one second", card("1"), card("2"), false),
            ("a message without its id", text(""), text("<Idx>1</Idx>"), false),
        ] {
            assert_eq!(push(&a).identity() == push(&b).identity(), same, "{what}");
        }
        assert_eq!(push(&text("<MsgId>7</MsgId>")).identity(), "M7");
    }

    #[test]
    fn a_push_without_its_sides_time_or_type_is_refused() {
        let whole = "<ToUserName>gh</ToUserName><FromUserName>o</FromUserName><CreateTime>1</CreateTime>\
                     <MsgType>text</MsgType>";
        assert!(Push::parse(format!("<xml>{whole}</xml>").as_bytes()).is_ok());
        for (name, value) in [("ToUserName", "gh"), ("FromUserName", "o")] {
            for (bytes, refusal) in [
                (MAX_PARTY_ID_BYTES, None),
                (MAX_PARTY_ID_BYTES + 1, Some(CallbackError::TooLarge)),
                (100_000, Some(CallbackError::TooLarge)),
            ] {
                let long = format!("<{name}>{}</{name}>", "o".repeat(bytes));
                let body = whole.replace(&format!("<{name}>{value}</{name}>"), &long);
                let body = format!("<xml>{body}</xml>");
                assert_eq!(Push::parse(body.as_bytes()).err(), refusal, "{name} of {bytes} bytes");
            }
        }
        for (what, from, to) in [
            ("no account", "<ToUserName>gh</ToUserName>", ""),
            ("an empty sender", "<FromUserName>o</FromUserName>", "<FromUserName></FromUserName>"),
            ("no time", "<CreateTime>1</CreateTime>", ""),
            ("a time that is no number", "<CreateTime>1</CreateTime>", "<CreateTime>soon</CreateTime>"),
            ("a time before 1970", "<CreateTime>1</CreateTime>", "<CreateTime>-1</CreateTime>"),
            ("a time after 9999", "<CreateTime>1</CreateTime>", "<CreateTime>253402300800</CreateTime>"),
            ("no type", "<MsgType>text</MsgType>", ""),
        ] {
            let body = format!("<xml>{}</xml>", whole.replace(from, to));
            assert_eq!(Push::parse(body.as_bytes()), Err(CallbackError::Malformed), "{what}");
        }
    }

    #[test]
    fn members_are_kept_under_wechats_names() {
        let body =
            "<xml><ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><CreateTime>7</CreateTime>\
                    <MsgType>event</MsgType><Event>VIEW</Event><EventKey>https://example.com</EventKey>\
                    <Later><A>1</A></Later></xml>"
                .as_bytes();
        assert_eq!(
            serde_json::to_string(&Push::parse(body).unwrap().fields()).unwrap(),
            r#"{"CreateTime":"7","MsgType":"event","Event":"VIEW","EventKey":"https://example.com","Later":{"A":"1"}}"#
        );
    }
}
