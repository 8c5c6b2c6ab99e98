//! What is done with messages: send, receive, hide, delete.

use std::borrow::Cow;

use super::dead_letters::transfer;
use super::{Engine, find_queue, log_record, take_seq};
use crate::deduplication::DedupRecord;
use crate::error::{ErrorCode, SqsError};
use crate::journal::JournalRecord;
use crate::message::{NewMessage, QueueMessage, ReceivedMessage, SentMessage, md5_attributes, md5_hex};
use crate::message_ids::{dedup_id, sequence_number, uuid};
use crate::queue::ReceiptStatus;
use crate::receipt_handle::ReceiptHandle;

/// Twelve hours: the longest time for which one receive can hide a message, even with extensions.
const MAX_VISIBILITY_MS: i64 = 43_200_000;

impl Engine {
    /// Sends a message, unless it was already sent under its deduplication id in the last five minutes.
    pub fn send(&mut self, name: &str, draft: NewMessage) -> Result<SentMessage, SqsError> {
        let now = self.now();
        let Self { queues, next_seq: next, random, journal_lines: log, .. } = self;
        let queue = find_queue(queues, name, now)?;
        let bytes = draft.check()?;
        let limit = queue.settings.number("MaximumMessageSize");
        if i64::try_from(bytes).is_ok_and(|bytes| bytes > limit) {
            let reason = format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."
            );
            return Err(SqsError::new(ErrorCode::InvalidParameterValue, reason));
        }
        let dedup = dedup_id(&queue.settings, &draft)?;
        let delay = draft.delay_seconds.unwrap_or_else(|| queue.settings.number("DelaySeconds"));
        if !(0..=900).contains(&delay) {
            return Err(SqsError::invalid_value(
                "DelaySeconds",
                delay,
                "DelaySeconds must be >= 0 and <= 900.",
            ));
        }
        let mut sent = SentMessage {
            id: String::new(),
            md5_body: md5_hex(draft.body.as_bytes()),
            md5_attributes: md5_attributes(&draft.attributes),
            md5_system_attributes: md5_attributes(&draft.system_attributes),
            sequence_number: None,
        };
        let key = queue.settings.dedup_key(draft.group.as_deref(), dedup.as_deref());
        if let Some(seen) = key.as_ref().and_then(|key| queue.deduplication.record(key)) {
            return Ok(SentMessage {
                id: seen.id.clone(),
                sequence_number: Some(sequence_number(seen.seq)),
                ..sent
            });
        }
        let seq = take_seq(next);
        sent.id = uuid(&**random);
        sent.sequence_number = queue.settings.fifo.then(|| sequence_number(seq));
        let message = QueueMessage {
            seq,
            id: sent.id.clone(),
            body: draft.body,
            attributes: draft.attributes,
            trace: draft.system_attributes,
            group: draft.group,
            dedup,
            sent: now,
            since: now,
            due: now.saturating_add(delay.saturating_mul(1000)),
            received: 0,
            first_received: None,
            gave_up: None,
        };
        log_record(log, &JournalRecord::Sent { queue: name.into(), message: Cow::Borrowed(&message) });
        if let Some(key) = key {
            queue.deduplication.remember(key, DedupRecord { at: now, id: sent.id.clone(), seq });
        }
        queue.insert(message);
        queue.advance_to(now);
        if delay > 0 {
            queue.wake.notify_waiters(); // waiting polls must compute their next due time again
        }
        queue.wake_for_new();
        Ok(sent)
    }

    /// Receives up to `max` messages; those received too often go to the dead-letter queue instead. At the limit of
    /// messages in flight, a standard queue returns an error, and a FIFO queue returns nothing.
    pub fn receive(
        &mut self,
        name: &str,
        max: usize,
        visibility_secs: Option<i64>,
    ) -> Result<Vec<ReceivedMessage>, SqsError> {
        let now = self.now();
        let Self {
            queues, next_seq: next, random, journal_lines: log, max_in_flight: most_in_flight, ..
        } = self;
        let queue = find_queue(queues, name, now)?;
        let capacity = most_in_flight.saturating_sub(queue.counts().in_flight);
        if capacity == 0 && !queue.settings.fifo {
            let reason = format!("Too many messages in flight: {most_in_flight} of queue {name}.");
            return Err(SqsError::new(ErrorCode::OverLimit, reason));
        }
        let max = max.min(capacity);
        let hide = visibility_secs
            .map_or_else(|| queue.settings.millis("VisibilityTimeout"), |s| s.saturating_mul(1000));
        let redrive = queue.settings.redrive.clone();
        let fifo = queue.settings.fifo;
        let mut out = Vec::new();
        let mut dead = Vec::new();
        while out.len() < max {
            let run = queue.next_receivable(max - out.len(), *most_in_flight);
            if run.is_empty() {
                break;
            }
            for seq in run {
                let received_too_often =
                    |m: &QueueMessage| redrive.as_ref().is_some_and(|r| m.received >= r.max_receive_count);
                if queue.get(seq).is_some_and(received_too_often) {
                    dead.extend(queue.remove(seq));
                    continue;
                }
                let mut bytes = [0; 8];
                random.fill(&mut bytes);
                let stamp = u64::from_le_bytes(bytes) | 1; // 0 means "never received"
                let Some(message) = queue.deliver(seq, stamp, now, now.saturating_add(hide)) else {
                    continue;
                };
                let (count, first) = (message.received, message.first_received);
                log_record(log, &JournalRecord::Received { queue: name.into(), seq, count, first });
                let receipt = ReceiptHandle { queue: name.to_owned(), seq, nonce: stamp }.to_string();
                out.push(ReceivedMessage { message: message.clone(), receipt_handle: receipt, fifo });
            }
        }
        if let Some(redrive) = redrive {
            for mut message in dead {
                message.gave_up = Some(name.to_owned());
                if fifo {
                    message.since = now;
                }
                transfer(queues, next, log, name, message, &redrive.target, now)?;
            }
        }
        Ok(out)
    }

    /// Deletes the message of a receipt handle. A standard queue accepts an older handle too, but deletes
    /// nothing: on AWS the message "might not be deleted".
    pub fn delete(&mut self, name: &str, handle: &str) -> Result<(), SqsError> {
        let now = self.now();
        let queue = find_queue(&mut self.queues, name, now)?;
        let receipt = ReceiptHandle::parse(handle, name)?;
        match queue.receipt_status(receipt.seq, receipt.nonce) {
            ReceiptStatus::Gone => return Ok(()),
            ReceiptStatus::Lapsed | ReceiptStatus::HeldByOther | ReceiptStatus::Outdated
                if queue.settings.fifo =>
            {
                return Err(SqsError::invalid_value(
                    "ReceiptHandle",
                    handle,
                    "The receipt handle has expired.",
                ));
            }
            ReceiptStatus::HeldByOther | ReceiptStatus::Outdated => return Ok(()),
            _ => queue.remove(receipt.seq),
        };
        log_record(&mut self.journal_lines, &JournalRecord::Deleted { queue: name.into(), seq: receipt.seq });
        queue.wake_for_new(); // the next of its group may be free
        Ok(())
    }

    /// Hides a received message for `secs` from now; 0 makes it visible at once.
    pub fn change_visibility(&mut self, name: &str, handle: &str, secs: i64) -> Result<(), SqsError> {
        let now = self.now();
        let queue = find_queue(&mut self.queues, name, now)?;
        let receipt = ReceiptHandle::parse(handle, name)?;
        if !(0..=43_200).contains(&secs) {
            return Err(SqsError::invalid_value(
                "VisibilityTimeout",
                secs,
                "VisibilityTimeout must be between 0 and 43200.",
            ));
        }
        match queue.receipt_status(receipt.seq, receipt.nonce) {
            ReceiptStatus::Held => {
                let until = now.saturating_add(secs.saturating_mul(1000));
                let latest = queue.received_at(receipt.seq).unwrap_or(now).saturating_add(MAX_VISIBILITY_MS);
                if until > latest {
                    let reason =
                        "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]";
                    return Err(SqsError::invalid_value("VisibilityTimeout", secs, reason));
                }
                queue.set_visibility(receipt.seq, until, now);
            }
            ReceiptStatus::HeldByOther => {
                return Err(SqsError::invalid_value(
                    "ReceiptHandle",
                    handle,
                    "The receipt handle has expired.",
                ));
            }
            ReceiptStatus::Lapsed | ReceiptStatus::Outdated => {
                return Err(SqsError::new(ErrorCode::MessageNotInflight, "The message is not in flight."));
            }
            ReceiptStatus::Gone => {
                let reason = "Message does not exist or is not available for visibility timeout change.";
                return Err(SqsError::invalid_value("ReceiptHandle", handle, reason));
            }
        }
        queue.wake.notify_waiters();
        Ok(())
    }
}
