//! What an Official Account is, what it granted, and what it can do with it.
//!
//! Source: protocol reference 2.5 (kinds, verification), 2.7 (permission sets) and 7.1 (what each kind may).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The kind of an Official Account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountType {
    /// Four broadcasts a month for each fan, and all APIs.
    Service,
    /// One broadcast a day, and fewer APIs.
    Subscription,
}

impl AccountType {
    /// From WeChat's `service_type_info.id`; `None` if it is not an Official Account.
    #[must_use]
    pub fn from_service_type(id: i64) -> Option<Self> {
        match id {
            0 | 1 => Some(Self::Subscription), // 1: upgraded from a historic kind
            2 => Some(Self::Service),
            _ => None,
        }
    }
}

/// Whether WeChat's `verify_type_info.id` gives API rights: verified by WeChat (0), or
/// qualification verified but not yet the name (3, 4, 5). A Weibo verification (1, 2) gives none.
#[must_use]
pub fn is_verified(verify_type: i64) -> bool {
    matches!(verify_type, 0 | 3 | 4 | 5)
}

/// Whether the account is bound to its tenant now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// WeChat pushes its messages to us.
    Bound,
    /// The administrator ended the authorization; everything is kept.
    Unbound,
}

/// An Official Account, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "app_id": "wx5a1b2c3d4e5f6071", "original_id": "gh_7b1c9d2e4f60", "name": "Invented Cafe",
    "alias": "invented-cafe", "avatar_url": "https://wx.qlogo.example/mmopen/cafe/0",
    "qr_code_url": "https://mmbiz.qpic.example/mmbiz/cafe/0", "principal_name": "Invented Cafe Ltd.",
    "account_type": "service", "verified": true, "status": "bound",
    "permissions": [{"id": 1, "name": "Message Management Access", "granted": true, "required": true}],
    "missing_permissions": ["WeChat Coupon Access"],
    "capabilities": {"auto_reply": true, "customer_service_message": true, "coupon": false},
    "bound_at": "2026-01-10T04:10:00Z", "unbound_at": null
}))]
pub struct Account {
    /// `wx` and 16 hex digits.
    pub app_id: String,
    /// `gh_…`, which pushes name it by.
    pub original_id: String,
    /// As fans see it.
    pub name: String,
    /// What people search for; may be empty.
    pub alias: String,
    /// WeChat's URL of the picture.
    pub avatar_url: String,
    /// WeChat's URL of the account's own QR code; other sites cannot show it.
    pub qr_code_url: String,
    /// Who owns it.
    pub principal_name: String,
    /// Its kind.
    pub account_type: AccountType,
    /// WeChat has verified it, or its qualification at least.
    pub verified: bool,
    /// Bound or not.
    pub status: AccountStatus,
    /// The permission sets that the hub requires, granted or not, and the others that were granted.
    pub permissions: Vec<Permission>,
    /// Names of the required permission sets that were not granted.
    pub missing_permissions: Vec<String>,
    /// What the account can do: its kind allows it, and the permission set was granted.
    pub capabilities: BTreeMap<String, bool>,
    /// Of the newest binding.
    #[schema(value_type = String, format = DateTime)]
    pub bound_at: Timestamp,
    /// Null while bound.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub unbound_at: Option<Timestamp>,
}

/// A permission set and whether the account granted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Permission {
    /// WeChat's funcscope id.
    pub id: u32,
    /// In English; `Permission set 123` for one that is not in our table.
    pub name: String,
    /// Granted to this platform.
    pub granted: bool,
    /// The hub needs it for all of its features.
    pub required: bool,
}

/// How many of [`PERMISSIONS`], from its start, the hub requires.
pub const REQUIRED_PERMISSIONS: usize = 8;

/// Permission sets of Official Accounts: id, English name and WeChat's own. The required
/// ones come first, in the order and with the names that tenants see; the others by id.
pub const PERMISSIONS: [(u32, &str, &str); 34] = [
    (1, "Message Management Access", "消息管理"),
    (15, "Custom Menu Access", "菜单管理"),
    (4, "Web Service Access", "网页服务"),
    (7, "Broadcast and Notice Access", "群发与通知"),
    (2, "User Management Access", "用户管理"),
    (3, "Account Service Access", "账号服务"),
    (11, "Asset Management Access", "素材管理"),
    (8, "WeChat Coupon Access", "微信卡券"),
    (5, "WeChat Store (legacy)", "微信小店"),
    (6, "Multi Customer Service", "微信多客服"),
    (9, "Scan", "微信扫一扫"),
    (10, "Wi-Fi", "微信连WIFI"),
    (12, "Shake-around", "微信摇周边"),
    (13, "Stores", "微信门店"),
    (14, "WeChat Pay", "微信支付"),
    (16, "Verification Status", "获取认证状态及信息"),
    (22, "City Services", "城市服务"),
    (23, "Advertising", "广告管理"),
    (24, "Open Platform Account Binding", "开放平台账号管理"),
    (26, "E-invoice", "微信电子发票"),
    (27, "Quick Mini Program Registration", "快速注册小程序"),
    (33, "Mini Program Linking", "小程序关联管理"),
    (34, "Product Library", "微信商品库管理"),
    (35, "Calories", "微信卡路里"),
    (44, "Good-things Circle", "好物圈"),
    (46, "One Item One Code", "微信一物一码"),
    (47, "Fiscal E-receipts", "微信财政电子票据"),
    (54, "Service Account Dialogue", "服务号对话管理"),
    (66, "Service Market", "微信服务市场管理"),
    (89, "Subscription Notices", "服务号订阅通知"),
    (99, "Cloud Development SMS", "云开发短信"),
    (100, "Cloud Development", "云开发"),
    (101, "Cloud Development (101)", "云开发 (101)"),
    (102, "Cloud Development Payment", "云开发支付"),
];

