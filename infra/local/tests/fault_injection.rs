//! DynamoDB's throttling, conflicts and index lag, injected into the embedded database.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as the tests do"
)]

use std::{path::PathBuf, sync::Arc};

use local::{
    database::{
        Database,
        fault_injection::{DatabaseFaults, FaultInjector},
    },
    template::{IndexSpec, TableSpec},
};
use serde_json::{Value, json};
use shared::{clock::ManualClock, random::StdRandom};

struct FaultyDatabase {
    folder: PathBuf,
    database: Database,
    clock: ManualClock,
}

impl FaultyDatabase {
    async fn new(name: &str, habits: DatabaseFaults) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("weather-{name}"));
        let _ = std::fs::remove_dir_all(&folder); // there may be none
        std::fs::create_dir_all(&folder).unwrap();
        let key = |name: &str, kind: &str| (name.to_owned(), kind.to_owned());
        let table = TableSpec {
            name: "Table".into(),
            attributes: Default::default(),
            key: vec![key("pk", "HASH"), key("sk", "RANGE")],
            indexes: vec![IndexSpec {
                name: "people".into(),
                global: true,
                key: vec![key("tenant", "HASH"), key("sk", "RANGE")],
                projection: "ALL".into(),
            }],
            ttl: None,
        };
        let (database, clock) = (Database::open(&folder).unwrap(), ManualClock::at(1_000));
        let random = Arc::new(StdRandom::seeded(3));
        database.inject_faults(FaultInjector::new(habits, &[table], Arc::new(clock.clone()), random));
        let bench = Self { folder, database, clock };
        let schema = |hash: &str| json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]);
        let text = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
        bench
            .call_ok(
                "CreateTable",
                json!({
                    "TableName": "Table", "BillingMode": "PAY_PER_REQUEST", "KeySchema": schema("pk"),
                    "AttributeDefinitions": [text("pk"), text("sk"), text("tenant")],
                    "GlobalSecondaryIndexes": [{
                        "IndexName": "people", "KeySchema": schema("tenant"), "Projection": {"ProjectionType": "ALL"},
                    }],
                }),
            )
            .await;
        bench
    }

    async fn call(&self, operation: &str, request: Value) -> (u16, Value) {
        let (status, answer) = self.database.call(operation, request.to_string().as_bytes()).await;
        (status, serde_json::from_str(&answer).unwrap())
    }

    async fn call_ok(&self, operation: &str, request: Value) -> Value {
        let (status, answer) = self.call(operation, request).await;
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    async fn put(&self, pk: &str, sk: &str) -> (u16, Value) {
        self.call("PutItem", json!({"TableName": "Table", "Item": item(pk, sk)})).await
    }

    async fn index_items(&self) -> Vec<String> {
        let request = json!({
            "TableName": "Table", "IndexName": "people", "KeyConditionExpression": "tenant = :t",
            "ExpressionAttributeValues": {":t": {"S": "t1"}},
        });
        let answer = self.call_ok("Query", request).await;
        let items = answer["Items"].as_array().unwrap();
        assert_eq!(answer["Count"], items.len());
        items.iter().map(|item| item["sk"]["S"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for FaultyDatabase {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn key(pk: &str, sk: &str) -> Value {
    json!({"pk": {"S": pk}, "sk": {"S": sk}})
}

fn item(pk: &str, sk: &str) -> Value {
    json!({"pk": {"S": pk}, "sk": {"S": sk}, "tenant": {"S": "t1"}})
}

fn error_type(answer: &(u16, Value)) -> &str {
    answer.1["__type"].as_str().unwrap_or_default().rsplit('#').next().unwrap()
}

const THROTTLED: &str = "ProvisionedThroughputExceededException";

fn writes(rate: u32) -> DatabaseFaults {
    DatabaseFaults { write_units_per_second: Some(rate), ..DatabaseFaults::default() }
}

#[tokio::test]
async fn a_partition_takes_so_many_writes_a_second_and_its_neighbour_as_many() {
    let bench = FaultyDatabase::new("writes", writes(3)).await;
    for n in 0..3 {
        assert_eq!(bench.put("hot", &n.to_string()).await.0, 200);
    }
    let fourth = bench.put("hot", "3").await;
    assert_eq!((fourth.0, error_type(&fourth)), (400, THROTTLED));
    let update = json!({
        "TableName": "Table", "Key": key("hot", "0"), "UpdateExpression": "SET a = :a",
        "ExpressionAttributeValues": {":a": {"S": "x"}},
    });
    assert_eq!(error_type(&bench.call("UpdateItem", update).await), THROTTLED);
    let delete = json!({"TableName": "Table", "Key": key("hot", "0")});
    assert_eq!(error_type(&bench.call("DeleteItem", delete).await), THROTTLED);
    assert_eq!(bench.put("cold", "0").await.0, 200, "another partition");
    bench.call_ok("GetItem", json!({"TableName": "Table", "Key": key("hot", "0")})).await;
    bench.clock.advance(1);
    assert_eq!(bench.put("hot", "3").await.0, 200, "a second later");
    let large = json!({"pk": {"S": "big"}, "sk": {"S": "0"}, "text": {"S": "x".repeat(2_500)}});
    bench.call_ok("PutItem", json!({"TableName": "Table", "Item": large})).await;
    assert_eq!(error_type(&bench.put("big", "1").await), THROTTLED, "a large item is several units");
}

#[tokio::test]
async fn reads_are_throttled_too() {
    let bench = FaultyDatabase::new(
        "reads",
        DatabaseFaults { read_units_per_second: Some(2), ..DatabaseFaults::default() },
    )
    .await;
    let query = json!({
        "TableName": "Table", "KeyConditionExpression": "pk = :p AND begins_with(sk, :s)", "ConsistentRead": true,
        "ExpressionAttributeValues": {":p": {"S": "hot"}, ":s": {"S": "x"}},
    });
    bench.call_ok("Query", query.clone()).await;
    bench.call_ok("GetItem", get("hot", true)).await;
    assert_eq!(error_type(&bench.call("Query", query).await), THROTTLED);
    let batch = |keys: Value| json!({"RequestItems": {"Table": {"Keys": keys, "ConsistentRead": true}}});
    let keys = json!([key("hot", "1"), key("cold", "1"), key("cold", "2"), key("cold", "3")]);
    let answer = bench.call_ok("BatchGetItem", batch(keys)).await;
    assert_eq!(answer["UnprocessedKeys"]["Table"]["Keys"], json!([key("hot", "1"), key("cold", "3")]));
    let all = bench.call("BatchGetItem", batch(json!([key("hot", "1")]))).await;
    assert_eq!(error_type(&all), THROTTLED, "where nothing is left, the whole batch");
}

fn get(pk: &str, consistent: bool) -> Value {
    json!({"TableName": "Table", "Key": key(pk, "0"), "ConsistentRead": consistent})
}

fn large(pk: &str, bytes: usize) -> Value {
    json!({"TableName": "Table", "Item": {"pk": {"S": pk}, "sk": {"S": "0"}, "text": {"S": "x".repeat(bytes)}}})
}

#[tokio::test]
async fn a_read_takes_what_it_reads() {
    let bench = FaultyDatabase::new(
        "sizes",
        DatabaseFaults { read_units_per_second: Some(20), ..DatabaseFaults::default() },
    )
    .await;
    bench.call_ok("PutItem", large("list", 78_000)).await;
    for (what, consistent, seconds) in [("20 units of 20", true, 1), ("half of them", false, 0)] {
        bench.call_ok("GetItem", get("list", consistent)).await;
        assert_eq!(bench.call("GetItem", get("list", false)).await.0 == 200, seconds == 0, "{what}");
        bench.clock.advance(2);
    }
    let query = json!({
        "TableName": "Table", "KeyConditionExpression": "pk = :p", "ConsistentRead": true,
        "ExpressionAttributeValues": {":p": {"S": "list"}},
    });
    for (what, operation, request) in [
        ("a query", "Query", query),
        (
            "a batch",
            "BatchGetItem",
            json!({"RequestItems": {"Table": {"Keys": [key("list", "0")], "ConsistentRead": true}}}),
        ),
    ] {
        bench.call_ok(operation, request).await;
        assert_eq!(error_type(&bench.call("GetItem", get("list", false)).await), THROTTLED, "{what}");
        bench.clock.advance(2);
    }
}

#[tokio::test]
async fn a_write_takes_what_stands_after_it_and_what_it_changes_in_an_index() {
    let bench = FaultyDatabase::new("standing", writes(10)).await;
    let update = json!({
        "TableName": "Table", "Key": key("big", "0"), "UpdateExpression": "SET a = :a",
        "ExpressionAttributeValues": {":a": {"S": "x"}},
    });
    bench.call_ok("PutItem", large("big", 9_900)).await;
    bench.clock.advance(2);
    bench.call_ok("UpdateItem", update.clone()).await;
    assert_eq!(
        error_type(&bench.call("UpdateItem", update).await),
        THROTTLED,
        "a letter, in an item of ten units"
    );
    bench.clock.advance(2);
    // many partitions of the table write to one partition of the index
    let put = async |n: usize| bench.put(&format!("p{n}"), "0").await.0;
    for n in 0..10 {
        assert_eq!(put(n).await, 200, "{n}");
    }
    assert_eq!(put(10).await, 200, "it is not yet in debt");
    assert_eq!(put(11).await, 400, "and then it is");
    bench.clock.advance(1);
    assert_eq!(put(11).await, 200, "a second later");
}

#[tokio::test]
async fn a_batch_leaves_what_was_throttled_and_does_the_rest() {
    let bench = FaultyDatabase::new("batch", writes(2)).await;
    let put = |pk: &str, sk: &str| json!({"PutRequest": {"Item": item(pk, sk)}});
    let puts = json!([put("hot", "0"), put("hot", "1"), put("hot", "2"), put("cold", "0")]);
    let answer = bench.call_ok("BatchWriteItem", json!({"RequestItems": {"Table": puts}})).await;
    assert_eq!(answer["UnprocessedItems"]["Table"], json!([put("hot", "2")]));
    assert_eq!(bench.index_items().await.len(), 3, "the others are there");
}

#[tokio::test]
async fn statements_are_throttled_one_by_one() {
    let bench = FaultyDatabase::new("statements", writes(1)).await;
    let insert = |pk: &str, sk: &str| json!({"Statement": "INSERT INTO \"Table\" VALUE {'pk': ?, 'sk': ?}", "Parameters": [{"S": pk}, {"S": sk}]});
    let update = |pk: &str, sk: &str| {
        json!({
            "Statement": "UPDATE \"Table\" SET \"pk2\" = ? WHERE pk = ? AND sk = ?",
            "Parameters": [{"S": "hot"}, {"S": pk}, {"S": sk}],
        })
    };
    let inserts = json!([insert("a", "0"), insert("a", "1"), insert("b", "0")]);
    let answer = bench.call_ok("BatchExecuteStatement", json!({"Statements": inserts})).await;
    let code = |answer: &Value, n: usize| answer["Responses"][n]["Error"]["Code"].as_str().map(str::to_owned);
    let throttled = Some("ProvisionedThroughputExceeded".to_owned());
    let codes: Vec<_> = (0..3).map(|n| code(&answer, n)).collect();
    assert_eq!(codes, [None, throttled.clone(), None]);
    bench.clock.advance(1);
    let updates = json!([update("b", "0"), update("b", "0")]);
    let answer = bench.call_ok("BatchExecuteStatement", json!({"Statements": updates})).await;
    assert_eq!((code(&answer, 0), code(&answer, 1)), (None, throttled), "by the key of the condition");
    let get = |sk: &str| json!({"TableName": "Table", "Key": key("a", sk)});
    assert!(bench.call_ok("GetItem", get("0")).await.get("Item").is_some());
    assert!(
        bench.call_ok("GetItem", get("1")).await.get("Item").is_none(),
        "what was throttled did not happen"
    );
}

#[tokio::test]
async fn a_transaction_conflicts_with_whoever_is_at_its_items() {
    let bench =
        FaultyDatabase::new("conflicts", DatabaseFaults { conflict_ms: 10, ..DatabaseFaults::default() })
            .await;
    let transact = async |keys: &[&str]| {
        let puts: Vec<_> =
            keys.iter().map(|sk| json!({"Put": {"TableName": "Table", "Item": item("p", sk)}})).collect();
        bench.call("TransactWriteItems", json!({"TransactItems": puts})).await
    };
    assert_eq!(transact(&["0", "1"]).await.0, 200);
    let met = transact(&["2", "1"]).await;
    assert_eq!(error_type(&met), "TransactionCanceledException");
    let reasons: Vec<_> =
        met.1["CancellationReasons"].as_array().unwrap().iter().map(|r| &r["Code"]).collect();
    assert_eq!(reasons, ["None", "TransactionConflict"]);
    assert_eq!(
        error_type(&bench.put("p", "0").await),
        "TransactionConflictException",
        "a plain write meets it"
    );
    assert_eq!(bench.put("p", "2").await.0, 200, "an item that a refused transaction named is free");
    assert_eq!(bench.put("p", "2").await.0, 200, "plain writes do not meet each other");
    assert_eq!(
        error_type(&transact(&["2"]).await),
        "TransactionCanceledException",
        "but a transaction meets them"
    );
    bench.clock.advance_ms(10);
    assert_eq!(transact(&["0", "1", "2"]).await.0, 200, "later nobody meets");
}

#[tokio::test]
async fn a_new_item_comes_into_a_global_index_later() {
    let bench =
        FaultyDatabase::new("lag", DatabaseFaults { index_lag_ms: 300, ..DatabaseFaults::default() }).await;
    let names: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
    for name in &names {
        assert_eq!(bench.put("p", name).await.0, 200);
    }
    let early = bench.index_items().await;
    assert!(early.len() < names.len(), "all at once: {early:?}");
    let in_the_table = bench.call_ok("GetItem", json!({"TableName": "Table", "Key": key("p", "19")})).await;
    assert_eq!(in_the_table["Item"], item("p", "19"), "the table itself has it");
    bench.clock.advance_ms(150);
    let half = bench.index_items().await;
    assert!(early.len() < half.len() && half.len() < names.len(), "by and by: {half:?}");
    bench.clock.advance_ms(150);
    assert_eq!(bench.index_items().await, names, "within the lag");
    bench.put("p", "07").await;
    assert_eq!(bench.index_items().await, names, "what was there stays, though it changes");
}
