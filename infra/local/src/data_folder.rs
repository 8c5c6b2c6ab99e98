//! The folder of `--data`. Only the operating system's user who owns it can read it. It records which WeChat and which
//! platform it was made for: if it were opened for another, tokens would be refreshed at the wrong WeChat,
//! and accounts would be unbound.

use std::{
    fs::{DirBuilder, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::options::WeChatMode;

/// Records the WeChat and the platform.
const STAMP_FILE: &str = "oahub.json";
/// The simulated WeChat's file: folders of 0.1 have no stamp, and this tells theirs apart.
pub const WECHAT_FILE: &str = "wechat.json";
/// All files that oahub keeps in the folder.
const OWN_FILES: [&str; 7] = [
    STAMP_FILE,
    WECHAT_FILE,
    "dynamodb.sqlite",
    "dynamodb.sqlite-wal",
    "dynamodb.sqlite-shm",
    "sqs.journal",
    "sqs.lock",
];
/// Only the owner may read and write.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Why a folder cannot be used.
#[derive(Debug, Error)]
pub enum DataFolderError {
    /// It was made for another WeChat or another platform.
    #[error(
        "{folder} was made for --wechat {made} and the platform {platform}: start it so, or choose another folder with --data"
    )]
    MadeForAnother {
        /// Which.
        folder: PathBuf,
        /// `simulated` or `live`.
        made: String,
        /// The component's app id.
        platform: String,
    },
    /// What the system says.
    #[error("data folder {folder}: {error}")]
    Io {
        /// Which.
        folder: PathBuf,
        /// What.
        error: io::Error,
    },
}

/// A folder that was made for this WeChat and this platform.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    is_new: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    wechat: String,
    component_app_id: String,
}

impl DataFolder {
    /// Opens one for a WeChat and a platform, or makes it.
    ///
    /// # Errors
    /// It was made for another, or cannot be used.
    pub fn open(path: &Path, wechat: WeChatMode, component_app_id: &str) -> Result<Self, DataFolderError> {
        let io = |error| DataFolderError::Io { folder: path.to_owned(), error };
        let ours =
            Stamp { wechat: wechat.as_str().to_owned(), component_app_id: component_app_id.to_owned() };
        let made_now = !path.exists();
        if made_now {
            DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(io)?;
        }
        let folder = Self { path: path.to_owned(), is_new: made_now };
        match folder.read_stamp().map_err(io)? {
            Some(stamp) if stamp == ours => {}
            // made by 0.1, which did not record the platform
            Some(stamp) if stamp.component_app_id.is_empty() && stamp.wechat == ours.wechat => {}
            Some(Stamp { wechat: made, component_app_id }) => {
                let unknown = || "that it was first started with".to_owned();
                let platform = Some(component_app_id).filter(|id| !id.is_empty()).unwrap_or_else(unknown);
                return Err(DataFolderError::MadeForAnother { folder: path.to_owned(), made, platform });
            }
            None => {}
        }
        folder.restrict_to_owner().map_err(io)?;
        folder.write_stamp(&ours).map_err(io)?;
        Ok(folder)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder after a failed start, if this start created it.
    pub fn remove_if_new(self) {
        if self.is_new
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, "{} stays behind: {error}", self.path.display());
        }
    }

    fn read_stamp(&self) -> io::Result<Option<Stamp>> {
        match std::fs::read(self.path.join(STAMP_FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let wechat = if self.path.join(WECHAT_FILE).exists() {
                    WeChatMode::Simulated
                } else {
                    WeChatMode::Live
                };
                let old = self.path.join("dynamodb.sqlite").exists();
                Ok(old.then(|| Stamp { wechat: wechat.as_str().to_owned(), component_app_id: String::new() }))
            }
            Err(error) => Err(error),
        }
    }

    /// SQLite gives its log the permissions of the database file, so the database file is created here,
    /// empty. A folder that holds files of others keeps its permissions.
    fn restrict_to_owner(&self) -> io::Result<()> {
        let mut names = std::fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name()));
        let only_ours = names.try_fold(true, |all, name: io::Result<_>| {
            let name = name?;
            io::Result::Ok(all && OWN_FILES.iter().any(|file| name.to_string_lossy().starts_with(file)))
        })?;
        if only_ours {
            std::fs::set_permissions(&self.path, Permissions::from_mode(FOLDER_MODE))?;
        }
        create_private_file(&self.path.join("dynamodb.sqlite"))?;
        for file in OWN_FILES {
            let path = self.path.join(file);
            if path.exists() {
                std::fs::set_permissions(&path, Permissions::from_mode(FILE_MODE))?;
            }
        }
        Ok(())
    }

    fn write_stamp(&self, stamp: &Stamp) -> io::Result<()> {
        let fresh = self.path.join("oahub.json.new");
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(FILE_MODE).open(&fresh)?;
        file.write_all(&serde_json::to_vec(stamp).map_err(io::Error::other)?)?;
        std::fs::rename(fresh, self.path.join(STAMP_FILE))
    }
}

