//! The embedded DynamoDB: dynoxide over a SQLite file.
//!
//! | file | what it is |
//! |---|---|
//! | [`engine`] | one thread that has the file, one request after the other |
//! | [`upkeep`] | a second thread: moves what SQLite's log has gathered into the file, deletes what has expired |
//! | [`expiry`] | what expired goes late |
//! | [`operations`] | DynamoDB's requests and answers as JSON, without a socket |
//! | [`together`], [`statement`] | batches in one transaction of SQLite |
//! | [`server`] | HTTP |
//! | [`tables`] | the template's tables |
//! | [`weather`] | throttled partitions, late indexes, conflicts, for tests that want them |
//!
//! What was acknowledged survives a `kill -9`: SQLite writes before it answers. It leaves the flush to the disk
//! to the system (`synchronous = NORMAL`): a flush a write is a limit of a few hundred writes a second, and a
//! power failure takes no more than the last moments, never the file.

pub mod engine;
pub mod expiry;
pub mod operations;
pub mod server;
mod statement;
pub mod tables;
mod together;
pub mod upkeep;
pub mod weather;

pub use engine::Database;
pub use tables::create_tables;

use thiserror::Error;

/// The database could not be opened, or a table not made.
#[derive(Debug, Error)]
#[error("embedded DynamoDB: {0}")]
pub struct DatabaseError(String);

fn failed(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError(error.to_string())
}
