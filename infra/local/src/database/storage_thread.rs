//! One thread owns the database: SQLite blocks, and serializes writes anyway. JSON is parsed and WeChat
//! is waited for on other threads.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::mpsc,
    time::Duration,
};

use dynoxide::{DynoxideError, storage::Storage};
use tokio::sync::oneshot;

use super::{
    checkpointer::{self, Checkpointer},
    connection::connect,
    error::{DatabaseError, failed},
};

/// The database's file in its directory.
const DATABASE_FILE: &str = "dynamodb.sqlite";
/// SQLite's page cache, KiB: the indexes of many followers are read again and again.
const CACHE_KIB: u32 = 8 * 1024;

/// How often truncating the log at the end is tried, and the pause between two tries: a second in all.
const TRUNCATE_TRIES: u32 = 50;
const TRUNCATE_RETRY_PAUSE: Duration = Duration::from_millis(20);

type StorageTask = Box<dyn FnOnce(&Storage) + Send>;

/// The thread's handle. The thread ends when the last clone is dropped.
#[derive(Clone)]
pub struct StorageThread(mpsc::Sender<StorageTask>);

impl StorageThread {
    /// Opens the database in `dir`, which must exist.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(super) fn start(dir: &Path) -> Result<Self, DatabaseError> {
        let path = dir.join(DATABASE_FILE);
        let storage = connect(&path, CACHE_KIB)?;
        let upkeep = checkpointer::start(&path)?;
        let (jobs, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new().name("dynamodb".into());
        thread.spawn(move || run_tasks(&storage, &waiting, &upkeep)).map_err(failed)?;
        Ok(Self(jobs))
    }

    /// After all earlier requests, checkpoints and truncates SQLite's log, so that a stopped database has no log.
    pub(super) async fn truncate_log(&self) {
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
        self.0.send(job).map_err(|_| gone())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_log_is_cut_at_the_end_though_somebody_is_at_it_just_then() {
        let folder = std::env::temp_dir().join(format!("oahub-engine-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let database = StorageThread::start(&folder).unwrap();
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
