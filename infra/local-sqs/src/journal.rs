//! Keeps messages when the process dies.
//!
//! One JSON line per change, written (`write(2)`) before it is acknowledged. Acknowledged messages
//! therefore survive `kill -9`: the kernel has them. They are not synced to the disk: a power failure may
//! lose the last seconds, which is acceptable on one machine.
//!
//! A process killed during a write leaves a last line without its line feed; it was never acknowledged, and is
//! dropped. Any other unreadable line is an error: losing messages silently is worse than not starting.

use std::borrow::Cow;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::deduplication::DedupRecord;
use crate::message::QueueMessage;
use crate::queue_settings::QueueAttributes;

/// The journal's name in its directory.
pub const JOURNAL_FILE: &str = "sqs.journal";
/// It is compacted when it is longer than this and twice as long as after the last compaction.
const COMPACT_BYTES: u64 = 16 * 1024 * 1024;
/// Only the owner may read messages.
const FILE_MODE: u32 = 0o600;

/// One change. Visibility is not recorded: the receivers died with the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum JournalRecord<'a> {
    /// All earlier messages have smaller sequence numbers.
    Next { seq: u64 },
    /// A queue was created, or its attributes were set.
    Queue { name: Cow<'a, str>, attributes: Cow<'a, QueueAttributes>, created: i64, modified: i64 },
    /// A deduplication id whose message may be gone.
    Seen { queue: Cow<'a, str>, key: Cow<'a, str>, at: i64, id: Cow<'a, str>, seq: u64 },
    /// A message was sent.
    Sent { queue: Cow<'a, str>, message: Cow<'a, QueueMessage> },
    /// A message was in the queue when the journal was compacted.
    Kept { queue: Cow<'a, str>, message: Cow<'a, QueueMessage> },
    /// A message was received; `count` times by now.
    Received { queue: Cow<'a, str>, seq: u64, count: u32, first: Option<i64> },
    /// A message was deleted.
    Deleted { queue: Cow<'a, str>, seq: u64 },
    /// A message was moved to another queue, where it is `message`.
    Moved { from: Cow<'a, str>, seq: u64, to: Cow<'a, str>, message: Cow<'a, QueueMessage> },
    /// A queue was purged.
    Purged { queue: Cow<'a, str> },
}

impl<'a> JournalRecord<'a> {
    /// A remembered deduplication id.
    #[must_use]
    pub fn dedup_record(queue: &'a str, key: &'a str, seen: &'a DedupRecord) -> Self {
        Self::Seen {
            queue: queue.into(),
            key: key.into(),
            at: seen.at,
            id: (&*seen.id).into(),
            seq: seen.seq,
        }
    }

    /// Appends the record as its line.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Serializing strings, numbers and maps with string keys cannot fail, nor can writing to a Vec.
        let start = out.len();
        match serde_json::to_writer(&mut *out, self) {
            Ok(()) => out.push(b'\n'),
            Err(_) => out.truncate(start),
        }
    }
}

/// State that can be rebuilt from a journal.
pub trait Replay {
    /// Applies a recorded change.
    fn replay(&mut self, record: JournalRecord<'static>) -> io::Result<()>;
    /// Returns the shortest journal that leads to the current state.
    fn snapshot(&mut self) -> Vec<u8>;
}

/// An open journal.
pub struct Journal {
    path: PathBuf,
    file: File,
    len: u64,
    compact_at: u64,
    /// What could not be written yet.
    pending: Vec<u8>,
    /// Held until the process ends, so that no second process writes.
    lock: File,
}

impl Drop for Journal {
    /// Closing alone is not enough: a process that another thread is forking has a copy of the file, and
    /// would keep the lock until its `exec`.
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the queues' directory stays locked until this process ends: {error}");
        }
    }
}

impl Journal {
    /// Replays the journal in `dir` into `state`, then compacts it.
    pub fn open(dir: &Path, state: &mut dyn Replay) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(FILE_MODE)
            .open(dir.join("sqs.lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::WouldBlock, "another process has the queues' directory open")
            }
            TryLockError::Error(error) => error,
        })?;
        let path = dir.join(JOURNAL_FILE);
        match File::open(&path) {
            Ok(file) => replay_lines(BufReader::new(file), state)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let bytes = state.snapshot();
        let file = replace(&path, &bytes)?;
        let len = bytes.len() as u64;
        Ok(Self { path, file, len, compact_at: compaction_threshold(len), pending: Vec::new(), lock })
    }

    /// Appends lines. After an error they are kept for the next call, and no partial line stays.
    pub fn append(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        self.pending.append(lines);
        if let Err(error) = self.file.write_all(&self.pending) {
            self.file.set_len(self.len)?;
            return Err(error);
        }
        self.len = self.len.saturating_add(self.pending.len() as u64);
        self.pending.clear();
        Ok(())
    }

    /// Whether an earlier [`Self::append`] failed.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether it is time to call [`Self::compact`].
    #[must_use]
    pub fn needs_compaction(&self) -> bool {
        self.len > self.compact_at
    }

    /// Replaces the journal by `bytes`, a snapshot.
    pub fn compact(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file = replace(&self.path, bytes)?;
        self.len = bytes.len() as u64;
        self.compact_at = compaction_threshold(self.len);
        self.pending.clear();
        Ok(())
    }
}

fn compaction_threshold(len: u64) -> u64 {
    len.saturating_mul(2).max(COMPACT_BYTES)
}

/// Writes a new file and renames it, so that there is a complete journal at every moment.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let beside = path.with_extension("journal.new");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(FILE_MODE).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?; // rare enough, and the old journal's messages must survive a power failure
    drop(file);
    std::fs::rename(&beside, path)?;
    OpenOptions::new().append(true).open(path)
}

fn replay_lines(mut lines: impl BufRead, state: &mut dyn Replay) -> io::Result<()> {
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        number += 1;
        lines.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok(());
        }
        let record = serde_json::from_slice(&line).map_err(|error| {
            let message = format!("{JOURNAL_FILE}, line {number}: {error}");
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        state.replay(record)?;
    }
}
