//! A queue's attributes: which exist, their allowed values, and their meaning.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{ErrorCode, SqsError};

/// Attributes as in a template or a request.
pub type QueueAttributes = BTreeMap<String, String>;

/// What a queue's ARN starts with.
pub const ARN_PREFIX: &str = "arn:aws:sqs:us-east-1:000000000000:";

/// Attributes with numbers: name, least, most, default.
const NUMERIC_ATTRIBUTES: [(&str, i64, i64, i64); 6] = [
    ("DelaySeconds", 0, 900, 0),
    ("KmsDataKeyReusePeriodSeconds", 60, 86_400, 300),
    ("MaximumMessageSize", 1024, 1_048_576, 1_048_576),
    ("MessageRetentionPeriod", 60, 1_209_600, 345_600),
    ("ReceiveMessageWaitTimeSeconds", 0, 20, 0),
    ("VisibilityTimeout", 0, 43_200, 30),
];

/// Attributes with a choice of texts. The first four have no effect here and are only stored.
const TEXT_ATTRIBUTES: [(&str, &[&str]); 8] = [
    ("KmsMasterKeyId", &[]),
    ("Policy", &[]),
    ("RedriveAllowPolicy", &[]),
    ("SqsManagedSseEnabled", &["true", "false"]),
    ("FifoQueue", &["true"]),
    ("ContentBasedDeduplication", &["true", "false"]),
    ("DeduplicationScope", &["queue", "messageGroup"]),
    ("FifoThroughputLimit", &["perQueue", "perMessageGroupId"]),
];

/// When and where a message is dead-lettered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedrivePolicy {
    /// The dead-letter queue's name.
    pub target: String,
    pub max_receive_count: u32,
}

/// A queue's attributes, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    attributes: QueueAttributes,
    pub fifo: bool,
    pub redrive: Option<RedrivePolicy>,
}

impl QueueSettings {
    /// Checks the attributes of a queue called `name`.
    pub fn new(name: &str, raw: QueueAttributes) -> Result<Self, SqsError> {
        let stem = name.strip_suffix(".fifo").unwrap_or(name);
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if stem.is_empty() || name.len() > 80 || !stem.chars().all(fine) {
            let reason =
                "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.";
            return Err(SqsError::invalid_value("QueueName", name, reason));
        }
        let fifo = raw.get("FifoQueue").is_some_and(|value| value == "true");
        if fifo != name.ends_with(".fifo") {
            let reason = "The name of a FIFO queue, and only of one, ends with .fifo.";
            return Err(SqsError::invalid_value("QueueName", name, reason));
        }
        raw.iter().try_for_each(|(key, value)| check_attribute(key, value, fifo))?;
        let redrive = raw.get("RedrivePolicy").filter(|text| !text.is_empty());
        let redrive = redrive.map(|text| redrive_policy(text, fifo)).transpose()?;
        Ok(Self { attributes: raw, fifo, redrive })
    }

    /// The same queue with some attributes changed.
    pub fn with_changes(&self, name: &str, changes: QueueAttributes) -> Result<Self, SqsError> {
        let mut raw = self.attributes.clone();
        raw.extend(changes);
        Self::new(name, raw)
    }

    /// Whether a queue created again with `raw` would be the same.
    #[must_use]
    pub fn has_attributes(&self, raw: &QueueAttributes) -> bool {
        let all = self.attributes_with_defaults();
        raw.iter().all(|(key, value)| all.get(key) == Some(value))
    }

    /// The attributes that were set.
    #[must_use]
    pub fn attributes(&self) -> &QueueAttributes {
        &self.attributes
    }

    /// The attributes that were set, and the defaults of the rest.
    #[must_use]
    pub fn attributes_with_defaults(&self) -> QueueAttributes {
        let mut all: QueueAttributes = NUMERIC_ATTRIBUTES
            .iter()
            .filter(|(name, ..)| !name.starts_with("Kms"))
            .map(|(name, _, _, default)| ((*name).to_owned(), default.to_string()))
            .collect();
        all.insert("SqsManagedSseEnabled".to_owned(), "true".to_owned());
        if self.fifo {
            all.insert("ContentBasedDeduplication".to_owned(), "false".to_owned());
            all.insert("DeduplicationScope".to_owned(), "queue".to_owned());
            all.insert("FifoThroughputLimit".to_owned(), "perQueue".to_owned());
        }
        all.extend(self.attributes.clone());
        all.retain(|_, value| !value.is_empty());
        all
    }