/// Creates a file that only its owner can read, unless it exists.
fn create_private_file(path: &Path) -> io::Result<()> {
    match OpenOptions::new().create_new(true).write(true).mode(FILE_MODE).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary_path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("oahub-folder-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path); // there may be none
        path
    }

    fn mode_of(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_folder_is_for_one_wechat_and_one_platform() {
        let path = temporary_path("one");
        DataFolder::open(&path, WeChatMode::Live, "wx1").unwrap();
        for (what, wechat, platform, fits) in [
            ("the same", WeChatMode::Live, "wx1", true),
            ("another platform", WeChatMode::Live, "wx2", false),
            ("the simulated WeChat", WeChatMode::Simulated, "wx1", false),
            ("the same again", WeChatMode::Live, "wx1", true),
        ] {
            let opened =
                DataFolder::open(&path, wechat, platform).map(drop).map_err(|error| error.to_string());
            assert_eq!(opened.is_ok(), fits, "{what}: {opened:?}");
            let said = opened.err().unwrap_or_default();
            assert!(fits || (said.contains("--wechat live") && said.contains("wx1")), "{what}: {said}");
        }
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_folder_of_the_release_before_is_told_by_what_is_in_it() {
        for (what, files, made) in [
            ("simulated", &["dynamodb.sqlite", WECHAT_FILE][..], WeChatMode::Simulated),
            ("live", &["dynamodb.sqlite"], WeChatMode::Live),
        ] {
            let path = temporary_path("before");
            std::fs::create_dir_all(&path).unwrap();
            files.iter().for_each(|file| std::fs::write(path.join(file), "").unwrap());
            let other = if made == WeChatMode::Live { WeChatMode::Simulated } else { WeChatMode::Live };
            assert!(DataFolder::open(&path, other, "wx1").is_err(), "{what}");
            DataFolder::open(&path, made, "wx1").unwrap();
            assert!(DataFolder::open(&path, made, "wx2").is_err(), "{what}: it remembers from now on");
            std::fs::remove_dir_all(path).unwrap();
        }
    }

    #[test]
    fn nobody_else_can_read_it() {
        let path = temporary_path("private");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("dynamodb.sqlite-wal"), "").unwrap();
        std::fs::set_permissions(path.join("dynamodb.sqlite-wal"), Permissions::from_mode(0o644)).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        DataFolder::open(&path, WeChatMode::Live, "wx1").unwrap();
        for file in ["", STAMP_FILE, "dynamodb.sqlite", "dynamodb.sqlite-wal"] {
            assert_eq!(mode_of(&path.join(file)) & 0o077, 0, "{file:?}");
        }
        std::fs::remove_dir_all(&path).unwrap();

        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("holiday.jpg"), "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        DataFolder::open(&path, WeChatMode::Live, "wx1").unwrap();
        assert_eq!(mode_of(&path), 0o755, "a folder with other things in it keeps its rights");
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_start_that_failed_leaves_no_folder_of_its_own() {
        let path = temporary_path("undo");
        DataFolder::open(&path, WeChatMode::Live, "wx1").unwrap().remove_if_new();
        assert!(!path.exists());
        std::fs::create_dir_all(&path).unwrap();
        DataFolder::open(&path, WeChatMode::Live, "wx1").unwrap().remove_if_new();
        assert!(path.exists(), "one that was there stays");
        std::fs::remove_dir_all(&path).unwrap();
    }
}
