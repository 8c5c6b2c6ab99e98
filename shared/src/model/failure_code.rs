//! Why a message failed: `error.code` in the API, and in the stored message.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a message failed, for programs to branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// There is no account, or its authorization is gone.
    AccountNotBound,
    /// The account's type, verification or permissions do not allow this kind of message.
    CapabilityMissing,
    /// WeChat was asked, and its answer was lost.
    OutcomeUnknown,
    /// No reply window is open or has sends left, and there is no template.
    OutsideReplyWindow,
    /// WeChat's quota was used up for as long as a message waits.
    QuotaExceeded,
    /// The fan is unknown, has left, or wants no messages.
    RecipientUnreachable,
    /// WeChat accepted a template message and could not deliver it.
    SystemFailed,
    /// The operator has suspended the tenant.
    TenantSuspended,
    /// WeChat accepted a template message, and the fan blocks the account.
    UserBlocked,
    /// WeChat was not reached, or was busy, for as long as a message waits.
    WechatBusy,
    /// WeChat refused it for another reason: see its errcode.
    WechatError,
    /// A later release stored a reason that this one does not know: see the detail.
    #[serde(other)]
    Unknown,
}

/// Its name in the API.
impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// During a deployment, or after one was taken back, the other release's messages are read.
    #[test]
    fn a_code_of_a_later_release_is_read() {
        for (stored, code) in [("too_late", FailureCode::Unknown), ("wechat_busy", FailureCode::WechatBusy)] {
            assert_eq!(serde_json::from_value::<FailureCode>(json!(stored)).unwrap(), code, "{stored}");
        }
        assert_eq!(FailureCode::Unknown.to_string(), "unknown");
    }
}
