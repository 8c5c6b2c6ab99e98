//! Why the system did not start.

use std::io;

use shared::{config::ConfigError, random::RandomnessError};
use thiserror::Error;

use crate::{
    data_folder::DataFolderError, database::error::DatabaseError, listen::ListenError,
    template::TemplateError,
};

/// Why the system did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// An address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The machine.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// A file or a port.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}