/// The English and the Chinese name of a permission set; empty for one that is not in the table.
#[must_use]
pub const fn permission_names(id: u32) -> (&'static str, &'static str) {
    const fn find(sets: &[(u32, &'static str, &'static str)], id: u32) -> (&'static str, &'static str) {
        match sets {
            [] => ("", ""),
            [(known, english, chinese), rest @ ..] => {
                if *known == id {
                    (english, chinese)
                } else {
                    find(rest, id)
                }
            }
        }
    }
    find(&PERMISSIONS, id)
}

/// The permission sets that the hub requires: id, English name and WeChat's own.
pub fn required_permissions() -> impl Iterator<Item = &'static (u32, &'static str, &'static str)> {
    PERMISSIONS.iter().take(REQUIRED_PERMISSIONS)
}

/// The required permission sets, granted or not, then the others that were granted, in WeChat's order.
#[must_use]
pub fn permissions(granted_ids: &[u32]) -> Vec<Permission> {
    let first = required_permissions().map(|&(id, name, _)| Permission {
        id,
        name: name.to_owned(),
        granted: granted_ids.contains(&id),
        required: true,
    });
    let mut all: Vec<Permission> = first.collect();
    for &id in granted_ids {
        if all.iter().all(|known| known.id != id) {
            all.push(Permission { id, name: permission_name(id), granted: true, required: false });
        }
    }
    all
}

fn permission_name(id: u32) -> String {
    match permission_names(id) {
        ("", _) => format!("Permission set {id}"),
        (name, _) => name.to_owned(),
    }
}

/// Names of the required permission sets that were not granted, in the required order.
#[must_use]
pub fn missing_permissions(granted_ids: &[u32]) -> Vec<String> {
    required_permissions()
        .filter(|(id, ..)| !granted_ids.contains(id))
        .map(|(_, name, _)| (*name).to_owned())
        .collect()
}

/// Which kinds of account WeChat gives a capability to.
#[derive(Clone, Copy)]
enum EligibleAccounts {
    Everyone,
    Verified,
    VerifiedService,
    VerifiedOrService,
}

impl EligibleAccounts {
    fn includes(self, account_type: AccountType, verified: bool) -> bool {
        let service = account_type == AccountType::Service;
        match self {
            Self::Everyone => true,
            Self::Verified => verified,
            Self::VerifiedService => verified && service,
            Self::VerifiedOrService => verified || service,
        }
    }
}

/// A capability, the accounts that may have it, and the permission sets: any one of them is enough.
const CAPABILITIES: [(&str, EligibleAccounts, &[u32]); 17] = [
    ("auto_reply", EligibleAccounts::Everyone, &[1]),
    ("customer_service_message", EligibleAccounts::Verified, &[1, 6, 19, 100, 101]),
    ("template_message", EligibleAccounts::VerifiedService, &[7, 100, 101]),
    ("broadcast", EligibleAccounts::Verified, &[7]),
    ("broadcast_by_openid", EligibleAccounts::VerifiedService, &[7]),
    ("menu", EligibleAccounts::VerifiedOrService, &[15]),
    ("conditional_menu", EligibleAccounts::Verified, &[15]),
    ("qr_code", EligibleAccounts::VerifiedService, &[3]),
    ("followers", EligibleAccounts::Verified, &[2]),
    ("tags", EligibleAccounts::Verified, &[2]),
    ("materials", EligibleAccounts::Everyone, &[11, 100]),
    ("drafts", EligibleAccounts::Everyone, &[11, 100]),
    ("publish", EligibleAccounts::VerifiedOrService, &[7]),
    ("coupon", EligibleAccounts::Verified, &[8]), // by application besides: 48001 tells
    ("web_authorization", EligibleAccounts::VerifiedService, &[4]),
    // Each family of figures has its own set (users 2, messages 1; all in 3 on older pages): 61007.
    ("statistics", EligibleAccounts::Verified, &[1, 2, 3, 7]),
    ("blacklist", EligibleAccounts::Verified, &[2]),
];

