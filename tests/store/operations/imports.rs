//! Imports.

use oahub_tests::fixtures::{APP_ID, NEW_YEAR_2025, import};
use shared::{
    model::{import::ImportStatus, listed_page::ListedPage},
    store::{
        Store,
        imports::{ImportStart, ResumedBy},
    },
};

use super::insert_result;

pub const WRITES: &[(&str, &str)] = &[
    ("Imports::start", "TransactItems"),
    ("ImportProgress::store_page", "open_id_lines"),
    ("ImportProgress::count_page", "followers_listed"),
    ("ImportProgress::store_receipt", "chunk_0"),
    ("ImportProgress::mark_page_done", "pages_done"),
    ("ImportProgress::mark_shard_done", "shards_done"),
    ("ImportProgress::advance_shard", "shard_4_by"),
    ("ImportProgress::advance_shard, from where it stands", "shard_4_by"),
    ("Imports::record_requeue", "taken_up_by"),
    ("Imports::pause", "paused_until"),
    ("Imports::resume", "resumed_by"),
    ("Imports::end", "TransactItems"),
];

pub async fn perform(name: &str, what: &str, store: &Store) -> Option<String> {
    Some(match name {
        "Imports::start" => {
            store.imports().end(APP_ID, "imp_0", ImportStatus::Failed, None).await.unwrap();
            insert_result(matches!(
                store.imports().start(&import("imp_1", APP_ID, NEW_YEAR_2025)).await.unwrap(),
                ImportStart::New
            ))
        }
        "ImportProgress::store_page" => {
            let kept = store
                .import_progress()
                .store_page(&import("imp_0", APP_ID, NEW_YEAR_2025), 0, &page())
                .await
                .unwrap();
            let other = ListedPage { open_ids: vec!["o9".into()], ..page() };
            let again = store
                .import_progress()
                .store_page(&import("imp_0", APP_ID, NEW_YEAR_2025), 0, &other)
                .await
                .unwrap();
            format!("{:?}, {:?}", kept.open_ids, again.open_ids)
        }
        "ImportProgress::count_page" => {
            let counted = store
                .import_progress()
                .count_page(&import("imp_0", APP_ID, NEW_YEAR_2025), 0, &page(), "job")
                .await
                .unwrap();
            format!("{} listed on {} pages", counted.followers_listed, counted.pages_listed)
        }
        "ImportProgress::store_receipt" => {
            format!("{:?}", store.import_progress().store_receipt("imp_0", 0, 0, 100).await.unwrap())
        }
        "ImportProgress::mark_page_done" => {
            format!(
                "{:?}",
                store.import_progress().mark_page_done(APP_ID, "imp_0", 0, 2).await.unwrap().pages_done
            )
        }
        "ImportProgress::mark_shard_done" => {
            format!(
                "{:?}",
                store.import_progress().mark_shard_done(APP_ID, "imp_0", 3).await.unwrap().shards_done
            )
        }
        "ImportProgress::advance_shard" => {
            let at = |from, to, by| {
                let import = import("imp_0", APP_ID, NEW_YEAR_2025);
                async move { store.import_progress().advance_shard(&import, 4, from, to, by).await.unwrap() }
            };
            let from = what.contains("stands").then_some("cus_1");
            let ours = at(from, "cus_2", "job").await;
            let others = at(from, "cus_2", "other").await;
            let place =
                store.import_progress().shard_progress(APP_ID, "imp_0").await.unwrap().remove(&4).unwrap();
            format!("{ours}, {others}, {place:?}")
        }
        "Imports::record_requeue" => {
            let ours =
                store.imports().record_requeue(&import("imp_0", APP_ID, NEW_YEAR_2025), "job").await.unwrap();
            let others = store
                .imports()
                .record_requeue(&import("imp_0", APP_ID, NEW_YEAR_2025), "other")
                .await
                .unwrap();
            format!("{ours}, {others}")
        }
        "Imports::pause" => {
            insert_result(store.imports().pause(APP_ID, "imp_0", NEW_YEAR_2025 + 600, "quota").await.unwrap())
        }
        "Imports::resume" => {
            store.imports().pause(APP_ID, "imp_0", NEW_YEAR_2025 + 600, "quota").await.unwrap();
            insert_result(store.imports().resume(APP_ID, "imp_0", ResumedBy::Job("job")).await.unwrap())
        }
        "Imports::end" => {
            let ended = store.imports().end(APP_ID, "imp_0", ImportStatus::Completed, None).await.unwrap();
            format!("{ended}, {}", store.imports().running(APP_ID).await.unwrap().is_none())
        }
        _ => return None,
    })
}

fn page() -> ListedPage {
    ListedPage { open_ids: vec!["o1".into(), "o2".into()], next_cursor: None, total: 2, cut: None }
}
