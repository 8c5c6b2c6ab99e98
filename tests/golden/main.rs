//! Every release reads what earlier ones stored: an example of each item family and queued job, as each
//! release wrote it. CONTRIBUTING.md says how to change a stored shape.
//!
//! `UPDATE_GOLDEN=1` rewrites the examples of the unreleased version. Those of a release never change.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod health_checks;
mod items;
mod jobs;
mod sizes;
mod tables;

use std::{fs, path::PathBuf};

use serde_json::Value;

/// What the next release writes.
const UNRELEASED: &str = "unreleased";

/// `(release, its examples)`, of `items` or `jobs`.
fn releases(kind: &str) -> Vec<(String, Value)> {
    let mut found: Vec<_> = fs::read_dir(folder(kind))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let release = path.file_stem().unwrap().to_string_lossy().into_owned();
            (release, serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())
        })
        .collect();
    found.sort_by(|a: &(String, Value), b| a.0.cmp(&b.0));
    assert!(found.iter().any(|(release, _)| release == "0.1"), "the first release's examples are gone");
    found
}

fn folder(kind: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(kind)
}

/// Compares what is written today with the examples of the unreleased version.
#[expect(clippy::disallowed_methods, reason = "how a person steers the test, not a setting of the hub")]
fn compare_with_golden(kind: &str, today: &Value) {
    let path = folder(kind).join(format!("{UNRELEASED}.json"));
    let text = serde_json::to_string_pretty(today).unwrap() + "\n";
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        fs::write(&path, text).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(text.lines()).find(|(a, b)| a != b);
    assert!(
        kept == text,
        "{} is not what is written today: {differs:?}. If the shape changes on purpose, read \"Changing what is \
         stored\" in CONTRIBUTING.md, then UPDATE_GOLDEN=1 cargo test -p oahub-tests --test golden",
        path.display()
    );
}

fn on_paused_time<T>(what: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(what)
}
