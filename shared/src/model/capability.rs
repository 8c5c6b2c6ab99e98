//! What an account can do: its kind allows it, and the permission set was granted.
//!
//! Source: WeChat's list of API permissions by kind of account.

use std::collections::BTreeMap;

use super::account::AccountType;

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
    fn capabilities_need_the_right_kind_of_account() {
        use AccountType::{Service, Subscription};
        // The columns of that list: unverified and verified subscription, unverified and
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
}
