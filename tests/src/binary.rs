//! Finds the programs to test. Cargo tells tests only of their own package's binaries; others are expected
//! where `cargo test --workspace` puts them, and built if they are missing or older than their sources.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::SystemTime,
};

/// The packages whose `bootstrap-…` Lambda runs.
pub const FUNCTIONS: [&str; 6] = [
    "authorization-callback",
    "follower-import",
    "message-callback",
    "message-send",
    "tenant-api",
    "token-refresh",
];

/// If `release`, tests use functions built as for a deployment instead of in the tests' own profile.
const PROFILE_VARIABLE: &str = "OAHUB_TEST_PROFILE";
/// The folder whose `.cargo/config.toml` configures a deployment's build.
const FUNCTIONS_FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../functions");

static OAHUB: LazyLock<PathBuf> = LazyLock::new(|| {
    let profile = tests_directory();
    let binary = profile.join(format!("oahub{}", std::env::consts::EXE_SUFFIX));
    if is_stale(&binary) {
        build(&profile, env!("CARGO_MANIFEST_DIR"), &["--package", "oahub-local", "--bin", "oahub"]);
    }
    assert!(binary.is_file(), "{} was not built", binary.display());
    binary
});

static TEST_PROFILE_FUNCTIONS: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = tests_directory();
    if any_is_stale(&directory) {
        // same packages as for the tests, so that cargo resolves the same features and reuses the build
        build(&directory, env!("CARGO_MANIFEST_DIR"), &["--bins", "--workspace", "--tests"]);
    }
    directory
});

static RELEASE_FUNCTIONS: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = release_directory();
    if any_is_stale(&directory) {
        build(&directory, FUNCTIONS_FOLDER, &package_arguments(&FUNCTIONS));
    }
    directory
});

/// The program `oahub`, up to date.
#[must_use]
pub fn oahub() -> &'static Path {
    &OAHUB
}

/// The directory of what Lambda runs, up to date.
#[must_use]
pub fn functions() -> &'static Path {
    #[expect(clippy::disallowed_methods, reason = "a setting of the tests")]
    match std::env::var(PROFILE_VARIABLE).as_deref() {
        Ok("release") => release_functions(),
        Ok(other) => panic!("{PROFILE_VARIABLE} is {other:?}; it must be `release`, or not be set"),
        Err(_) => &TEST_PROFILE_FUNCTIONS,
    }
}

/// The directory of what Lambda runs, built as for a deployment, up to date.
#[must_use]
pub fn release_functions() -> &'static Path {
    &RELEASE_FUNCTIONS
}

fn release_directory() -> PathBuf {
    tests_directory().parent().unwrap().join("functions/release")
}

/// What Lambda runs for a function's package.
#[must_use]
pub fn bootstrap(functions: &Path, function: &str) -> PathBuf {
    let binary = functions.join(format!("bootstrap-{function}"));
    assert!(binary.is_file(), "{} was not built", binary.display());
    binary
}

/// The baseline function of the benchmarks; always built.
#[must_use]
pub fn floor() -> PathBuf {
    // built with the functions: alone, its dependencies would get other features and a second build
    build(&release_directory(), FUNCTIONS_FOLDER, &package_arguments(&[&FUNCTIONS[..], &["floor"]].concat()));
    release_directory().join("bootstrap-floor")
}

/// The program `oahub-functions` of this package, which cargo builds with its tests.
#[must_use]
pub fn oahub_functions() -> PathBuf {
    tests_directory().join("oahub-functions")
}

/// `target/debug` or its like: tests lie in its `deps`, this package's programs in itself.
fn tests_directory() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let directory = test.parent().unwrap();
    if directory.ends_with("deps") { directory.parent().unwrap() } else { directory }.to_owned()
}

fn package_arguments<'n>(names: &[&'n str]) -> Vec<&'n str> {
    names.iter().flat_map(|name| ["--package", name]).collect()
}

fn any_is_stale(directory: &Path) -> bool {
    FUNCTIONS.iter().any(|function| is_stale(&directory.join(format!("bootstrap-{function}"))))
}

/// Cargo writes the list of all sources beside the binary.
fn is_stale(binary: &Path) -> bool {
    let Some(built) = modified(binary) else { return true };
    let Ok(list) = std::fs::read_to_string(binary.with_extension("d")) else { return true };
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources).replace("\\ ", "\0");
    sources.split_whitespace().any(|source| {
        // a missing source was moved or removed: stale
        modified(Path::new(&source.replace('\0', " "))).is_none_or(|changed| changed > built)
    })
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|m| m.modified()).ok()
}

/// Builds into `profile`, with the configuration of cargo that holds in `folder`.
fn build(profile: &Path, folder: &str, what: &[&str]) {
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(env!("CARGO"));
    // these variables of `cargo test` would rerun build scripts that read them, and rebuild their dependents
    let is_from_cargo =
        |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|p| name.starts_with(p));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_from_cargo)) {
        cargo.env_remove(name);
    }
    cargo.arg("build").args(what).args(["--profile", name]);
    cargo.arg("--target-dir").arg(profile.parent().unwrap()).current_dir(folder);
    assert!(cargo.status().unwrap().success(), "{what:?} does not build");
}
