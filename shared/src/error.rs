//! Failures of the store, the queues and WeChat. What to do next is in `retry`.

mod store_error;
mod text;

use thiserror::Error;

pub use store_error::StoreError;
pub use text::{sdk_error_text, serde_error_text};

use crate::{
    model::quota::QuotaRefusal,
    wechat::{ApiError, errcode::ErrcodeClass},
};

/// A failure of the store, a queue or WeChat. Its text never holds a secret.
#[derive(Debug, Error)]
pub enum Error {
    /// DynamoDB did not do what it was asked.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// A stored item has a shape that this version cannot read.
    #[error("stored item: {0}")]
    Item(String),
    /// SQS refused or did not answer.
    #[error("queue: {0}")]
    Queue(String),
    /// WeChat refused or did not answer this call: the errcode is about the call itself.
    #[error("WeChat: {0}")]
    WeChat(ApiError),
    /// WeChat refused this API of the account before, and was not asked: the refusal still applies.
    #[error("WeChat refused this before: errcode {}", .0.errcode)]
    RefusedBefore(QuotaRefusal),
    /// The platform's own ticket, secret, address or component token was
    /// refused. It says nothing about the account or the intended call.
    #[error("the platform's own token: {0}")]
    Platform(ApiError),
    /// There is no token for the account. It says nothing about the intended call.
    #[error("the account's token: {0}")]
    Account(ApiError),
    /// No component ticket has arrived yet, so no token can be fetched.
    #[error("no component_verify_ticket has arrived yet; WeChat pushes one every 10 minutes")]
    NoTicket,
    /// The account's tokens are gone: it must be authorized again.
    #[error("the account {0} is not authorized")]
    NotAuthorized(String),
    /// Another worker refreshes this token right now.
    #[error("the token is being refreshed by another worker")]
    RefreshRunning,
}

impl Error {
    /// WeChat's errcode, whatever its origin.
    #[must_use]
    pub fn errcode(&self) -> Option<i64> {
        match self {
            Self::WeChat(error) | Self::Platform(error) | Self::Account(error) => error.errcode(),
            Self::RefusedBefore(refusal) => Some(refusal.errcode),
            _ => None,
        }
    }
}

impl From<ApiError> for Error {
    /// A platform error is classified as such for every call: WeChat checks addresses on each.
    fn from(error: ApiError) -> Self {
        if error.class() == ErrcodeClass::Platform { Self::Platform(error) } else { Self::WeChat(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_platform_is_refused_for_says_nothing_about_the_call() {
        for (what, errcode, is_platform) in [
            ("a code that was used", 61009, false),
            ("a quota of this call", 45009, false),
            ("an address that is not listed", 40164, true),
            ("the same, of an account", 61004, true),
            ("a stale ticket", 61006, true),
            ("a secret that was rotated", 40125, true),
        ] {
            let error = Error::from(ApiError::Refused { errcode, errmsg: "no".into(), rid: None });
            assert_eq!(matches!(error, Error::Platform(_)), is_platform, "{what}");
            assert_eq!(error.errcode(), Some(errcode), "{what}");
        }
    }
}
