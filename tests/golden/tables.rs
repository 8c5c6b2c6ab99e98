//! CloudFormation's update of the last release's tables: one with changed keys or local indexes is replaced
//! by an empty one, and the old one is retained; an update creates or deletes at most one global index.

use std::collections::BTreeMap;

use local::template::{self, IndexSpec, TableSpec};
use serde_json::{Value, json};

use crate::{UNRELEASED, compare_with_golden, releases};

/// Tables that the next release replaces; each must be announced in CHANGELOG.md.
const REPLACED_TABLES: [&str; 1] = ["TimelineTable"];

/// What an update from `before` to `after` does: replaced tables, and what CloudFormation refuses.
fn plan_update(before: &Value, after: &Value) -> (Vec<String>, Vec<String>) {
    let (mut anew, mut refused) = (Vec::new(), Vec::new());
    for (name, old) in before.as_object().unwrap() {
        let new = &after[name];
        if new.is_null() {
            refused.push(format!("{name} is gone, and with it what it holds"));
        } else if old["key"] != new["key"] || old["local"] != new["local"] {
            anew.push(name.clone());
        } else {
            let [old, new] = [old, new].map(|table| table["global"].as_object().unwrap());
            let gone = old.iter().filter(|(index, shape)| new.get(*index) != Some(shape)).count();
            let made = new.iter().filter(|(index, shape)| old.get(*index) != Some(shape)).count();
            if gone + made > 1 {
                refused.push(format!("{name} gets or loses {} global indexes in one update", gone + made));
            }
        }
    }
    (anew, refused)
}

fn shape(table: &TableSpec) -> Value {
    let keys = |keys: &[(String, String)]| -> String {
        let each = keys.iter().map(|(name, kind)| format!("{name} {} {kind}", table.attributes[name]));
        each.collect::<Vec<_>>().join(", ")
    };
    let indexes = |global: bool| -> BTreeMap<&str, String> {
        let each = table.indexes.iter().filter(|index| index.global == global);
        each.map(|index: &IndexSpec| (&*index.name, format!("{}, {}", keys(&index.key), index.projection)))
            .collect()
    };
    json!({"key": keys(&table.key), "local": indexes(false), "global": indexes(true)})
}

#[test]
fn an_update_keeps_every_table_but_those_that_the_changelog_names() {
    let tables = template::parse(template::TEMPLATE).unwrap().tables;
    let now: BTreeMap<_, _> = tables.iter().map(|table| (table.name.clone(), shape(table))).collect();
    compare_with_golden("tables", &json!(now));
    let (release, before) = releases("tables").into_iter().rfind(|(name, _)| name != UNRELEASED).unwrap();
    let (anew, refused) = plan_update(&before, &json!(now));
    assert_eq!(anew, REPLACED_TABLES, "made anew and empty by an update from {release}");
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn what_an_update_does_is_seen() {
    let table =
        |key: &str, local: Value, global: Value| json!({"T": {"key": key, "local": local, "global": global}});
    let before = table("pk S HASH", json!({}), json!({"a": "x S HASH, ALL"}));
    for (what, after, anew, refused) in [
        ("nothing", before.clone(), 0, 0),
        ("another key", table("id S HASH", json!({}), json!({"a": "x S HASH, ALL"})), 1, 0),
        ("another type of it", table("pk N HASH", json!({}), json!({"a": "x S HASH, ALL"})), 1, 0),
        (
            "a local index",
            table("pk S HASH", json!({"l": "pk S HASH, ALL"}), json!({"a": "x S HASH, ALL"})),
            1,
            0,
        ),
        (
            "one global index more",
            table("pk S HASH", json!({}), json!({"a": "x S HASH, ALL", "b": "y"})),
            0,
            0,
        ),
        ("none any more", table("pk S HASH", json!({}), json!({})), 0, 0),
        ("another in its place", table("pk S HASH", json!({}), json!({"b": "y S HASH, ALL"})), 0, 1),
        ("the same changed", table("pk S HASH", json!({}), json!({"a": "x S HASH, KEYS_ONLY"})), 0, 1),
        ("no table", json!({}), 0, 1),
    ] {
        let (made, wrong) = plan_update(&before, &after);
        assert_eq!((made.len(), wrong.len()), (anew, refused), "{what}: {made:?} {wrong:?}");
    }
}
