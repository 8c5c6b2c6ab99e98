//! DynamoDB in process: dynoxide without its server, and reads of whole tables for the checks.

use std::collections::BTreeMap;

use dynoxide::{Database, DynoxideError};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// Runs one request; returns status and JSON.
pub fn call(db: &Database, operation: &str, body: &str) -> (u16, String) {
    match run(db, operation, body) {
        Ok(json) => (200, json),
        Err(error) => (error.status_code(), error.to_json()),
    }
}

/// Runs one request that must succeed.
pub fn raw(db: &Database, operation: &str, body: &Value) -> Value {
    read(&run(db, operation, &body.to_string()).unwrap())
}

/// Whether an operation writes.
pub fn writes(operation: &str) -> bool {
    !matches!(operation, "GetItem" | "BatchGetItem" | "Query" | "Scan" | "DescribeTable")
}

fn run(db: &Database, operation: &str, body: &str) -> Result<String, DynoxideError> {
    Ok(match operation {
        "CreateTable" => text(db.create_table(read(body))?),
        "UpdateTimeToLive" => text(db.update_time_to_live(read(body))?),
        "GetItem" => text(db.get_item(read(body))?),
        "PutItem" => text(db.put_item(read(body))?),
        "UpdateItem" => text(db.update_item(read(body))?),
        "DeleteItem" => text(db.delete_item(read(body))?),
        "Query" => text(db.query(read(body))?),
        "Scan" => text(db.scan(read(body))?),
        "BatchGetItem" => text(db.batch_get_item(read(body))?),
        "BatchWriteItem" => text(db.batch_write_item(read(body))?),
        "TransactWriteItems" => text(db.transact_write_items(read(body))?),
        "BatchExecuteStatement" => text(db.batch_execute_statement(read(body))?),
        other => panic!("the world's DynamoDB does not do {other}"),
    })
}

fn read<T: DeserializeOwned>(body: &str) -> T {
    serde_json::from_str(body).unwrap()
}

fn text(answer: impl Serialize) -> String {
    serde_json::to_string(&answer).unwrap()
}

/// All items of a table as plain JSON, by key.
pub fn scan(db: &Database, table: &str) -> BTreeMap<(String, String), Value> {
    let answer = db.scan(read(&json!({"TableName": table}).to_string())).unwrap();
    let answer = serde_json::to_value(&answer).unwrap();
    assert!(
        answer["LastEvaluatedKey"].is_null(),
        "{table} is larger than a page: a check would not see all of it"
    );
    let items = answer["Items"].as_array().cloned().unwrap_or_default();
    items.iter().map(plain_item).map(|item| ((word(&item, "pk"), word(&item, "sk")), item)).collect()
}

/// One item, as plain JSON.
pub fn item(db: &Database, table: &str, pk: &str, sk: &str) -> Option<Value> {
    let body = json!({"TableName": table, "Key": {"pk": {"S": pk}, "sk": {"S": sk}}}).to_string();
    let answer: Value = read(&run(db, "GetItem", &body).unwrap());
    answer.get("Item").map(plain_item)
}

/// A text member, empty if absent.
pub fn word(item: &Value, member: &str) -> String {
    item[member].as_str().unwrap_or_default().to_owned()
}

fn plain_item(item: &Value) -> Value {
    let members = item.as_object().unwrap();
    Value::Object(members.iter().map(|(name, value)| (name.clone(), plain(value))).collect::<Map<_, _>>())
}

fn plain(value: &Value) -> Value {
    let (kind, inner) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "N" => read(inner.as_str().unwrap()),
        "M" => plain_item(inner),
        "L" => inner.as_array().unwrap().iter().map(plain).collect(),
        "NULL" => Value::Null,
        _ => inner.clone(),
    }
}
