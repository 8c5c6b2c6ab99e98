//! A push that waits to be sent.

use serde::{Deserialize, Serialize};

/// The hub's two callback URLs, as WeChat's console names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackUrl {
    /// The authorization event URL.
    Component,
    /// The message and event URL of an account.
    Message,
}

impl CallbackUrl {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Message => "message",
        }
    }
}

/// One push, before encryption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingPush {
    /// Where to.
    pub target: CallbackUrl,
    /// The `InfoType`, `MsgType` or `Event`, for the log.
    pub kind: String,
    /// The account in the URL's path, for messages.
    pub app_id: Option<String>,
    /// The sender in the query, for messages.
    pub openid: Option<String>,
    /// The whole decrypted document.
    pub plaintext: String,
    /// Milliseconds to wait before sending.
    #[serde(default)]
    pub delay_ms: u64,
}
