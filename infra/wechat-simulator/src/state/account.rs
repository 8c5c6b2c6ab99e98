//! Official Accounts as WeChat knows them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::model::permission::permission_names;

use super::chat::Chat;
use super::follower::Followers;

/// Permission sets that the authorization page offers: id, English name, whether the hub requires it. The
/// names come from the hub, which uses WeChat's.
pub const PERMISSIONS: [(u32, &str, bool); 16] = [
    permission(1, true),
    permission(15, true),
    permission(4, true),
    permission(7, true),
    permission(2, true),
    permission(3, true),
    permission(11, true),
    permission(8, true),
    permission(6, false),
    permission(9, false),
    permission(13, false),
    permission(22, false),
    permission(24, false),
    permission(33, false),
    permission(54, false),
    permission(89, false),
];

const fn permission(id: u32, required: bool) -> (u32, &'static str, bool) {
    (id, permission_names(id).0, required)
}

/// What kind of account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountKind {
    /// `service_type_info` 0.
    Subscription,
    /// `service_type_info` 1: a subscription account that was upgraded from an old one.
    OldSubscription,
    /// `service_type_info` 2.
    Service,
    /// Not an Official Account.
    MiniProgram,
}

impl AccountKind {
    /// `service_type_info.id`.
    #[must_use]
    pub fn service_type(self) -> i64 {
        match self {
            Self::Subscription | Self::MiniProgram => 0,
            Self::OldSubscription => 1,
            Self::Service => 2,
        }
    }
}

/// A message template that the owner has added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageTemplate {
    /// Its id.
    pub template_id: String,
    /// Its title.
    pub title: String,
    /// Lines with `{{name.DATA}}`.
    pub content: String,
    /// How it looks filled in.
    pub example: String,
}

impl MessageTemplate {
    /// The keys that `data` must contain.
    #[must_use]
    pub fn data_names(&self) -> Vec<&str> {
        self.content
            .split("{{")
            .skip(1)
            .filter_map(|part| part.split_once(".DATA}}"))
            .map(|(n, _)| n)
            .collect()
    }
}

/// What the owner authorized the component to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationGrant {
    /// The granted permission sets.
    pub funcs: BTreeSet<u32>,
    /// The current refresh token.
    pub refresh_token: String,
    /// The refresh token before a rotation, and until when it is still accepted.
    pub previous_refresh_token: Option<(String, i64)>,
    /// When it was granted.
    pub auth_time: i64,
}

/// One account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SimulatedAccount {
    /// `wx…`.
    pub app_id: String,
    /// `gh_…`.
    pub original_id: String,
    /// What people see.
    pub name: String,
    /// The WeChat id, may be empty.
    pub alias: String,
    /// The company that owns it.
    pub principal_name: String,
    /// What it is.
    pub kind: AccountKind,
    /// `verify_type_info.id`: -1 unverified, 0 verified.
    pub verify_type: i64,
    /// 1 normal, 14 cancelled, 16 banned, 18 warned, 19 frozen.
    pub account_status: i64,
    /// The Open Platform account that gives union ids.
    pub open_platform: Option<String>,
    /// The authorization, unless revoked.
    pub authorization: Option<AuthorizationGrant>,
    /// All followers.
    pub followers: Followers,
    /// Message templates.
    pub templates: Vec<MessageTemplate>,
    /// Options such as `location_report`.
    pub options: BTreeMap<String, String>,
    /// Chats, by openid.
    pub chats: BTreeMap<String, Chat>,
    /// `openid client_msg_id` of template messages: the id given, and when.
    pub template_dedup: BTreeMap<String, (u64, i64)>,
    /// The order in which accounts were created.
    pub order: u64,
}

impl SimulatedAccount {
    /// Whether it can use what needs verification: the company was checked, whatever became of the name.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        matches!(self.verify_type, 0 | 3 | 4 | 5)
    }

    /// `func_info` as WeChat lists grants.
    #[must_use]
    pub fn func_info(&self) -> Vec<Value> {
        let funcs = self.authorization.iter().flat_map(|a| &a.funcs);
        funcs
            .map(|id| {
                let mut item = json!({"funcscope_category": {"id": id}});
                if *id == 1
                    && let Some(item) = item.as_object_mut()
                {
                    let confirm = json!({"need_confirm": 0, "already_confirm": 0, "can_confirm": 0});
                    item.insert("confirm_info".into(), confirm);
                }
                item
            })
            .collect()
    }

    /// A one-line description for people.
    #[must_use]
    pub fn description(&self) -> &'static str {
        match (self.kind, self.is_verified()) {
            (AccountKind::MiniProgram, _) => "Mini program",
            (AccountKind::Service, true) => "Service account · verified",
            (AccountKind::Service, false) => "Service account · not verified",
            (_, true) => "Subscription account · verified",
            (_, false) => "Subscription account · not verified",
        }
    }
}

/// An account to be made. What is not given is made up.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewAccount {
    /// `wx` and 16 hex digits.
    pub app_id: Option<String>,
    /// `gh_` and 12 hex digits.
    pub original_id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// A service account, if not given.
    pub kind: Option<AccountKind>,
    /// 0 (verified), if not given.
    pub verify_type: Option<i64>,
    /// 1 (normal), if not given.
    pub account_status: Option<i64>,
    /// How many follow already.
    pub followers: u64,
    /// Gives union ids; accounts of the same name share people.
    pub open_platform: Option<String>,
}

/// Three templates that every verified service account starts with.
#[must_use]
pub fn starting_templates() -> Vec<MessageTemplate> {
    let template = |id: &str, title: &str, lines: &[(&str, &str, &str)]| MessageTemplate {
        template_id: id.into(),
        title: title.into(),
        content: lines.iter().map(|(label, name, _)| format!("{label}: {{{{{name}.DATA}}}}\n")).collect(),
        example: lines.iter().map(|(label, _, value)| format!("{label}: {value}\n")).collect(),
    };
    vec![
        // the id and the data of the API's example: what its description shows can be tried here
        template(
            "ngqIpbwh8bUfcSsECmogfXcV14J0tQlEpBO27izEYtY",
            "Table ready",
            &[("Table", "thing1", "Table 7"), ("Time", "time2", "2026-01-15 18:30")],
        ),
        template(
            "TMsimulatedOrderReady000000000000000000000001",
            "Order ready",
            &[
                ("Item", "thing1", "Latte"),
                ("Time", "time2", "2025-01-01 09:00"),
                ("Amount", "amount3", "¥18.00"),
            ],
        ),
        template(
            "TMsimulatedAppointment0000000000000000000002",
            "Appointment reminder",
            &[("Service", "thing1", "Hair cut"), ("Time", "time2", "2025-01-01 09:00")],
        ),
    ]
}
