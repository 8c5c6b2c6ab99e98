//! A snapshot file, so that a restarted simulator still knows its tokens, authorizations and followers.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::simulator::Simulator;
use crate::state::WeChatState;

impl Simulator {
    /// Writes the state atomically to a file that only its owner can read.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let bytes = {
            let mut state = self.state();
            state.dirty = false;
            serde_json::to_vec(&*state).map_err(io::Error::other)?
        };
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(&bytes)?;
        std::fs::rename(fresh, path)
    }

    /// Replaces the state with a snapshot; faults, call counts and later settings are lost.
    ///
    /// # Errors
    /// What the file system reports, or that the file is not a snapshot.
    pub fn load(&self, path: &Path) -> io::Result<()> {
        let state: WeChatState = serde_json::from_slice(&std::fs::read(path)?).map_err(io::Error::other)?;
        *self.state() = state;
        Ok(())
    }

    /// Loads the file if it exists and keeps it up to date from now on: tokens and authorizations at once,
    /// chats within a second of [`Simulator::run`].
    ///
    /// # Errors
    /// As [`Simulator::load`].
    pub fn persist_to(&self, path: impl Into<PathBuf>) -> io::Result<()> {
        let path = path.into();
        if path.exists() {
            self.load(&path)?;
        }
        *self.snapshot_path() = Some(path);
        Ok(())
    }

    /// Saves if a snapshot file was set.
    pub(crate) fn save_now(&self) {
        let path = self.snapshot_path().clone();
        let dirty = self.state().dirty;
        if let Some(path) = path.filter(|_| dirty)
            && let Err(error) = self.save(&path)
        {
            tracing::warn!(%error, "could not save the simulated platform");
        }
    }
}
