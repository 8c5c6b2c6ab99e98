//! Rebuilds the queues from a journal, and makes a journal from the queues.

use std::borrow::Cow;
use std::io;

use crate::deduplication::DedupRecord;
use crate::engine::Engine;
use crate::journal::{JournalRecord, Replay};
use crate::queue::Queue;
use crate::queue_settings::QueueSettings;

impl Replay for Engine {
    fn replay(&mut self, record: JournalRecord<'static>) -> io::Result<()> {
        match record {
            JournalRecord::Next { seq } => self.next_seq = self.next_seq.max(seq),
            JournalRecord::Queue { name, attributes, created, modified } => {
                let settings =
                    QueueSettings::new(&name, attributes.into_owned()).map_err(io::Error::other)?;
                let queue =
                    self.queues.remove(&*name).unwrap_or_else(|| Queue::new(settings.clone(), created));
                self.queues.insert(name.into_owned(), queue.with_settings(settings, created, modified));
            }
            JournalRecord::Seen { queue, key, at, id, seq } => {
                let seen = DedupRecord { at, id: id.into_owned(), seq };
                self.known_queue(&queue)?.deduplication.remember(key.into_owned(), seen);
            }
            JournalRecord::Sent { queue, message } => {
                self.next_seq = self.next_seq.max(message.seq.saturating_add(1));
                let queue = self.known_queue(&queue)?;
                let (group, dedup) = (message.group.as_deref(), message.dedup.as_deref());
                if let Some(key) = queue.settings.dedup_key(group, dedup) {
                    let seen = DedupRecord { at: message.sent, id: message.id.clone(), seq: message.seq };
                    queue.deduplication.remember(key, seen);
                }
                queue.insert(message.into_owned());
            }
            JournalRecord::Kept { queue, message } => self.known_queue(&queue)?.insert(message.into_owned()),
            JournalRecord::Received { queue, seq, count, first } => {
                if let Some(message) = self.known_queue(&queue)?.get_mut(seq) {
                    message.received = count;
                    message.first_received = first;
                }
            }
            JournalRecord::Deleted { queue, seq } => {
                self.known_queue(&queue)?.remove(seq);
            }
            JournalRecord::Moved { from, seq, to, message } => {
                self.next_seq = self.next_seq.max(message.seq.saturating_add(1));
                self.known_queue(&from)?.remove(seq);
                self.known_queue(&to)?.insert(message.into_owned());
            }
            JournalRecord::Purged { queue } => self.known_queue(&queue)?.clear(),
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Vec<u8> {
        let now = self.now();
        let mut out = Vec::new();
        JournalRecord::Next { seq: self.next_seq }.write(&mut out);
        for (name, queue) in &mut self.queues {
            queue.advance_to(now);
            JournalRecord::Queue {
                name: Cow::Borrowed(name),
                attributes: Cow::Borrowed(queue.settings.attributes()),
                created: queue.created,
                modified: queue.modified,
            }
            .write(&mut out);
            queue
                .deduplication
                .records()
                .for_each(|(key, seen)| JournalRecord::dedup_record(name, key, seen).write(&mut out));
            for message in queue.messages() {
                JournalRecord::Kept { queue: Cow::Borrowed(name), message: Cow::Borrowed(message) }
                    .write(&mut out);
            }
        }
        out
    }
}

impl Engine {
    /// A queue that an earlier record has made.
    fn known_queue(&mut self, name: &str) -> io::Result<&mut Queue> {
        self.queues.get_mut(name).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the journal speaks of no queue {name} before"),
            )
        })
    }
}
