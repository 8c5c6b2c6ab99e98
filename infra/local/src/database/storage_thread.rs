//! One thread owns the database: SQLite blocks, and serializes writes anyway. JSON is parsed and WeChat
//! is waited for on other threads.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use dynoxide::{DynoxideError, storage::Storage};
use tokio::sync::oneshot;

use super::{
    DatabaseError,
    checkpointer::{self, Checkpointer},
    failed,
    fault_injection::FaultInjector,
};

/// The database's file in its directory.
const DATABASE_FILE: &str = "dynamodb.sqlite";
/// SQLite's page cache, KiB: the indexes of many followers are read again and again.
const CACHE_KIB: u32 = 8 * 1024;
/// Prepared statements that SQLite caches: some for each table and index.
const CACHED_STATEMENTS: usize = 128;

/// How often truncating the log at the end is tried, and the pause between two tries: a second in all.
const TRUNCATE_TRIES: u32 = 50;
const TRUNCATE_RETRY_PAUSE: Duration = Duration::from_millis(20);

type StorageTask = Box<dyn FnOnce(&Storage) + Send>;

/// The embedded database. Clones share it.
#[derive(Clone)]
pub struct Database {
    tasks: mpsc::Sender<StorageTask>,
    fault_injector: Arc<OnceLock<FaultInjector>>,
}

impl Database {
    /// Opens the database in `dir`, which must exist. It is closed when the last clone is dropped.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(dir: &Path) -> Result<Self, DatabaseError> {
        let path = dir.join(DATABASE_FILE);
        let storage = connect(&path, CACHE_KIB)?;
        let upkeep = checkpointer::start(&path)?;
        let (jobs, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new().name("dynamodb".into());
        thread.spawn(move || run_tasks(&storage, &waiting, &upkeep)).map_err(failed)?;
        Ok(Self { tasks: jobs, fault_injector: Arc::default() })
    }

    /// Injects faults into requests from now on. A second injector is ignored.
    pub fn inject_faults(&self, weather: FaultInjector) {
        let _ = self.fault_injector.set(weather);
    }

    pub(super) fn fault_injector(&self) -> Option<&FaultInjector> {
        self.fault_injector.get()
    }

    /// After all earlier requests, checkpoints and truncates SQLite's log, so that a stopped database has no log.
    pub async fn truncate_log(&self) {
        for _ in 0..TRUNCATE_TRIES {
            // [`checkpointer`] may hold the log at this moment
            match self.with_storage(|storage| Ok(checkpointer::truncate_log(storage))).await {
                Ok(false) => tokio::time::sleep(TRUNCATE_RETRY_PAUSE).await,
                Ok(true) => return,
                Err(_) => break,
            }
        }
        tracing::warn!("the database's log stays beside its file; the next start takes it in");
    }

    /// Runs `act` on the storage, after all earlier requests.
    ///
    /// # Errors
    /// The error of `act`, or that the database is closed.
    pub(super) async fn with_storage<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Storage) -> dynoxide::Result<T> + Send + 'static,
    ) -> dynoxide::Result<T> {
        let gone = || DynoxideError::InternalServerError("the database does not answer".into());
        let (answer, answered) = oneshot::channel();
        let job: StorageTask = Box::new(move |storage| {
            let _ = answer.send(act(storage)); // the caller may have been dropped
        });
        self.tasks.send(job).map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn run_tasks(storage: &Storage, jobs: &mpsc::Receiver<StorageTask>, upkeep: &Checkpointer) {
    for job in jobs {
        if catch_unwind(AssertUnwindSafe(|| job(storage))).is_err() {
            tracing::error!("a request of the database panicked");
            let _ = storage.rollback(); // there may be no transaction
        }
        upkeep.request_answered(storage);
    }
}

/// Opens a connection to the file; each thread needs its own. Only [`checkpointer`] checkpoints the log:
/// otherwise the requests' thread would wait for the disk.
pub(super) fn connect(path: &Path, cache_kib: u32) -> Result<Storage, DatabaseError> {
    let storage = Storage::new(&path.to_string_lossy()).map_err(failed)?;
    let settings = format!(
        "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -{cache_kib}; PRAGMA wal_autocheckpoint = 0;"
    );
    storage.conn().execute_batch(&settings).map_err(failed)?;
    storage.conn().set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
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
            // as SQLite behaves while another checkpoint runs, whatever its busy timeout
            storage.conn().busy_timeout(Duration::ZERO).unwrap();
            storage.conn().execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
            Ok(())
        };
        database.with_storage(write).await.unwrap();
        let reader = connect(&folder.join(DATABASE_FILE), CACHE_KIB).unwrap();
        reader.conn().execute_batch("BEGIN; SELECT * FROM t").unwrap();
        let log = || std::fs::metadata(folder.join("dynamodb.sqlite-wal")).map_or(0, |log| log.len());
        let settled = database.truncate_log();
        let leaves = async {
            database.with_storage(|_| Ok(())).await.unwrap(); // behind the first try
            assert!(log() > 0, "nobody is at it");
            reader.conn().execute_batch("COMMIT").unwrap();
        };
        futures::join!(settled, leaves);
        assert_eq!(log(), 0);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
