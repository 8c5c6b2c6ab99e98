//! Message ids, sequence numbers, and deduplication ids.

use sha2::{Digest, Sha256};
use shared::random::Random;

use crate::error::{ErrorCode, SqsError};
use crate::message::{NewMessage, hex};
use crate::queue_settings::QueueSettings;

/// Checks group, deduplication id and delay against the queue's type; returns the deduplication id.
pub fn dedup_id(settings: &QueueSettings, draft: &NewMessage) -> Result<Option<String>, SqsError> {
    let unfit = "The request include parameter that is not valid for this queue type.";
    for (name, value) in [("MessageGroupId", &draft.group), ("MessageDeduplicationId", &draft.dedup)] {
        let fine = |text: &str| (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if let Some(value) = value.as_deref().filter(|value| !fine(value)) {
            return Err(SqsError::invalid_value(
                name,
                value,
                "It must be 1 to 128 letters, digits and signs.",
            ));
        }
    }
    if !settings.fifo {
        return match &draft.dedup {
            Some(value) => Err(SqsError::invalid_value("MessageDeduplicationId", value, unfit)),
            None => Ok(None),
        };
    }
    if draft.group.is_none() {
        return Err(SqsError::missing_parameter("MessageGroupId"));
    }
    if let Some(delay) = draft.delay_seconds {
        return Err(SqsError::invalid_value("DelaySeconds", delay, unfit));
    }
    match &draft.dedup {
        Some(dedup) => Ok(Some(dedup.clone())),
        None if settings.dedup_by_content() => Ok(Some(hex(&Sha256::digest(draft.body.as_bytes())))),
        None => {
            let reason = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly";
            Err(SqsError::new(ErrorCode::InvalidParameterValue, reason))
        }
    }
}

/// Twenty digits, so that they sort as text too.
#[must_use]
pub fn sequence_number(seq: u64) -> String {
    format!("{seq:020}")
}

/// A random UUID.
pub fn uuid(random: &dyn Random) -> String {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    let [.., six, _, eight, _, _, _, _, _, _, _] = &mut bytes;
    *six = (*six & 0x0f) | 0x40;
    *eight = (*eight & 0x3f) | 0x80;
    let text = hex(&bytes);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}
