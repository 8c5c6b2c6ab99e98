//! Transient faults within one store call must change neither its result nor what is stored.

use std::{collections::BTreeMap, fs, path::Path};

use dynoxide::Database;
use oahub_harness::{deployment::SimulatedDeployment, dynamo, faults::Fault};
use serde_json::Value;

use crate::{on_paused_time, operations};

const TABLES: [&str; 5] =
    ["PlatformTable", "CredentialsTable", "CustomersTable", "TimelineTable", "WorkTable"];
/// Attributes with random values, different in each run.
const RANDOM_ATTRIBUTES: [&str; 6] =
    ["asked_by", "authorized_by", "claimed_by", "push_asked_by", "window_used_by", "written_by"];

type TableContents = BTreeMap<(String, String, String), Value>;

fn table_contents(db: &Database) -> TableContents {
    let mut all = TableContents::new();
    for table in TABLES {
        for ((pk, sk), mut item) in dynamo::scan(db, table) {
            for name in RANDOM_ATTRIBUTES {
                if item.get(name).is_some_and(|who| who != "") {
                    item[name] = "somebody".into();
                }
            }
            all.insert((table.to_owned(), pk, sk), item);
        }
    }
    all
}

/// Runs an operation whose request containing `text` meets `fate`; returns its result and all stored items.
fn run(what: &str, text: &'static str, seed: u64, fate: Option<Fault>) -> (String, TableContents) {
    on_paused_time(async {
        let world = SimulatedDeployment::new(seed);
        world.create_tables().await;
        let app = world.services();
        operations::prepare(&app.store).await;
        if let Some(fate) = fate {
            world.backends.faults.inject_next(text, fate);
        }
        let answer = operations::perform(what, &app.store).await;
        assert!(
            fate.is_none() || world.backends.faults.was_injected(),
            "{what}: no request has {text:?} in it"
        );
        (answer, table_contents(&world.backends.db))
    })
}

/// The write succeeded, its response was lost, and the SDK retries it once or twice.
#[test]
fn an_answer_that_is_lost_changes_nothing() {
    assert_same_effect(Fault::SdkRetried);
}

/// A transaction conflicts, or a partition is throttled.
#[test]
fn a_refusal_that_passes_changes_nothing() {
    assert_same_effect(Fault::Refused);
}

fn assert_same_effect(fate: Fault) {
    let mut wrong = Vec::new();
    for (what, text) in operations::WRITES {
        for seed in 1..4 {
            let (calm, troubled) = (run(what, text, seed, None), run(what, text, seed, Some(fate)));
            if calm.0 != troubled.0 {
                wrong.push(format!("seed {seed}: {what} answers {} in place of {}", troubled.0, calm.0));
            }
            for (key, item) in &troubled.1 {
                let before = calm.1.get(key);
                if before != Some(item) {
                    wrong.push(format!("seed {seed}: {what} leaves {item} in place of {before:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every new write needs a row: its safety under retries cannot be seen by reading it.
#[test]
fn every_write_of_the_store_is_tried() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/src/store");
    let mut untried = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for function in text.split("pub async fn ").skip(1) {
            let name = function.split(['(', '<']).next().unwrap();
            let body = function.split("\n    }\n").next().unwrap();
            let writes = [
                "self.put(",
                ".put_if_absent(",
                "self.update(",
                "self.execute_statements(",
                "self.transact(",
                "self.update_import(",
                "self.delete_many(",
                "self.delete_if(",
            ];
            let tried = operations::WRITES.iter().any(|(what, _)| what.split(',').next() == Some(name));
            if writes.iter().any(|call| body.contains(call)) && !tried {
                untried.push(name.to_owned());
            }
        }
    }
    assert!(untried.is_empty(), "tests/store/operations.rs has no row for {untried:?}");
}
