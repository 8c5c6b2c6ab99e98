//! One thread has the database: SQLite blocks, and writes one after the other anyway. What waits for WeChat or
//! reads JSON does so elsewhere meanwhile.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use dynoxide::{DynoxideError, storage::Storage};
use tokio::sync::oneshot;

use super::{
    DatabaseError, failed,
    upkeep::{self, Upkeep},
    weather::Weather,
};

/// The database's file in its directory.
const FILE: &str = "dynamodb.sqlite";
/// Pages of the file that SQLite keeps in memory, KiB: what many followers' indexes touch again and again.
const CACHE_KIB: u32 = 8 * 1024;
/// Statements that SQLite keeps compiled: some for each table and index.
const STATEMENTS: usize = 128;

/// How often the last cut of the log is tried, and the pause between two tries: a second in all.
const SETTLE_TRIES: u32 = 50;
const SETTLE_STEP: Duration = Duration::from_millis(20);

type Job = Box<dyn FnOnce(&Storage) + Send>;

/// The embedded database. Clones are the same one.
#[derive(Clone)]
pub struct Database {
    jobs: mpsc::Sender<Job>,
    weather: Arc<OnceLock<Weather>>,
}

impl Database {
    /// Opens the database in `dir`, which is there. It is closed when nobody has it any more.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(dir: &Path) -> Result<Self, DatabaseError> {
        let path = dir.join(FILE);
        let storage = connect(&path, CACHE_KIB)?;
        let upkeep = upkeep::start(&path)?;
        let (jobs, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new().name("dynamodb".into());
        thread.spawn(move || work(&storage, &waiting, &upkeep)).map_err(failed)?;
        Ok(Self { jobs, weather: Arc::default() })
    }

    /// From now on, requests meet this weather. A second one is not taken.
    pub fn meet(&self, weather: Weather) {
        let _ = self.weather.set(weather);
    }

    pub(super) fn weather(&self) -> Option<&Weather> {
        self.weather.get()
    }

    /// After all that was asked for before, moves SQLite's log into the file: a folder that rests holds nothing twice.
    pub async fn settle(&self) {
        for _ in 0..SETTLE_TRIES {
            // [`upkeep`] may be at the log just now
            match self.with(|storage| Ok(upkeep::cut_log(storage))).await {
                Ok(false) => tokio::time::sleep(SETTLE_STEP).await,
                Ok(true) => return,
                Err(_) => break,
            }
        }
        tracing::warn!("the database's log stays beside its file; the next start takes it in");
    }

    /// Does something with the storage, after what others asked for before.
    ///
    /// # Errors
    /// What `act` answers, or that the database is gone.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Storage) -> dynoxide::Result<T> + Send + 'static,
    ) -> dynoxide::Result<T> {
        let gone = || DynoxideError::InternalServerError("the database does not answer".into());
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |storage| {
            let _ = answer.send(act(storage)); // whoever asked may be gone
        });
        self.jobs.send(job).map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn work(storage: &Storage, jobs: &mpsc::Receiver<Job>, upkeep: &Upkeep) {
    for job in jobs {
        if catch_unwind(AssertUnwindSafe(|| job(storage))).is_err() {
            tracing::error!("a request of the database panicked");
            let _ = storage.rollback(); // there may be no transaction
        }
        upkeep.note(storage);
    }
}

/// A connection of its own to the file, as each thread needs one. SQLite's log is emptied by [`upkeep`] alone:
/// the thread that answers would stop for the disk.
pub(super) fn connect(path: &Path, cache_kib: u32) -> Result<Storage, DatabaseError> {
    let storage = Storage::new(&path.to_string_lossy()).map_err(failed)?;
    let settings = format!(
        "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -{cache_kib}; PRAGMA wal_autocheckpoint = 0;"
    );
    storage.conn().execute_batch(&settings).map_err(failed)?;
    storage.conn().set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(storage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_log_is_cut_at_the_end_though_somebody_is_at_it_just_then() {
        let folder = std::env::temp_dir().join(format!("oahub-engine-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let database = Database::open(&folder).unwrap();
        let write = |storage: &Storage| {
            // as SQLite does where another checkpoint runs, whatever the time is that it may wait
            storage.conn().busy_timeout(Duration::ZERO).unwrap();
            storage.conn().execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
            Ok(())
        };
        database.with(write).await.unwrap();
        let reader = connect(&folder.join(FILE), CACHE_KIB).unwrap();
        reader.conn().execute_batch("BEGIN; SELECT * FROM t").unwrap();
        let log = || std::fs::metadata(folder.join("dynamodb.sqlite-wal")).map_or(0, |log| log.len());
        let settled = database.settle();
        let leaves = async {
            database.with(|_| Ok(())).await.unwrap(); // behind the first try
            assert!(log() > 0, "nobody is at it");
            reader.conn().execute_batch("COMMIT").unwrap();
        };
        futures::join!(settled, leaves);
        assert_eq!(log(), 0);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
