//! Why an account may not be bound.

use serde::{Deserialize, Serialize};

use super::account::{AccountType, is_verified};

/// The `reason` of a refused binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "&'static str", from = "String")]
pub enum BindingRefusal {
    /// It is not an Official Account.
    NotAnOfficialAccount,
    /// WeChat has not verified it.
    UnverifiedAccount,
    /// Another tenant has it.
    AccountBoundElsewhere,
    /// The link is for another account.
    OtherAccount,
    /// WeChat gives no usable tokens, or the link was deleted meanwhile.
    AuthorizationFailed,
}

impl BindingRefusal {
    const ALL: [Self; 5] = [
        Self::NotAnOfficialAccount,
        Self::UnverifiedAccount,
        Self::AccountBoundElsewhere,
        Self::OtherAccount,
        Self::AuthorizationFailed,
    ];

    /// Its name in the API and in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotAnOfficialAccount => "not_an_official_account",
            Self::UnverifiedAccount => "unverified_account",
            Self::AccountBoundElsewhere => "account_bound_elsewhere",
            Self::OtherAccount => "other_account",
            Self::AuthorizationFailed => "authorization_failed",
        }
    }

    /// Why an account of this kind cannot be bound; [`None`] when it can.
    /// The inputs are those of `api_get_authorizer_info`, [`None`] where it gave none.
    #[must_use]
    pub fn of_account(
        is_mini_program: bool,
        service_type: Option<i64>,
        verify_type: Option<i64>,
    ) -> Option<Self> {
        if is_mini_program || service_type.and_then(AccountType::from_service_type).is_none() {
            return Some(Self::NotAnOfficialAccount);
        }
        if verify_type.is_some_and(is_verified) { None } else { Some(Self::UnverifiedAccount) }
    }
}

impl From<BindingRefusal> for &'static str {
    fn from(refusal: BindingRefusal) -> Self {
        refusal.name()
    }
}

impl From<String> for BindingRefusal {
    /// A name of a later release becomes [`BindingRefusal::AuthorizationFailed`], whose advice fits any.
    fn from(name: String) -> Self {
        Self::ALL.into_iter().find(|refusal| refusal.name() == name).unwrap_or(Self::AuthorizationFailed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_verified_official_accounts_can_be_bound() {
        for (what, mini_program, service_type, verify_type, refusal) in [
            ("a verified service account", false, Some(2), Some(0), None),
            ("a verified subscription account", false, Some(0), Some(0), None),
            ("an upgraded subscription account", false, Some(1), Some(0), None),
            ("one with its qualification verified", false, Some(2), Some(3), None),
            ("the same, with a microblog's mark", false, Some(2), Some(4), None),
            ("the same, with the other's", false, Some(2), Some(5), None),
            ("an unverified one", false, Some(2), Some(-1), Some(BindingRefusal::UnverifiedAccount)),
            (
                "one with a microblog's mark alone",
                false,
                Some(0),
                Some(1),
                Some(BindingRefusal::UnverifiedAccount),
            ),
            ("one with the other's", false, Some(0), Some(2), Some(BindingRefusal::UnverifiedAccount)),
            (
                "one with a verification of next year",
                false,
                Some(2),
                Some(6),
                Some(BindingRefusal::UnverifiedAccount),
            ),
            ("one that WeChat leaves open", false, Some(2), None, Some(BindingRefusal::UnverifiedAccount)),
            ("a mini program", true, Some(0), Some(0), Some(BindingRefusal::NotAnOfficialAccount)),
            (
                "an unverified mini program",
                true,
                Some(0),
                Some(-1),
                Some(BindingRefusal::NotAnOfficialAccount),
            ),
            ("a kind of next year", false, Some(9), Some(0), Some(BindingRefusal::NotAnOfficialAccount)),
            ("nothing known", false, None, None, Some(BindingRefusal::NotAnOfficialAccount)),
        ] {
            assert_eq!(
                BindingRefusal::of_account(mini_program, service_type, verify_type),
                refusal,
                "{what}"
            );
        }
    }

    #[test]
    fn a_stored_refusal_is_read_back_and_a_later_releases_too() {
        for refusal in BindingRefusal::ALL {
            let stored = serde_json::to_value(refusal).unwrap();
            assert_eq!(stored, refusal.name());
            assert_eq!(serde_json::from_value::<BindingRefusal>(stored).unwrap(), refusal);
        }
        let later = serde_json::from_str::<BindingRefusal>("\"reason_of_2030\"").unwrap();
        assert_eq!(later, BindingRefusal::AuthorizationFailed);
    }
}
