//! Failures of the store, the queues and WeChat, and what the caller may do next.

use std::time::Duration;

use thiserror::Error;

use crate::wechat::{ApiError, errcode::ErrcodeClass};

/// A failure of the store, a queue or WeChat. Its text never holds a secret.
#[derive(Debug, Error)]
pub enum Error {
    /// DynamoDB refused or did not answer.
    #[error("store: {0}")]
    Store(String),
    /// A stored item has a shape that this version cannot read.
    #[error("stored item: {0}")]
    Item(String),
    /// SQS refused or did not answer.
    #[error("queue: {0}")]
    Queue(String),
    /// WeChat refused or did not answer this call: the errcode is about the call itself.
    #[error("WeChat: {0}")]
    WeChat(ApiError),
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

/// What an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This deployment: a table, a queue, a stored item.
    Hub,
    /// The platform's ticket, secret, address or component token. Always worth a retry later.
    Platform,
    /// The account: its token, or its authorization.
    Account,
    /// This call. Only then does its errcode decide about the code, the import or the message.
    Call,
}

/// What the caller of a job may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Report the item as failed; the queue brings it again after this long.
    After(Duration),
    /// Record the outcome and acknowledge the job: a retry would give the same.
    Never,
}

impl Error {
    /// What it is about.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self {
            Self::Store(_) | Self::Item(_) | Self::Queue(_) => Origin::Hub,
            Self::Platform(_) | Self::NoTicket => Origin::Platform,
            Self::Account(_) | Self::NotAuthorized(_) | Self::RefreshRunning => Origin::Account,
            Self::WeChat(_) => Origin::Call,
        }
    }

    /// WeChat's errcode, whatever its origin.
    #[must_use]
    pub fn errcode(&self) -> Option<i64> {
        match self {
            Self::WeChat(error) | Self::Platform(error) | Self::Account(error) => error.errcode(),
            _ => None,
        }
    }

    /// Whether and when to try again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Store(_) | Self::Queue(_) => Retry::After(Duration::from_secs(2)),
            Self::RefreshRunning => Retry::After(Duration::from_secs(1)),
            Self::NoTicket => Retry::After(Duration::from_secs(60)),
            Self::Platform(_) => Retry::After(Duration::from_secs(30)),
            Self::WeChat(_) | Self::Account(_) => Retry::After(Duration::from_secs(5)),
            Self::Item(_) | Self::NotAuthorized(_) => Retry::Never,
        }
    }
}

impl From<ApiError> for Error {
    /// A platform error is classified as such for every call: WeChat checks addresses on each.
    fn from(error: ApiError) -> Self {
        if error.class() == ErrcodeClass::Platform { Self::Platform(error) } else { Self::WeChat(error) }
    }
}

/// A short text for an SDK error: its code, and the message where that cannot quote request values.
pub fn sdk_error_text<E, R>(error: &aws_smithy_runtime_api::client::result::SdkError<E, R>) -> String
where
    E: aws_smithy_types::error::metadata::ProvideErrorMetadata,
{
    use aws_smithy_runtime_api::client::result::SdkError;
    match error {
        SdkError::ServiceError(inner) => {
            let meta = inner.err();
            match (meta.code().unwrap_or("error"), meta.message()) {
                // these quote operands, which may be anything that is stored
                (code, _) if code.contains("Validation") || code.contains("Serialization") => code.to_owned(),
                (code, Some(message)) => format!("{code}: {message}"),
                (code, None) => code.to_owned(),
            }
        }
        SdkError::TimeoutError(_) => "timed out".into(),
        SdkError::DispatchFailure(_) => "no connection".into(),
        SdkError::ResponseError(_) => "unreadable answer".into(),
        SdkError::ConstructionFailure(_) => "request could not be built".into(),
        _ => "unknown failure".into(),
    }
}

/// A short text for a serde error, without the value that was found.
pub fn serde_error_text(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    if text.starts_with("missing field") || text.starts_with("duplicate field") {
        return text; // these quote names of ours
    }
    let kind = text.split(['`', '"', ':']).next().unwrap_or_default().trim();
    let expected = text.split_once(", expected ").map(|(_, rest)| rest.split('`').next().unwrap_or_default());
    match expected.map(str::trim).filter(|rest| !rest.is_empty() && !rest.contains('"')) {
        Some(expected) => format!("{kind}, expected {expected}"),
        None => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::{error::ErrorMetadata, operation::put_item::PutItemError};
    use aws_smithy_runtime_api::client::result::SdkError;
    use serde::Deserialize;

    use super::*;

    #[test]
    fn an_error_text_holds_no_value_of_a_request_or_an_item() {
        for (code, message, text) in [
            (
                "ValidationException",
                "BETWEEN operator; lower bound operand: {S:hidden}",
                "ValidationException",
            ),
            ("SerializationException", "hidden is no number", "SerializationException"),
            ("ResourceNotFoundException", "no such table", "ResourceNotFoundException: no such table"),
        ] {
            let meta = ErrorMetadata::builder().code(code).message(message).build();
            let error = SdkError::service_error(PutItemError::generic(meta), ());
            assert_eq!(sdk_error_text(&error), text);
        }
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum TestEnum {
            Known,
        }
        #[derive(Debug, Deserialize)]
        struct TestItem {
            #[serde(rename = "number")]
            _number: i64,
            #[serde(rename = "word")]
            _word: TestEnum,
        }
        for (what, json, text) in [
            (
                "a text for a number",
                r#"{"number":"hidden","word":"known"}"#,
                "invalid type, expected i64 at line 1 column 18",
            ),
            ("a word of a later release", r#"{"number":1,"word":"hidden"}"#, "unknown variant"),
            ("nothing", "{}", "missing field `number` at line 1 column 2"),
            ("no JSON", "hidden", "expected value at line 1 column 1"),
        ] {
            let error =
                serde_json::from_str::<TestItem>(json).map(|sample| format!("{sample:?}")).unwrap_err();
            let said = serde_error_text(&error);
            assert!(!said.contains("hidden"), "{what}: {said}");
            assert_eq!(said, text, "{what}");
        }
        assert!(matches!(serde_json::from_str::<TestEnum>("\"known\""), Ok(TestEnum::Known)));
    }

    #[test]
    fn an_error_names_whom_it_is_about() {
        let refused = |errcode| ApiError::Refused { errcode, errmsg: "no".into(), rid: None };
        for (what, error, origin) in [
            ("a code that was used", refused(61009).into(), Origin::Call),
            ("a quota of this call", refused(45009).into(), Origin::Call),
            ("an address that is not listed", refused(40164).into(), Origin::Platform),
            ("the same, of an account", refused(61004).into(), Origin::Platform),
            ("a stale ticket", refused(61006).into(), Origin::Platform),
            ("a secret that was rotated", refused(40125).into(), Origin::Platform),
            ("no ticket", Error::NoTicket, Origin::Platform),
            ("a refresh that was refused", Error::Account(refused(45009)), Origin::Account),
            ("no authorization", Error::NotAuthorized("wx1".into()), Origin::Account),
            ("no table", Error::Store("down".into()), Origin::Hub),
        ] {
            assert_eq!(error.origin(), origin, "{what}");
            if origin == Origin::Platform {
                assert!(matches!(error.retry(), Retry::After(_)), "{what} is no reason to give up");
            }
        }
    }
}
