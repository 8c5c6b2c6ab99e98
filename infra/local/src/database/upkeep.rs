//! What the database needs besides its requests, on a thread of its own.
//!
//! SQLite appends what is written to a log (`-wal`) and has to move it into the file at some time (a checkpoint),
//! which waits for the disk. Done here it holds nobody up. A log begins anew once all of it is moved; under a load that
//! never stops something is always left, which the thread of the requests then moves itself between two of them. The
//! log's file stays as long as it ever was: it is cut where nobody has asked anything for a while, and at the end.

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
    random::{Rand, Random},
};

use super::{DatabaseError, engine::connect, expiry, failed};

/// Between two looks.
const STEP: Duration = Duration::from_millis(500);
/// Pages of the log, 4 KiB each, at which it has to begin anew: 32 MB.
const LONG: i64 = 8 * 1024;
/// Pages that this thread keeps in memory, KiB.
const CACHE_KIB: u32 = 2 * 1024;
/// How often expired items are deleted. It reads every item of tables that have some; DynamoDB itself takes days, and
/// what must be exact compares times.
const SWEEP: Duration = Duration::from_hours(1);

/// Tells the thread what happens; without it, it ends.
pub(super) struct Upkeep(Arc<Signs>);

#[derive(Default)]
struct Signs {
    busy: AtomicBool,
    long: AtomicBool,
    over: AtomicBool,
}

impl Upkeep {
    /// A request was answered, by the thread that has `storage`.
    pub(super) fn note(&self, storage: &Storage) {
        self.0.busy.store(true, Ordering::Relaxed);
        if self.0.long.load(Ordering::Relaxed) && self.0.long.swap(false, Ordering::Relaxed) {
            let _ = checkpoint(storage); // the log is left long: the next look tells again
        }
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Starts the thread.
pub(super) fn start(path: &Path) -> Result<Upkeep, DatabaseError> {
    let storage = connect(path, CACHE_KIB)?;
    let file = File::open(path).map_err(failed)?;
    let random = Rand::from_system().map_err(failed)?;
    let signs = Arc::new(Signs::default());
    let seen = Arc::clone(&signs);
    let thread = std::thread::Builder::new().name("dynamodb-upkeep".into());
    thread.spawn(move || run(&storage, &file, &seen, &random)).map_err(failed)?;
    Ok(Upkeep(signs))
}

fn run(storage: &Storage, file: &File, signs: &Signs, random: &Rand) {
    let (mut swept, mut written) = (Instant::now(), false);
    while !signs.over.load(Ordering::Relaxed) {
        sleep(STEP);
        if signs.busy.swap(false, Ordering::Relaxed) {
            empty_log(storage, file, signs);
            written = true;
        } else if written {
            written = !cut_log(storage);
        }
        if swept.elapsed() >= SWEEP {
            swept = Instant::now();
            let late = i64::try_from(random.below(expiry::LATEST.unsigned_abs())).unwrap_or(0);
            if let Err(error) = expiry::sweep(storage, SystemClock.unix(), late) {
                tracing::warn!(%error, "expired items stay for now: {error}");
            }
        }
    }
}

/// Moves what the log has gathered into the file while others go on writing. What is left of a long one is little
/// after the second time, and the file is on the disk by then, which SQLite would do only at the end: who moves the rest
/// is soon done.
fn empty_log(storage: &Storage, file: &File, signs: &Signs) {
    if checkpoint(storage).is_some_and(|pages| pages > LONG) && checkpoint(storage).is_some() {
        if let Err(error) = file.sync_data() {
            tracing::warn!(%error, "the database's file was not written: {error}");
        }
        signs.long.store(true, Ordering::Relaxed);
    }
}

/// Moves all of the log into the file, and cuts it to nothing; whether it did. Whoever asks meanwhile waits for the disk.
pub(super) fn cut_log(storage: &Storage) -> bool {
    let busy: Result<i64, _> =
        storage.conn().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    match busy {
        Ok(busy) => busy == 0,
        Err(error) => {
            tracing::warn!(%error, "the database's log was not cut: {error}");
            true // and is tried again after the next request
        }
    }
}

/// Moves what it can without waiting for anybody; pages that the log has.
fn checkpoint(storage: &Storage) -> Option<i64> {
    let pages = storage.conn().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1));
    pages.inspect_err(|error| tracing::warn!(%error, "the database's log was not emptied: {error}")).ok()
}
