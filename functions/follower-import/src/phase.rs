//! Where an import stands, read from its record. The diagram of the states is at the head of `lib.rs`.

use shared::{
    model::import::{Import, ImportStatus},
    store::keys::CUSTOMER_SHARDS,
};

/// The state of an import, of which `status` is what its tenant sees.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ImportPhase<'a> {
    /// Pages are to be listed, or listed followers to be stored.
    Importing,
    /// Work remains, and no job may do it before the pause is over.
    Paused,
    /// Every listed follower is stored, but the list broke off, for this reason: some may be missing on it.
    Cut(&'a str),
    /// Every follower is stored; these shards are still to be searched for fans who left.
    Reconciling { open_shards: Vec<u32> },
    /// Nothing is left but to end it.
    Reconciled,
    /// It completed or failed.
    Ended,
}

/// Returns the state of `import`. One that needs no more jobs is not paused: it may end at once.
pub(crate) fn phase(import: &Import) -> ImportPhase<'_> {
    let has_ended = matches!(import.status, ImportStatus::Completed | ImportStatus::Failed);
    let is_paused = import.status == ImportStatus::Paused;
    let all_here = import.all_pages_imported();
    let open_shards: Vec<_> =
        (0..CUSTOMER_SHARDS).filter(|shard| !import.shards_done.contains(shard)).collect();
    match &import.listing_cut {
        _ if has_ended => ImportPhase::Ended,
        Some(why) if all_here => ImportPhase::Cut(why),
        None if all_here && open_shards.is_empty() => ImportPhase::Reconciled,
        _ if is_paused => ImportPhase::Paused,
        None if all_here => ImportPhase::Reconciling { open_shards },
        _ => ImportPhase::Importing,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Running, with both of its pages listed and stored, but for `members`.
    fn import(members: &Value) -> Import {
        let mut import = json!({
            "id": "imp_1", "app_id": "wx1", "tenant_id": "ten_1", "status": "running", "started_at": 1_000,
            "pages_listed": 2, "listing_done": true, "pages_done": {"0": 10_000, "1": 7},
        });
        import.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        serde_json::from_value(import).unwrap()
    }

    #[test]
    fn an_imports_record_says_where_it_stands() {
        let all_shards: Vec<_> = (0..CUSTOMER_SHARDS).collect();
        let all_but_two = || (0..CUSTOMER_SHARDS - 2).collect::<Vec<_>>();
        let two = vec![CUSTOMER_SHARDS - 2, CUSTOMER_SHARDS - 1];
        for (what, members, expected) in [
            ("just begun", json!({"pages_listed": 0, "listing_done": false}), ImportPhase::Importing),
            ("a page is not listed", json!({"listing_done": false}), ImportPhase::Importing),
            ("a page is not stored", json!({"pages_done": {"1": 7}}), ImportPhase::Importing),
            ("all are here", json!({}), ImportPhase::Reconciling { open_shards: all_shards.clone() }),
            (
                "two shards are left",
                json!({"shards_done": all_but_two()}),
                ImportPhase::Reconciling { open_shards: two },
            ),
            ("no shard is left", json!({"shards_done": all_shards}), ImportPhase::Reconciled),
            ("its list broke off", json!({"listing_cut": "short"}), ImportPhase::Cut("short")),
            (
                "the rest of it comes",
                json!({"listing_cut": "short", "pages_done": {}}),
                ImportPhase::Importing,
            ),
            ("paused at a page", json!({"status": "paused", "pages_done": {}}), ImportPhase::Paused),
            (
                "paused at a shard",
                json!({"status": "paused", "shards_done": all_but_two()}),
                ImportPhase::Paused,
            ),
            (
                "paused, no shard is left",
                json!({"status": "paused", "shards_done": all_shards}),
                ImportPhase::Reconciled,
            ),
            (
                "paused, its list broke off",
                json!({"status": "paused", "listing_cut": "short"}),
                ImportPhase::Cut("short"),
            ),
            ("completed", json!({"status": "completed"}), ImportPhase::Ended),
            ("failed", json!({"status": "failed", "listing_cut": "short"}), ImportPhase::Ended),
        ] {
            assert_eq!(phase(&import(&members)), expected, "{what}");
        }
    }
}
