//! Transient faults within one store call must change neither its result nor what is stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

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
    for (what, text) in operations::writes() {
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

/// A function of the store's files.
struct Function {
    /// The handle that has it; empty for one that stands alone.
    handle: String,
    name: String,
    is_public: bool,
    /// Without blanks, since a chain of calls may be broken anywhere.
    body: String,
}

impl Function {
    fn row(&self) -> String {
        format!("{}::{}", self.handle, self.name)
    }

    fn calls(&self, other: &Self) -> bool {
        if other.handle.is_empty() {
            return self.body.contains(&format!("{}(self.db,", other.name));
        }
        self.handle == other.handle && self.body.contains(&format!("self.{}(", other.name))
    }
}

/// The asynchronous functions of the store's files, by reading them.
fn functions() -> Vec<Function> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/src/store");
    let mut all = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() || path.ends_with("dynamo.rs") {
            continue; // knows no noun
        }
        let text = fs::read_to_string(path).unwrap();
        for (at, _) in text.match_indices("async fn ") {
            let inside = text[..at].ends_with("    ") || text[..at].ends_with("    pub ");
            let block = text[..at].rfind("\nimpl").filter(|_| inside).map(|begin| &text[begin..at]);
            let handle = block.and_then(|block| block.split('{').next()?.split_whitespace().last());
            let handle = handle.map_or("", |handle| handle.split('<').next().unwrap());
            let rest = &text[at + "async fn ".len()..];
            let end = if inside { "\n    }\n" } else { "\n}\n" };
            all.push(Function {
                handle: handle.to_owned(),
                name: rest.split(['(', '<']).next().unwrap().to_owned(),
                is_public: text[..at].ends_with("pub "),
                body: rest.split(end).next().unwrap().split_whitespace().collect(),
            });
        }
    }
    all
}

/// Every new write needs a row: its safety under retries cannot be seen by reading it.
#[test]
fn every_write_of_the_store_is_tried() {
    let calls = [
        "db.put(",
        "db.put_if_absent(",
        "db.update(",
        "db.execute_statements(",
        "db.transact(",
        "db.delete_many(",
        "db.delete_if(",
    ];
    let all = functions();
    let writes_itself = |function: &Function| calls.iter().any(|call| function.body.contains(call));
    let mut writes: Vec<bool> = all.iter().map(writes_itself).collect();
    // a function writes too that calls one which does
    while let Some(found) = (0..all.len()).find(|this| {
        !writes[*this] && (0..all.len()).any(|other| writes[other] && all[*this].calls(&all[other]))
    }) {
        writes[found] = true;
    }
    let writes = all.iter().zip(writes).filter(|(function, writes)| *writes && function.is_public);
    let writes: BTreeSet<String> = writes.map(|(function, _)| function.row()).collect();
    let row = |(what, _): (&str, _)| what.split(',').next().unwrap().to_owned();
    let tried: BTreeSet<String> = operations::writes().map(row).collect();
    assert_eq!(writes, tried, "left: what the store writes; right: the rows of tests/store/operations");
}
