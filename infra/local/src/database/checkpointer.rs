//! The database's background work, on a thread of its own.
//!
//! SQLite appends writes to a log (`-wal`) and must move them into the file at some time (a checkpoint),
//! which waits for the disk. Here it delays no request. The log restarts once all of it is moved; under continuous
//! load something always remains, which the requests' thread then moves between two requests. The
//! file of the log never shrinks by itself: it is truncated when no request came for a while, and at the end.

use std::{
    fs::File,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use dynoxide::storage::Storage;
use shared::{
    clock::{Clock, SystemClock},
    random::{Random, StdRandom},
};

use super::{
    connection::connect,
    error::{DatabaseError, failed},
    expiry,
};

/// The pause between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Pages of the log, 4 KiB each, from which it must restart: 32 MB.
const WAL_PAGES_LONG: i64 = 8 * 1024;
/// This thread's page cache, KiB.
const CACHE_KIB: u32 = 2 * 1024;
/// How often expired items are deleted. That reads every item of tables with a TTL; DynamoDB itself takes days, and
/// code that must be exact compares times itself.
const EXPIRY_INTERVAL: Duration = Duration::from_hours(1);

/// Signals to the thread, which ends when this is dropped.
pub(super) struct Checkpointer(Arc<Flags>);

#[derive(Default)]
struct Flags {
    requested: AtomicBool,
    log_is_long: AtomicBool,
    stopping: AtomicBool,
}

impl Checkpointer {
    /// Called by the thread that owns `storage` after each request.
    pub(super) fn request_answered(&self, storage: &Storage) {
        self.0.requested.store(true, Ordering::Relaxed);
        if self.0.log_is_long.load(Ordering::Relaxed) && self.0.log_is_long.swap(false, Ordering::Relaxed) {
            let _ = passive_checkpoint(storage); // on failure the next check sets the flag again
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }
}

/// Starts the thread.
pub(super) fn start(path: &Path) -> Result<Checkpointer, DatabaseError> {
    let storage = connect(path, CACHE_KIB)?;
    let file = File::open(path).map_err(failed)?;
    let random = StdRandom::from_system().map_err(failed)?;
    let signs = Arc::new(Flags::default());
    let seen = Arc::clone(&signs);
    let thread = std::thread::Builder::new().name("dynamodb-wal".into());
    thread.spawn(move || run(&storage, &file, &seen, &random)).map_err(failed)?;
    Ok(Checkpointer(signs))
}

fn run(storage: &Storage, file: &File, signs: &Flags, random: &StdRandom) {
    let (mut swept, mut written) = (Instant::now(), false);
    while !signs.stopping.load(Ordering::Relaxed) {
        sleep(POLL_INTERVAL);
        if signs.requested.swap(false, Ordering::Relaxed) {
            checkpoint_log(storage, file, signs);
            written = true;
        } else if written {
            written = !truncate_log(storage);
        }
        if swept.elapsed() >= EXPIRY_INTERVAL {
            swept = Instant::now();
            let late = i64::try_from(random.below(expiry::MAX_DELAY_SECS.unsigned_abs())).unwrap_or(0);
            if let Err(error) = expiry::delete_expired(storage, SystemClock.unix(), late) {
                tracing::warn!(%error, "expired items stay for now: {error}");
            }
        }
    }
}

/// Checkpoints while other threads go on writing. After the second pass over a long log little is left,
/// and the file is already synced, which SQLite would do only at the end: so the requests' thread
/// moves the rest quickly.
fn checkpoint_log(storage: &Storage, file: &File, signs: &Flags) {
    if passive_checkpoint(storage).is_some_and(|pages| pages > WAL_PAGES_LONG)
        && passive_checkpoint(storage).is_some()
    {
        if let Err(error) = file.sync_data() {
            tracing::warn!(%error, "the database's file was not written: {error}");
        }
        signs.log_is_long.store(true, Ordering::Relaxed);
    }
}

/// Checkpoints the whole log and truncates it; returns whether it did. Requests wait for the disk meanwhile.
pub(super) fn truncate_log(storage: &Storage) -> bool {
    let busy: Result<i64, _> =
        storage.conn().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    match busy {
        Ok(busy) => busy == 0,
        Err(error) => {
            tracing::warn!(%error, "the database's log was not cut: {error}");
            true // it is tried again after the next request
        }
    }
}

/// Checkpoints what it can without waiting; returns the number of pages in the log.
fn passive_checkpoint(storage: &Storage) -> Option<i64> {
    let pages = storage.conn().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1));
    pages.inspect_err(|error| tracing::warn!(%error, "the database's log was not emptied: {error}")).ok()
}
