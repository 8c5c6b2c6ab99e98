//! A snapshot file, so that a restarted platform still knows its tokens, grants and followers.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::simulator::Simulator;
use crate::state::World;

impl Simulator {
    /// Writes everything to a file that its owner alone can read, whole or not at all.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let bytes = {
            let mut world = self.world();
            world.dirty = false;
            serde_json::to_vec(&*world).map_err(io::Error::other)?
        };
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(&bytes)?;
        std::fs::rename(fresh, path)
    }

    /// Takes over what a file says; faults, the counts of calls and settings given since are gone.
    ///
    /// # Errors
    /// What the file system says, or that the file is no snapshot.
    pub fn load(&self, path: &Path) -> io::Result<()> {
        let world: World = serde_json::from_slice(&std::fs::read(path)?).map_err(io::Error::other)?;
        *self.world() = world;
        Ok(())
    }

    /// Loads the file if it exists, and keeps it up to date from now on: at once for tokens and grants, within
    /// a second of [`Simulator::run`] for chats.
    ///
    /// # Errors
    /// As [`Simulator::load`].
    pub fn keep_in(&self, path: impl Into<PathBuf>) -> io::Result<()> {
        let path = path.into();
        if path.exists() {
            self.load(&path)?;
        }
        *self.file() = Some(path);
        Ok(())
    }

    /// Saves, if there is a file to save to.
    pub(crate) fn save_now(&self) {
        let path = self.file().clone();
        let dirty = self.world().dirty;
        if let Some(path) = path.filter(|_| dirty)
            && let Err(error) = self.save(&path)
        {
            tracing::warn!(%error, "could not save the simulated platform");
        }
    }
}
