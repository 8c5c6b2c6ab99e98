//! The database's own error.

use std::fmt;

use thiserror::Error;

/// The database could not be opened, or a table not made.
#[derive(Debug, Error)]
#[error("embedded DynamoDB: {0}")]
pub struct DatabaseError(pub(super) String);

pub(super) fn failed(error: impl fmt::Display) -> DatabaseError {
    DatabaseError(error.to_string())
}
