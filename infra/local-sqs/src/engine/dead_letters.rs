//! How messages come into dead-letter queues and out of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Engine, find_queue, log_record, take_seq};
use crate::error::{ErrorCode, SqsError};
use crate::journal::JournalRecord;
use crate::message::QueueMessage;
use crate::message_ids::uuid;
use crate::queue::Queue;
use crate::queue_settings::queue_name;

impl Engine {
    /// Moves the visible messages of a dead-letter queue to `target`, or each to its source queue. They get
    /// new ids and receive counts of 0. Returns how many were moved.
    pub fn redrive(&mut self, source: &str, target: Option<&str>) -> Result<usize, SqsError> {
        let now = self.now();
        let feeds = |queue: &Queue| queue.settings.redrive.as_ref().is_some_and(|r| r.target == source);
        if !self.queues.contains_key(source) || target.is_some_and(|name| !self.queues.contains_key(name)) {
            return Err(SqsError::new(
                ErrorCode::ResourceNotFound,
                "The resource that you specified doesn't exist.",
            ));
        }
        if !self.queues.values().any(feeds) {
            let reason = "Source queue must be configured as a Dead Letter Queue.";
            return Err(SqsError::new(ErrorCode::InvalidParameterValue, reason));
        }
        let Self { queues, next_seq: next, random, journal_lines: log, .. } = self;
        let queue = find_queue(queues, source, now)?;
        let mut moving = Vec::new();
        for seq in queue.visible() {
            let back = queue.get(seq).and_then(|message| message.gave_up.clone());
            let Some(target) = target.map(str::to_owned).or(back) else { continue };
            moving.extend(queue.remove(seq).map(|message| (message, target)));
        }
        let count = moving.len();
        for (mut message, target) in moving {
            message = QueueMessage {
                id: uuid(&**random),
                sent: now,
                since: now,
                due: now,
                received: 0,
                first_received: None,
                gave_up: None,
                ..message
            };
            transfer(queues, next, log, source, message, queue_name(&target), now)?;
        }
        Ok(count)
    }
}

/// Adds a message that was removed from `from` to the end of `to`.
pub(super) fn transfer(
    queues: &mut BTreeMap<String, Queue>,
    next: &mut u64,
    log: &mut Option<Vec<u8>>,
    from: &str,
    mut message: QueueMessage,
    to: &str,
    now: i64,
) -> Result<(), SqsError> {
    let old = std::mem::replace(&mut message.seq, take_seq(next));
    log_record(
        log,
        &JournalRecord::Moved {
            from: from.into(),
            seq: old,
            to: to.into(),
            message: Cow::Borrowed(&message),
        },
    );
    let queue = find_queue(queues, to, now)?;
    queue.insert(message);
    queue.advance_to(now);
    queue.wake_one();
    Ok(())
}
