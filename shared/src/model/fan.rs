//! Fans: what an account's followers recently said and did, and what WeChat knows of them.

use serde::{Deserialize, Serialize};

use super::window::Windows;
use crate::ids;

/// One follower of one account, with the tenant that has it.
#[derive(Debug, Clone, Copy)]
pub struct FanId<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The account.
    pub app_id: &'a str,
    /// The follower.
    pub open_id: &'a str,
}

impl FanId<'_> {
    /// The customer id of this fan until a union id is known.
    #[must_use]
    pub fn openid_customer_id(&self) -> String {
        ids::derived("cus", &[self.tenant, "openid", self.app_id, self.open_id])
    }
}

/// The customer id of all fans with this union id.
#[must_use]
pub fn unionid_customer_id(tenant: &str, union_id: &str) -> String {
    ids::derived("cus", &[tenant, "unionid", union_id])
}

/// A fan as stored. Times are unix seconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Fan {
    /// The tenant.
    pub tenant_id: String,
    /// The account.
    pub app_id: String,
    /// The follower.
    pub open_id: String,
    /// The customer.
    pub customer_id: String,
    /// Partition of the customer in the index `people`.
    pub people: String,
    /// Whether they follow; the attribute is missing where an import inferred that they do not.
    pub subscribed: bool,
    /// Since when `subscribed` is as it is.
    pub status_at: Option<i64>,
    /// When they followed (last).
    pub subscribed_at: Option<i64>,
    /// When they left (last).
    pub unsubscribed_at: Option<i64>,
    /// WeChat's `subscribe_scene`.
    pub subscribe_scene: Option<String>,
    /// Numeric scene of the QR code that they followed by.
    pub qr_scene: Option<i64>,
    /// String scene of the QR code that they followed by.
    pub qr_scene_str: Option<String>,
    /// Across the accounts of one open-platform account.
    pub union_id: Option<String>,
    /// For OAuth, which is not there yet; user/info has not returned it since 2021.
    pub nickname: Option<String>,
    /// Head picture.
    pub avatar_url: Option<String>,
    /// 1 male, 2 female; not returned since 2021.
    pub gender: Option<i64>,
    /// Not told since 2021.
    pub country: Option<String>,
    /// Not told since 2021.
    pub province: Option<String>,
    /// Not told since 2021.
    pub city: Option<String>,
    /// `zh_CN`, …
    pub language: Option<String>,
    /// The account's note.
    pub remark: Option<String>,
    /// WeChat's tags.
    pub tag_ids: Vec<i64>,
    /// When the last message came.
    pub message_at: Option<i64>,
    /// Sends since.
    pub message_used: u32,
    /// When the last menu click or scan came.
    pub menu_at: Option<i64>,
    /// Sends since.
    pub menu_used: u32,
    /// When the last follow came.
    pub follow_at: Option<i64>,
    /// Sends since.
    pub follow_used: u32,
    /// When they last did anything else.
    pub seen_at: Option<i64>,
    /// When the item was made.
    pub created_at: i64,
    /// The import that last listed them.
    pub seen_import: Option<String>,
    /// When that import began: an import that is over never overrides a later one.
    pub seen_import_at: Option<i64>,
    /// The import that did not list them any more.
    pub gone_import: Option<String>,
}

impl Fan {
    /// The reply windows.
    #[must_use]
    pub fn windows(&self) -> Windows {
        Windows {
            message_at: self.message_at,
            message_used: self.message_used,
            menu_at: self.menu_at,
            menu_used: self.menu_used,
            follow_at: self.follow_at,
            follow_used: self.follow_used,
        }
    }

    /// When they last did something.
    #[must_use]
    pub fn last_interaction(&self) -> Option<i64> {
        [self.message_at, self.menu_at, self.follow_at, self.seen_at, self.status_at]
            .into_iter()
            .flatten()
            .max()
    }
}

/// The scene of the QR code that a fan followed by: WeChat has either a number or a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QrScene {
    /// Of a code that was made with a number.
    pub number: Option<i64>,
    /// Of a code that was made with a text.
    pub text: Option<String>,
}

impl QrScene {
    /// From a push, which has a number as text. A text that WeChat would accept as a number, 1 to 2³² - 1 as
    /// usually written, is one until user/info says otherwise; `00123` and `+8613800000000` are texts.
    #[must_use]
    pub fn from_push(scene: Option<&str>) -> Self {
        let Some(text) = scene.filter(|text| !text.is_empty()) else { return Self::default() };
        match text.parse::<u32>() {
            Ok(number) if number > 0 && number.to_string() == text => {
                Self { number: Some(number.into()), text: None }
            }
            _ => Self { number: None, text: Some(text.to_owned()) },
        }
    }

    /// From user/info of a follower, where a member that does not apply is 0 or empty.
    #[must_use]
    pub fn from_info(number: i64, text: &str) -> Self {
        Self {
            number: Some(number).filter(|number| *number != 0),
            text: Some(text.to_owned()).filter(|text| !text.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_of_a_push_is_a_number_where_wechat_takes_it_for_one() {
        let scene = |number: i64, text: &str| QrScene {
            number: Some(number).filter(|v| *v != 0),
            text: Some(text.to_owned()).filter(|text| !text.is_empty()),
        };
        for (what, pushed, expected) in [
            ("a follow by search", None, scene(0, "")),
            ("an empty scene", Some(""), scene(0, "")),
            ("a number", Some("123"), scene(123, "")),
            ("the greatest number", Some("4294967295"), scene(4_294_967_295, "")),
            ("a greater one", Some("4294967296"), scene(0, "4294967296")),
            ("zero, which no code has", Some("0"), scene(0, "0")),
            ("digits after zeros", Some("00123"), scene(0, "00123")),
            ("a telephone number", Some("+8613800000000"), scene(0, "+8613800000000")),
            ("one without its plus", Some("13800000000"), scene(0, "13800000000")),
            ("a plus before a small number", Some("+5"), scene(0, "+5")),
            ("a negative number", Some("-5"), scene(0, "-5")),
            ("digits between blanks", Some(" 5"), scene(0, " 5")),
            ("a fraction", Some("1.5"), scene(0, "1.5")),
            ("digits of another script", Some("١٢٣"), scene(0, "١٢٣")),
            ("a word", Some("shelf7"), scene(0, "shelf7")),
        ] {
            assert_eq!(QrScene::from_push(pushed), expected, "{what}");
        }
    }
}