/// What the account can do: its kind and verification allow it, and the permission set was granted. WeChat's
/// `func_info` says only the second.
#[must_use]
pub fn capabilities(
    account_type: AccountType,
    verified: bool,
    granted: &[u32],
) -> BTreeMap<&'static str, bool> {
    let can = |who: EligibleAccounts, sets: &[u32]| {
        who.includes(account_type, verified) && sets.iter().any(|set| granted.contains(set))
    };
    CAPABILITIES.iter().map(|&(name, who, sets)| (name, can(who, sets))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [u32; 8] = [1, 15, 4, 7, 2, 3, 11, 8];

    #[test]
    fn permissions_show_the_required_ones_first_and_hide_none() {
        let shown = permissions(&[100, 1, 777, 8, 100]);
        let ids: Vec<_> = shown.iter().map(|one| (one.id, one.granted, one.required)).collect();
        let required = [1, 15, 4, 7, 2, 3, 11, 8].map(|id| (id, id == 1 || id == 8, true));
        assert_eq!(ids[..8], required);
        assert_eq!(ids[8..], [(100, true, false), (777, true, false)]);
        assert_eq!(shown[9].name, "Permission set 777");
        assert_eq!(missing_permissions(&ALL), Vec::<String>::new());
        assert_eq!(
            missing_permissions(&[1, 15, 4, 7, 2, 3]),
            ["Asset Management Access", "WeChat Coupon Access"]
        );
        let mut ids: Vec<_> = PERMISSIONS.iter().map(|(id, ..)| id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), PERMISSIONS.len(), "no id twice");
    }

    #[test]
    fn capabilities_need_the_right_kind_of_account() {
        use AccountType::{Service, Subscription};
        // The columns of protocol reference 7.1: unverified and verified subscription, unverified and
        // verified service account.
        for (name, may) in [
            ("auto_reply", [true, true, true, true]),
            ("customer_service_message", [false, true, false, true]),
            ("template_message", [false, false, false, true]),
            ("broadcast", [false, true, false, true]),
            ("broadcast_by_openid", [false, false, false, true]),
            ("menu", [false, true, true, true]),
            ("conditional_menu", [false, true, false, true]),
            ("qr_code", [false, false, false, true]),
            ("followers", [false, true, false, true]),
            ("tags", [false, true, false, true]),
            ("materials", [true, true, true, true]),
            ("drafts", [true, true, true, true]),
            ("publish", [false, true, true, true]),
            ("coupon", [false, true, false, true]),
            ("web_authorization", [false, false, false, true]),
            ("statistics", [false, true, false, true]),
            ("blacklist", [false, true, false, true]),
        ] {
            let kinds = [(Subscription, false), (Subscription, true), (Service, false), (Service, true)];
            let got = kinds.map(|(kind, verified)| capabilities(kind, verified, &ALL)[name]);
            assert_eq!(got, may, "{name}");
            assert!(!capabilities(Service, true, &[])[name], "{name} without its permission set");
        }
        assert_eq!(capabilities(Service, true, &ALL).len(), 17);
    }

    #[test]
    fn capabilities_need_their_permission_set() {
        for (set, opens) in [
            (1, vec!["auto_reply", "customer_service_message", "statistics"]),
            (2, vec!["blacklist", "followers", "statistics", "tags"]),
            (3, vec!["qr_code", "statistics"]),
            (4, vec!["web_authorization"]),
            (7, vec!["broadcast", "broadcast_by_openid", "publish", "statistics", "template_message"]),
            (8, vec!["coupon"]),
            (11, vec!["drafts", "materials"]),
            (15, vec!["conditional_menu", "menu"]),
            (777, vec![]),
        ] {
            let can = capabilities(AccountType::Service, true, &[set]);
            let can: Vec<_> = can.into_iter().filter(|(_, can)| *can).map(|(name, _)| name).collect();
            assert_eq!(can, opens, "permission set {set}");
        }
    }

    #[test]
    fn an_account_looks_as_the_contract_says() {
        let account = Account {
            app_id: "wx5a1b2c3d4e5f6071".into(),
            original_id: "gh_7b1c9d2e4f60".into(),
            name: "Invented Cafe".into(),
            alias: String::new(),
            avatar_url: String::new(),
            qr_code_url: String::new(),
            principal_name: String::new(),
            account_type: AccountType::Subscription,
            verified: true,
            status: AccountStatus::Bound,
            permissions: vec![],
            missing_permissions: vec![],
            capabilities: BTreeMap::from([("menu".to_owned(), true)]),
            bound_at: Timestamp::from_second(1_735_689_600).unwrap(),
            unbound_at: None,
        };
        let json = serde_json::to_value(&account).unwrap();
        let expected = serde_json::json!({
            "app_id": "wx5a1b2c3d4e5f6071", "original_id": "gh_7b1c9d2e4f60", "name": "Invented Cafe",
            "alias": "", "avatar_url": "", "qr_code_url": "", "principal_name": "",
            "account_type": "subscription", "verified": true, "status": "bound", "permissions": [],
            "missing_permissions": [], "capabilities": { "menu": true },
            "bound_at": "2025-01-01T00:00:00Z", "unbound_at": null
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Account>(json).unwrap(), account);
    }
}
