//! DynamoDB in process: dynoxide without its server, and reads of whole tables for the checks.

use std::collections::BTreeMap;

use dynoxide::{Database, DynoxideError};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// Runs one request; returns status and JSON.
pub fn call(db: &Database, operation: &str, body: &str) -> (u16, String) {
    match execute(db, operation, body) {
        Ok(json) => (200, json),
        Err(error) => (error.status_code(), error.to_json()),
    }
}

/// Runs one request that must succeed.
pub fn call_ok(db: &Database, operation: &str, body: &Value) -> Value {
    from_json(&execute(db, operation, &body.to_string()).unwrap())
}

/// Whether an operation writes.
pub fn is_write(operation: &str) -> bool {
    !matches!(operation, "GetItem" | "BatchGetItem" | "Query" | "Scan" | "DescribeTable")
}

fn execute(db: &Database, operation: &str, body: &str) -> Result<String, DynoxideError> {
    Ok(match operation {
        "CreateTable" => to_json(db.create_table(from_json(body))?),
        "UpdateTimeToLive" => to_json(db.update_time_to_live(from_json(body))?),
        "GetItem" => to_json(db.get_item(from_json(body))?),
        "PutItem" => to_json(db.put_item(from_json(body))?),
        "UpdateItem" => to_json(db.update_item(from_json(body))?),
        "DeleteItem" => to_json(db.delete_item(from_json(body))?),
        "Query" => to_json(db.query(from_json(body))?),
        "Scan" => to_json(db.scan(from_json(body))?),
        "BatchGetItem" => to_json(db.batch_get_item(from_json(body))?),
        "BatchWriteItem" => to_json(db.batch_write_item(from_json(body))?),
        "TransactWriteItems" => to_json(db.transact_write_items(from_json(body))?),
        "BatchExecuteStatement" => to_json(db.batch_execute_statement(from_json(body))?),
        other => panic!("the simulated DynamoDB does not support {other}"),
    })
}

fn from_json<T: DeserializeOwned>(body: &str) -> T {
    serde_json::from_str(body).unwrap()
}

fn to_json(answer: impl Serialize) -> String {
    serde_json::to_string(&answer).unwrap()
}

/// All items of a table as plain JSON, by key.
pub fn scan(db: &Database, table: &str) -> BTreeMap<(String, String), Value> {
    let answer = db.scan(from_json(&json!({"TableName": table}).to_string())).unwrap();
    let answer = serde_json::to_value(&answer).unwrap();
    assert!(
        answer["LastEvaluatedKey"].is_null(),
        "{table} is larger than a page: a check would not see all of it"
    );
    let items = answer["Items"].as_array().cloned().unwrap_or_default();
    items.iter().map(plain_item).map(|item| ((text_of(&item, "pk"), text_of(&item, "sk")), item)).collect()
}

/// One item, as plain JSON.
pub fn get_item(db: &Database, table: &str, pk: &str, sk: &str) -> Option<Value> {
    let body = json!({"TableName": table, "Key": {"pk": {"S": pk}, "sk": {"S": sk}}}).to_string();
    let answer: Value = from_json(&execute(db, "GetItem", &body).unwrap());
    answer.get("Item").map(plain_item)
}

/// A text member, empty if absent.
pub fn text_of(item: &Value, member: &str) -> String {
    item[member].as_str().unwrap_or_default().to_owned()
}

fn plain_item(item: &Value) -> Value {
    let members = item.as_object().unwrap();
    Value::Object(
        members.iter().map(|(name, value)| (name.clone(), plain_value(value))).collect::<Map<_, _>>(),
    )
}

fn plain_value(value: &Value) -> Value {
    let (kind, inner) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "N" => from_json(inner.as_str().unwrap()),
        "M" => plain_item(inner),
        "L" => inner.as_array().unwrap().iter().map(plain_value).collect(),
        "NULL" => Value::Null,
        _ => inner.clone(),
    }
}
