//! A message as it is sent and as a queue keeps it, with the checksums that SDKs verify.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::error::{ErrorCode, SqsError};

/// The most bytes of one message, and of all messages of one batch.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// The most attributes of one message.
const MAX_ATTRIBUTES: usize = 10;

/// Attributes by name; sorted, as the checksum requires.
pub type MessageAttributes = BTreeMap<String, MessageAttribute>;

/// One message attribute, in the spelling of the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MessageAttribute {
    pub data_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<String>,
}

impl MessageAttribute {
    /// The type tag of the checksum, and the value's bytes.
    fn tagged_value(&self) -> Option<(u8, Vec<u8>)> {
        match (&self.string_value, &self.binary_value) {
            (Some(text), None) => Some((1, text.as_bytes().to_vec())),
            (None, Some(binary)) => Some((2, STANDARD.decode(binary).ok()?)),
            _ => None,
        }
    }

    fn check(&self, name: &str) -> Result<usize, SqsError> {
        let refuse = |reason: &str| Err(SqsError::invalid_value("MessageAttributes", name, reason));
        let base = self.data_type.split('.').next().unwrap_or_default();
        if !matches!(base, "String" | "Number" | "Binary") {
            return refuse("The type must be String, Number or Binary.");
        }
        let Some((tag, value)) = self.tagged_value().filter(|(_, value)| !value.is_empty()) else {
            return refuse("It must have one value that is not empty.");
        };
        if (tag == 2) != (base == "Binary") {
            return refuse("The value is not of the type.");
        }
        let number = self.string_value.as_ref().is_none_or(|text| text.parse::<f64>().is_ok());
        if base == "Number" && !number {
            return refuse("The value is not a number.");
        }
        Ok(name.len() + self.data_type.len() + value.len())
    }
}

/// A message as it is sent.
#[derive(Debug, Clone, Default)]
pub struct NewMessage {
    pub body: String,
    pub attributes: MessageAttributes,
    pub system_attributes: MessageAttributes,
    pub delay_seconds: Option<i64>,
    pub group: Option<String>,
    pub dedup: Option<String>,
}

impl NewMessage {
    /// Validates the message, and returns the size that the limits apply to.
    pub fn check(&self) -> Result<usize, SqsError> {
        if self.body.is_empty() {
            return Err(SqsError::missing_parameter("MessageBody"));
        }
        let odd = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
        if self.body.contains(odd) {
            let reason = "Invalid characters were found: only #x9, #xA, #xD and #x20 and above may be sent.";
            return Err(SqsError::new(ErrorCode::InvalidMessageContents, reason));
        }
        if self.attributes.len() > MAX_ATTRIBUTES {
            let reason = "A message may have 10 attributes.";
            return Err(SqsError::invalid_value("MessageAttributes", self.attributes.len(), reason));
        }
        let mut bytes = self.body.len();
        for (name, attribute) in &self.attributes {
            let bad = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
            let lower = name.to_ascii_lowercase();
            if name.is_empty() || name.len() > 256 || name.contains(bad) {
                return Err(SqsError::invalid_value("MessageAttributes", name, "The name is not allowed."));
            }
            if lower.starts_with("aws.") || lower.starts_with("amazon.") {
                return Err(SqsError::invalid_value("MessageAttributes", name, "The prefix is reserved."));
            }
            bytes += attribute.check(name)?;
        }
        Ok(bytes)
    }
}

/// A message in a queue. All times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueMessage {
    /// Its place in the order over all queues; never used twice.
    pub seq: u64,
    pub id: String,
    pub body: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: MessageAttributes,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trace: MessageAttributes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<String>,
    pub sent: i64,
    /// Start of its retention: later than `sent` after a FIFO queue dead-lettered it.
    pub since: i64,
    /// It is invisible before.
    pub due: i64,
    pub received: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_received: Option<i64>,
    /// The name of the queue that dead-lettered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gave_up: Option<String>,
}

/// The result of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentMessage {
    pub id: String,
    pub md5_body: String,
    pub md5_attributes: Option<String>,
    pub md5_system_attributes: Option<String>,
    pub sequence_number: Option<String>,
}

/// A message with its receipt handle.
#[derive(Debug, Clone)]
pub struct ReceivedMessage {
    pub message: QueueMessage,
    pub receipt_handle: String,
    pub fifo: bool,
}

/// MD5 as SQS uses it: against corruption, not against attackers.
#[must_use]
pub fn md5_hex(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

/// The checksum of attributes; `None` if there are none.
#[must_use]
pub fn md5_attributes<'a>(
    attributes: impl IntoIterator<Item = (&'a String, &'a MessageAttribute)>,
) -> Option<String> {
    let mut hash = Md5::new();
    let mut any = false;
    let part = |hash: &mut Md5, bytes: &[u8]| {
        hash.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(bytes);
    };
    for (name, attribute) in attributes {
        let (tag, value) = attribute.tagged_value()?;
        part(&mut hash, name.as_bytes());
        part(&mut hash, attribute.data_type.as_bytes());
        hash.update([tag]);
        part(&mut hash, &value);
        any = true;
    }
    any.then(|| hex(&hash.finalize()))
}

/// Lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
