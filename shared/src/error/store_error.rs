//! Why DynamoDB did not do what it was asked.

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::{metadata::ProvideErrorMetadata, operation::BuildError};
use thiserror::Error;

use super::text::sdk_error_text;

/// Why DynamoDB did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// It did not answer, or failed itself. What was asked may have happened.
    #[error("{0}")]
    Unavailable(String),
    /// It was asked for more than it gives at the moment; nothing happened.
    #[error("throttled")]
    Throttled,
    /// Others changed the same items, each time that it was tried; nothing happened. Says what they do.
    #[error("{0}")]
    Contended(&'static str),
    /// It refused the request: a wrong expression, no such table, or no permission. A fault of ours or of the
    /// deployment.
    #[error("{0}")]
    Rejected(String),
    /// An item is missing that must exist. Says which.
    #[error("{0}")]
    Missing(&'static str),
}

impl StoreError {
    /// What `code` means: that of a request, of a statement in a batch, or a reason why a transaction was
    /// cancelled. `text` is for the log.
    pub fn of_code(code: &str, text: impl FnOnce() -> String) -> Self {
        match code {
            "TransactionConflictException" | "TransactionConflict" => {
                Self::Contended("a transaction has the item")
            }
            "ThrottlingException"
            | "ThrottlingError"
            | "ProvisionedThroughputExceededException"
            | "ProvisionedThroughputExceeded"
            | "RequestLimitExceeded" => Self::Throttled,
            "InternalServerError" | "ServiceUnavailable" => Self::Unavailable(text()),
            _ => Self::Rejected(text()),
        }
    }

    /// Whether nothing happened, for a reason that is over in a moment.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Throttled | Self::Contended(_))
    }
}

impl<E: ProvideErrorMetadata, R> From<SdkError<E, R>> for StoreError {
    fn from(error: SdkError<E, R>) -> Self {
        let text = || sdk_error_text(&error);
        match (&error, error.code()) {
            (_, Some(code)) => Self::of_code(code, text),
            (SdkError::ConstructionFailure(_), None) => Self::Rejected(text()),
            (_, None) => Self::Unavailable(text()), // no answer, or one that is not DynamoDB's
        }
    }
}

impl From<BuildError> for StoreError {
    fn from(error: BuildError) -> Self {
        Self::Rejected(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::{error::ErrorMetadata, operation::put_item::PutItemError};

    use super::*;

    #[test]
    fn an_answer_of_dynamodb_says_what_happened() {
        let (contended, throttled) =
            (StoreError::Contended("a transaction has the item"), StoreError::Throttled);
        let unavailable = |text: &str| StoreError::Unavailable(text.into());
        let rejected = |text: &str| StoreError::Rejected(text.into());
        for (code, expected) in [
            (Some("TransactionConflictException"), contended),
            (Some("ThrottlingException"), throttled.clone()),
            (Some("ProvisionedThroughputExceededException"), throttled.clone()),
            (Some("RequestLimitExceeded"), throttled),
            (Some("InternalServerError"), unavailable("InternalServerError: text")),
            (None, unavailable("error: text")),
            (Some("ResourceNotFoundException"), rejected("ResourceNotFoundException: text")),
            (Some("AccessDeniedException"), rejected("AccessDeniedException: text")),
            (Some("ValidationException"), rejected("ValidationException")),
        ] {
            let meta = ErrorMetadata::builder().message("text");
            let meta = code.into_iter().fold(meta, |meta, code| meta.code(code));
            let error = SdkError::service_error(PutItemError::generic(meta.build()), ());
            assert_eq!(StoreError::from(error), expected, "{code:?}");
        }
        let silent: SdkError<PutItemError, ()> = SdkError::timeout_error("late");
        assert_eq!(StoreError::from(silent), unavailable("timed out"));
    }
}
