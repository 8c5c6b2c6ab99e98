//! Where `oahub` is. Cargo tells tests only about binaries of their own package, so it is looked for where
//! `cargo test --workspace` puts it, and built where it is missing or older than its sources.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::SystemTime,
};

static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let profile = profile_directory();
    let binary = profile.join(format!("oahub{}", std::env::consts::EXE_SUFFIX));
    if is_stale(&binary) {
        build(&profile);
    }
    assert!(binary.is_file(), "{} was not built", binary.display());
    binary
});

/// The program, up to date.
#[must_use]
pub fn path() -> &'static Path {
    &BINARY
}

/// `target/debug` or its like: tests lie in its `deps`.
fn profile_directory() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

/// Cargo writes the list of all sources beside the binary.
fn is_stale(binary: &Path) -> bool {
    let Some(built) = modified(binary) else { return true };
    let Ok(list) = std::fs::read_to_string(binary.with_extension("d")) else { return true };
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources).replace("\\ ", "\0");
    sources.split_whitespace().any(|source| {
        // one that is gone was moved or removed
        modified(Path::new(&source.replace('\0', " "))).is_none_or(|changed| changed > built)
    })
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|m| m.modified()).ok()
}

fn build(profile: &Path) {
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--package", "oahub-local", "--bin", "oahub", "--profile", name]);
    cargo.arg("--target-dir").arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(cargo.status().unwrap().success(), "oahub does not build");
}
