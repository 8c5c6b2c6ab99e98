//! The embedded DynamoDB: dynoxide over a SQLite file.
//!
//! | file | what it is |
//! |---|---|
//! | [`storage_thread`] | one thread that owns the file and runs one request after the other |
//! | [`checkpointer`] | a second thread: checkpoints SQLite's log, deletes expired items |
//! | [`expiry`] | deletion of expired items, as late as DynamoDB's |
//! | [`operations`] | DynamoDB's requests and responses as JSON, without a socket |
//! | [`batch_transaction`], [`partiql`] | batches in one transaction of SQLite |
//! | [`server`] | HTTP |
//! | [`tables`] | the template's tables |
//! | [`fault_injection`] | throttled partitions, late indexes, conflicts, for tests that want them |
//!
//! Acknowledged writes survive a `kill -9`: SQLite writes before it answers. It leaves the flush to the disk
//! to the system (`synchronous = NORMAL`): a flush per write allows only a few hundred writes a second, and
//! a power failure loses only the last moments and never corrupts the file.

mod batch_transaction;
pub mod checkpointer;
pub mod expiry;
pub mod fault_injection;
pub mod operations;
mod partiql;
pub mod server;
pub mod storage_thread;
pub mod tables;

pub use storage_thread::Database;
pub use tables::create_tables;

use thiserror::Error;

/// The database could not be opened, or a table not made.
#[derive(Debug, Error)]
#[error("embedded DynamoDB: {0}")]
pub struct DatabaseError(String);

fn failed(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError(error.to_string())
}
