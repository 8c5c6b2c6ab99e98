//! Short texts for the errors of libraries, without a value of a request or an item.

use std::fmt::Display;

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// A short text for an SDK error: its code, and the message where that cannot quote request values.
pub fn sdk_error_text<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
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
pub fn serde_error_text(error: &impl Display) -> String {
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
}
