//! Rebuilds the queues from a journal, and makes a journal from the queues.

use std::borrow::Cow;
use std::io;

use super::journal::{Record, Replay};
use super::queue::{Queue, Seen};
use super::settings::Settings;
use super::state::Engine;

impl Replay for Engine {
    fn replay(&mut self, record: Record<'static>) -> io::Result<()> {
        match record {
            Record::Next { seq } => self.next = self.next.max(seq),
            Record::Queue { name, attributes, created, modified } => {
                let settings = Settings::new(&name, attributes.into_owned()).map_err(io::Error::other)?;
                let queue =
                    self.queues.remove(&*name).unwrap_or_else(|| Queue::new(settings.clone(), created));
                self.queues.insert(name.into_owned(), queue.with(settings, created, modified));
            }
            Record::Seen { queue, key, at, id, seq } => {
                self.known(&queue)?.remember(key.into_owned(), Seen { at, id: id.into_owned(), seq });
            }
            Record::Sent { queue, message } => {
                self.next = self.next.max(message.seq.saturating_add(1));
                let queue = self.known(&queue)?;
                if let Some(key) = queue.dedup_key(message.group.as_deref(), message.dedup.as_deref()) {
                    queue.remember(key, Seen { at: message.sent, id: message.id.clone(), seq: message.seq });
                }
                queue.insert(message.into_owned());
            }
            Record::Kept { queue, message } => self.known(&queue)?.insert(message.into_owned()),
            Record::Received { queue, seq, count, first } => {
                if let Some(message) = self.known(&queue)?.get_mut(seq) {
                    message.received = count;
                    message.first_received = first;
                }
            }
            Record::Deleted { queue, seq } => {
                self.known(&queue)?.remove(seq);
            }
            Record::Moved { from, seq, to, message } => {
                self.next = self.next.max(message.seq.saturating_add(1));
                self.known(&from)?.remove(seq);
                self.known(&to)?.insert(message.into_owned());
            }
            Record::Purged { queue } => self.known(&queue)?.clear(),
        }
        Ok(())
    }

    fn alive(&mut self) -> Vec<u8> {
        let now = self.now();
        let mut out = Vec::new();
        Record::Next { seq: self.next }.write(&mut out);
        for (name, queue) in &mut self.queues {
            queue.settle(now);
            Record::Queue {
                name: Cow::Borrowed(name),
                attributes: Cow::Borrowed(queue.settings.raw()),
                created: queue.created,
                modified: queue.modified,
            }
            .write(&mut out);
            queue.all_seen().for_each(|(key, seen)| Record::seen(name, key, seen).write(&mut out));
            for message in queue.messages() {
                Record::Kept { queue: Cow::Borrowed(name), message: Cow::Borrowed(message) }.write(&mut out);
            }
        }
        out
    }
}

impl Engine {
    /// A queue that an earlier record has made.
    fn known(&mut self, name: &str) -> io::Result<&mut Queue> {
        self.queues.get_mut(name).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the journal speaks of no queue {name} before"),
            )
        })
    }
}
