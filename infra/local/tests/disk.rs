//! What the local database leaves on the disk.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as the tests do")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use local::database::Database;
use serde_json::{Value, json};

/// As much as an import of many followers writes: more than the log may ever be long.
const ITEMS: usize = 60_000;
/// Batches after which the log must restart before more is written, some 50 MB: the checkpointing thread checks
/// twice a second, and on a busy machine writes may outpace it.
const BATCHES_PER_LOG: usize = 400;
/// Far longer than anything takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("disk-{name}"));
    let _ = std::fs::remove_dir_all(&folder); // there may be none
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn log_bytes(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("dynamodb.sqlite-wal")).map(|log| log.len()).unwrap_or(0)
}

/// How often the log restarted.
///
/// # Source
/// SQLite's file format, 4.1: the number of the checkpoint is at byte 12 of the log's header.
fn log_restarts(folder: &Path) -> Option<u32> {
    let header = std::fs::read(folder.join("dynamodb.sqlite-wal")).ok()?;
    Some(u32::from_be_bytes(header.get(12..16)?.try_into().ok()?))
}

async fn wait_until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let seen = async {
        while !look().await {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    assert!(tokio::time::timeout(TIMEOUT, seen).await.is_ok(), "{what}");
}

async fn call_ok(database: &Database, operation: &str, request: Value) {
    let (status, answer) = database.call(operation, request.to_string().as_bytes()).await;
    assert_eq!(status, 200, "{answer}");
}

/// Creates a table with many items; returns the greatest length of the log.
async fn write_items(database: &Database, folder: &Path) -> u64 {
    let table = json!({
        "TableName": "Table", "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    });
    call_ok(database, "CreateTable", table).await;
    let mut longest = 0;
    for batch in 0..ITEMS / 25 {
        let put = |n: usize| {
            let key = format!("{:016x}", (batch * 25 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            json!({"PutRequest": {"Item": {"pk": {"S": key}, "text": {"S": "x".repeat(300)}}}})
        };
        let puts: Vec<_> = (0..25).map(put).collect();
        call_ok(database, "BatchWriteItem", json!({"RequestItems": {"Table": puts}})).await;
        longest = longest.max(log_bytes(folder));
        if batch % BATCHES_PER_LOG == BATCHES_PER_LOG - 1 {
            let before = log_restarts(folder);
            wait_until("the log never begins anew", async || {
                let item = json!({"pk": {"S": "one more"}});
                call_ok(database, "PutItem", json!({"TableName": "Table", "Item": item})).await;
                log_restarts(folder) != before
            })
            .await;
        }
    }
    longest
}

#[tokio::test]
async fn the_log_stays_short_and_is_gone_when_nobody_asks_any_more() {
    let folder = folder("idle");
    let database = Database::open(&folder).unwrap();
    let longest = write_items(&database, &folder).await;
    assert!(longest < 100 << 20, "the log was {longest} bytes long");
    wait_until("the log stays though nobody asks", async || log_bytes(&folder) == 0).await;
    drop(database);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_database_that_settles_leaves_no_log() {
    let folder = folder("settled");
    let database = Database::open(&folder).unwrap();
    write_items(&database, &folder).await;
    database.truncate_log().await;
    assert_eq!(log_bytes(&folder), 0);
    call_ok(&database, "GetItem", json!({"TableName": "Table", "Key": {"pk": {"S": "0000000000000000"}}}))
        .await;
    drop(database);
    std::fs::remove_dir_all(folder).unwrap();
}
