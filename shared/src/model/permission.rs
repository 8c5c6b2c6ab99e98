//! Permission sets: what an account's administrator granted to the platform.
//!
//! Source: WeChat's list of permission sets of third-party platforms.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
}
