//! What can go wrong between us and what we stand on, and what the caller may do next.

use std::time::Duration;

use thiserror::Error;

/// A failure of the store, a queue or WeChat. Its text never holds a secret.
#[derive(Debug, Error)]
pub enum Error {
    /// DynamoDB refused or did not answer.
    #[error("store: {0}")]
    Store(String),
    /// An item is not what this version writes.
    #[error("stored item: {0}")]
    Item(String),
    /// SQS refused or did not answer.
    #[error("queue: {0}")]
    Queue(String),
    /// WeChat refused or did not answer.
    #[error("WeChat: {0}")]
    WeChat(#[from] crate::wechat::ApiError),
    /// No component ticket has arrived yet, so no token can be had.
    #[error("no component_verify_ticket has arrived yet; WeChat pushes one every 10 minutes")]
    NoTicket,
    /// The account's tokens are gone: it must be authorized again.
    #[error("the account {0} is not authorized")]
    NotAuthorized(String),
    /// Another worker refreshes this token right now.
    #[error("the token is being refreshed by another worker")]
    RefreshRunning,
}

/// What the caller of a job may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Report the item as failed; the queue brings it again after this long.
    After(Duration),
    /// Record the outcome and acknowledge: again would be the same.
    Never,
}

impl Error {
    /// Whether and when to try again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Store(_) | Self::Queue(_) => Retry::After(Duration::from_secs(2)),
            Self::RefreshRunning => Retry::After(Duration::from_secs(1)),
            Self::NoTicket => Retry::After(Duration::from_secs(60)),
            Self::WeChat(_) => Retry::After(Duration::from_secs(5)),
            Self::Item(_) | Self::NotAuthorized(_) => Retry::Never,
        }
    }
}

/// The short name of an SDK error: its code, without the request's values.
pub fn sdk_error<E, R>(error: &aws_smithy_runtime_api::client::result::SdkError<E, R>) -> String
where
    E: aws_smithy_types::error::metadata::ProvideErrorMetadata,
{
    use aws_smithy_runtime_api::client::result::SdkError;
    match error {
        SdkError::ServiceError(inner) => {
            let meta = inner.err();
            format!("{}: {}", meta.code().unwrap_or("error"), meta.message().unwrap_or(""))
        }
        SdkError::TimeoutError(_) => "timed out".into(),
        SdkError::DispatchFailure(_) => "no connection".into(),
        SdkError::ResponseError(_) => "unreadable answer".into(),
        SdkError::ConstructionFailure(_) => "request could not be built".into(),
        _ => "unknown failure".into(),
    }
}
