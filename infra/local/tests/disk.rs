//! What the local database leaves on the disk.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as the tests do")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use local::database::{Database, operations};
use serde_json::{Value, json};

/// As much as an import of many followers writes: more than the log may ever be long.
const ITEMS: usize = 60_000;
const PATIENCE: Duration = Duration::from_secs(30);

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("disk-{name}"));
    let _ = std::fs::remove_dir_all(&folder); // there may be none
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn log(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("dynamodb.sqlite-wal")).map(|log| log.len()).unwrap_or(0)
}

async fn ask(database: &Database, operation: &str, request: Value) {
    let (status, answer) = operations::call(database, operation, request.to_string().as_bytes()).await;
    assert_eq!(status, 200, "{answer}");
}

/// A table with many items; the longest that the log ever was.
async fn write(database: &Database, folder: &Path) -> u64 {
    let table = json!({
        "TableName": "Table", "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    });
    ask(database, "CreateTable", table).await;
    let mut longest = 0;
    for batch in 0..ITEMS / 25 {
        let put = |n: usize| {
            let key = format!("{:016x}", (batch * 25 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            json!({"PutRequest": {"Item": {"pk": {"S": key}, "text": {"S": "x".repeat(300)}}}})
        };
        let puts: Vec<_> = (0..25).map(put).collect();
        ask(database, "BatchWriteItem", json!({"RequestItems": {"Table": puts}})).await;
        longest = longest.max(log(folder));
    }
    longest
}

#[tokio::test]
async fn the_log_stays_short_and_is_gone_when_nobody_asks_any_more() {
    let folder = folder("idle");
    let database = Database::open(&folder).unwrap();
    let longest = write(&database, &folder).await;
    assert!(longest < 100 << 20, "the log was {longest} bytes long");
    let gone = async {
        while log(&folder) > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let left = tokio::time::timeout(PATIENCE, gone).await;
    assert!(left.is_ok(), "{} bytes of log stay though nobody asks", log(&folder));
    drop(database);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_database_that_settles_leaves_no_log() {
    let folder = folder("settled");
    let database = Database::open(&folder).unwrap();
    write(&database, &folder).await;
    database.settle().await;
    assert_eq!(log(&folder), 0);
    ask(&database, "GetItem", json!({"TableName": "Table", "Key": {"pk": {"S": "0000000000000000"}}})).await;
    drop(database);
    std::fs::remove_dir_all(folder).unwrap();
}
