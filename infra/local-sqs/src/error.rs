//! The errors of SQS: one row per error, under both of its names.

use std::fmt;

use serde_json::json;

/// The errors of SQS that this endpoint can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    InternalError,
    InvalidAction,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MalformedInput,
    MessageNotInflight,
    MissingParameter,
    OverLimit,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    ResourceNotFound,
    TooManyEntriesInBatchRequest,
    UnsupportedOperation,
}

impl ErrorCode {
    /// The name in `__type`, and the older one of the Query protocol, by which the SDKs still know it.
    #[must_use]
    pub const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::BatchEntryIdsNotDistinct => {
                ("BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct")
            }
            Self::BatchRequestTooLong => {
                ("BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong")
            }
            Self::EmptyBatchRequest => ("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest"),
            Self::InternalError => ("InternalError", "InternalError"),
            Self::InvalidAction => ("InvalidAction", "InvalidAction"),
            Self::InvalidAttributeName => ("InvalidAttributeName", "InvalidAttributeName"),
            Self::InvalidAttributeValue => ("InvalidAttributeValue", "InvalidAttributeValue"),
            Self::InvalidBatchEntryId => {
                ("InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId")
            }
            Self::InvalidMessageContents => ("InvalidMessageContents", "InvalidMessageContents"),
            Self::InvalidParameterValue => ("InvalidParameterValue", "InvalidParameterValue"),
            Self::MalformedInput => ("SerializationException", "MalformedInput"),
            Self::MessageNotInflight => ("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"),
            Self::MissingParameter => ("MissingParameter", "MissingParameter"),
            Self::OverLimit => ("OverLimit", "OverLimit"),
            Self::QueueDoesNotExist => ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"),
            Self::QueueNameExists => ("QueueNameExists", "QueueAlreadyExists"),
            Self::ReceiptHandleIsInvalid => ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid"),
            Self::ResourceNotFound => ("ResourceNotFoundException", "ResourceNotFoundException"),
            Self::TooManyEntriesInBatchRequest => {
                ("TooManyEntriesInBatchRequest", "AWS.SimpleQueueService.TooManyEntriesInBatchRequest")
            }
            Self::UnsupportedOperation => {
                ("UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation")
            }
        }
    }
}

/// An error: its code, and a sentence for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqsError {
    pub code: ErrorCode,
    pub message: String,
}

impl SqsError {
    /// An error with its sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// An invalid value, the most frequent error.
    pub fn invalid_value(name: &str, value: impl fmt::Display, reason: &str) -> Self {
        let message = format!("Value {value} for parameter {name} is invalid. Reason: {reason}");
        Self::new(ErrorCode::InvalidParameterValue, message)
    }

    /// A missing parameter.
    pub fn missing_parameter(name: &str) -> Self {
        Self::new(ErrorCode::MissingParameter, format!("The request must contain the parameter {name}."))
    }

    /// Whether it is the sender's fault; a batch response says so per entry.
    #[must_use]
    pub fn is_sender_fault(&self) -> bool {
        self.code != ErrorCode::InternalError
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        if self.is_sender_fault() { 400 } else { 500 }
    }

    /// The `x-amzn-query-error` header.
    #[must_use]
    pub fn query_error(&self) -> String {
        format!("{};{}", self.code.names().1, if self.is_sender_fault() { "Sender" } else { "Receiver" })
    }

    /// The JSON body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let kind = format!("com.amazonaws.sqs#{}", self.code.names().0);
        json!({ "__type": kind, "message": self.message }).to_string().into_bytes()
    }
}

impl fmt::Display for SqsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.names().0, self.message)
    }
}

impl std::error::Error for SqsError {}
