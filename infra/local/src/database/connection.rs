//! Connections to the database's file; each thread needs its own.

use std::path::Path;

use dynoxide::storage::Storage;

use super::error::{DatabaseError, failed};

/// Prepared statements that SQLite caches: some for each table and index.
const CACHED_STATEMENTS: usize = 128;

/// Opens a connection to the file. Only [`super::checkpointer`] checkpoints the log:
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