    /// A number among the attributes, or its default.
    #[must_use]
    pub fn number(&self, name: &str) -> i64 {
        let default = NUMERIC_ATTRIBUTES.iter().find(|row| row.0 == name).map_or(0, |row| row.3);
        self.attributes.get(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// The same in milliseconds.
    #[must_use]
    pub fn millis(&self, name: &str) -> i64 {
        self.number(name).saturating_mul(1000)
    }

    /// Whether equal bodies count as the same message.
    #[must_use]
    pub fn dedup_by_content(&self) -> bool {
        self.attributes.get("ContentBasedDeduplication").is_some_and(|value| value == "true")
    }

    /// The key under which a message's deduplication id is remembered: two groups may use the same id, if the queue says so.
    #[must_use]
    pub fn dedup_key(&self, group: Option<&str>, dedup: Option<&str>) -> Option<String> {
        let dedup = dedup.filter(|_| self.fifo)?;
        let by_group = self.attributes.get("DeduplicationScope").is_some_and(|value| value == "messageGroup");
        let scope = if by_group { group.unwrap_or_default() } else { "" };
        Some(format!("{scope}\n{dedup}"))
    }
}

/// A queue's name, from its URL or its ARN.
#[must_use]
pub fn queue_name(url_or_arn: &str) -> &str {
    url_or_arn.rsplit(['/', ':']).next().unwrap_or(url_or_arn)
}

fn check_attribute(key: &str, value: &str, fifo: bool) -> Result<(), SqsError> {
    let refuse = || {
        let message = format!("Invalid value for the parameter {key}.");
        Err(SqsError::new(ErrorCode::InvalidAttributeValue, message))
    };
    if let Some((_, least, most, _)) = NUMERIC_ATTRIBUTES.iter().find(|row| row.0 == key) {
        return if value.parse().is_ok_and(|n: i64| (*least..=*most).contains(&n)) {
            Ok(())
        } else {
            refuse()
        };
    }
    if key == "RedrivePolicy" {
        return Ok(());
    }
    let only_fifo = matches!(key, "ContentBasedDeduplication" | "DeduplicationScope" | "FifoThroughputLimit");
    match TEXT_ATTRIBUTES.iter().find(|row| row.0 == key) {
        Some(_) if only_fifo && !fifo => {
            Err(SqsError::new(ErrorCode::InvalidAttributeName, format!("Unknown Attribute {key}.")))
        }
        Some((_, words)) if words.is_empty() || words.contains(&value) => Ok(()),
        Some(_) => refuse(),
        None => Err(SqsError::new(ErrorCode::InvalidAttributeName, format!("Unknown Attribute {key}."))),
    }
}

fn redrive_policy(text: &str, fifo: bool) -> Result<RedrivePolicy, SqsError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct RedrivePolicyJson {
        dead_letter_target_arn: String,
        max_receive_count: Value,
    }
    let refuse = |reason: &str| SqsError::invalid_value("RedrivePolicy", text, reason);
    let policy: RedrivePolicyJson =
        serde_json::from_str(text).map_err(|_| refuse("It is not a redrive policy."))?;
    // Both spellings are in use: 3 and "3".
    let count = match &policy.max_receive_count {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64().and_then(|n| u32::try_from(n).ok()),
    };
    let max_receives = count
        .filter(|n| (1..=1000).contains(n))
        .ok_or_else(|| refuse("maxReceiveCount is not in 1..1000."))?;
    let target = policy
        .dead_letter_target_arn
        .strip_prefix("arn:aws:sqs:")
        .map(queue_name)
        .filter(|name| !name.is_empty())
        .ok_or_else(|| refuse("deadLetterTargetArn is not a queue's ARN."))?;
    if target.ends_with(".fifo") != fifo {
        return Err(refuse("Dead letter queue must be same type of queue as the source."));
    }
    Ok(RedrivePolicy { target: target.to_owned(), max_receive_count: max_receives })
}
