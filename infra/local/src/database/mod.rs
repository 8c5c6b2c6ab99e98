//! The embedded DynamoDB: dynoxide over a SQLite file.
//!
//! | file | what it is |
//! |---|---|
//! | here | [`Database`]: requests, with injected faults if a test wants them |
//! | [`storage_thread`], `connection` | one thread that owns the file and runs one request after the other |
//! | [`checkpointer`] | a second thread: checkpoints SQLite's log, deletes expired items |
//! | [`expiry`] | deletion of expired items, as late as DynamoDB's |
//! | [`operations`] | DynamoDB's requests and responses as JSON, without a socket |
//! | [`batch_transaction`], [`partiql`] | batches in one transaction of SQLite |
//! | [`server`] | HTTP |
//! | [`tables`] | the template's tables |
//! | [`fault_injection`] | throttled partitions, late indexes, conflicts |
//!
//! Acknowledged writes survive a `kill -9`: SQLite writes before it answers. It leaves the flush to the disk
//! to the system (`synchronous = NORMAL`): a flush per write allows only a few hundred writes a second, and
//! a power failure loses only the last moments and never corrupts the file.

mod batch_transaction;
pub mod checkpointer;
mod connection;
pub mod error;
pub mod expiry;
pub mod fault_injection;
pub mod operations;
mod partiql;
pub mod server;
pub mod storage_thread;
pub mod tables;

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use error::DatabaseError;
use fault_injection::FaultInjector;
use storage_thread::StorageThread;

/// The embedded database. Clones share it.
#[derive(Clone)]
pub struct Database {
    storage: StorageThread,
    fault_injector: Arc<OnceLock<FaultInjector>>,
}

impl Database {
    /// Opens the database in `dir`, which must exist. It is closed when the last clone is dropped.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(dir: &Path) -> Result<Self, DatabaseError> {
        Ok(Self { storage: StorageThread::start(dir)?, fault_injector: Arc::default() })
    }

    /// Injects faults into requests from now on. A second injector is ignored.
    pub fn inject_faults(&self, injector: FaultInjector) {
        let _ = self.fault_injector.set(injector);
    }

    /// Handles one request; returns HTTP status and body. `operation` is without its prefix: `PutItem`.
    pub async fn call(&self, operation: &str, body: &[u8]) -> (u16, String) {
        tracing::debug!(operation, "request");
        match self.fault_injector.get() {
            Some(injector) => injector.call(&self.storage, operation, body).await,
            None => operations::call(&self.storage, operation, body).await,
        }
    }

    /// After all earlier requests, checkpoints and truncates SQLite's log, so that a stopped database has no log.
    pub async fn truncate_log(&self) {
        self.storage.truncate_log().await;
    }
}
