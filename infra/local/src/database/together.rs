//! Batches in one transaction of SQLite. DynamoDB takes a batch's items one by one, and so does dynoxide, at a
//! commit each, which is a third of its work. Where all of them succeed, together is the same; where one does not,
//! nothing is written and they are taken one by one after all.

use std::collections::{HashMap, hash_map::Entry};

use dynoxide::{
    DynoxideError, Item, Result,
    actions::{
        batch_execute_statement::{
            BatchExecuteStatementRequest, BatchExecuteStatementResponse, BatchStatementRequest,
            BatchStatementResponse,
        },
        batch_write_item::{BatchWriteItemRequest, BatchWriteItemResponse},
        transact_write_items::{self, TransactPut, TransactWriteItem, TransactWriteItemsRequest},
    },
    storage::Storage,
};
use futures::FutureExt;
use serde_json::Value;

/// Actions of one transaction.
const MAX: usize = 100;

/// The answer of a batch of `INSERT` statements that all succeeded; none where they have to be taken one by one.
pub(super) fn statements(
    storage: &Storage,
    request: &BatchExecuteStatementRequest,
) -> Option<BatchExecuteStatementResponse> {
    let (mut puts, mut responses) = (Vec::new(), Vec::new());
    let mut conditions = HashMap::new();
    for statement in &request.statements {
        let (table, item) = inserted(statement)?;
        let is_new = match conditions.entry(table) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                unknown.insert(format!("attribute_not_exists({})", hash_key(storage, table)?))
            }
        };
        puts.push(put(table, item, Some(is_new.clone())));
        let mut response = BatchStatementResponse::default();
        response.table_name = Some(table.to_owned());
        responses.push(response);
    }
    transact(storage, puts).ok()?;
    Some(BatchExecuteStatementResponse { responses, consumed_capacity: None })
}

/// The same of a batch of puts.
pub(super) fn puts(storage: &Storage, request: &BatchWriteItemRequest) -> Option<BatchWriteItemResponse> {
    let mut puts = Vec::new();
    for (table, requests) in &request.request_items {
        for request in requests {
            puts.push(put(table, request.put_request.as_ref()?.item.clone(), None));
        }
    }
    transact(storage, puts).ok()?;
    Some(BatchWriteItemResponse::default())
}

fn put(table: &str, item: Item, condition_expression: Option<String>) -> TransactWriteItem {
    let put = TransactPut { table_name: table.to_owned(), item, condition_expression, ..Default::default() };
    TransactWriteItem { put: Some(put), ..Default::default() }
}

fn transact(storage: &Storage, transact_items: Vec<TransactWriteItem>) -> Result<()> {
    if !(2..=MAX).contains(&transact_items.len()) {
        return Err(DynoxideError::ValidationException("alone as good".into()));
    }
    let request = TransactWriteItemsRequest { transact_items, ..Default::default() };
    match transact_write_items::execute(storage, request).now_or_never() {
        Some(answer) => answer.map(drop),
        None => Err(DynoxideError::InternalServerError("the storage waits".into())),
    }
}

/// The attribute that every item of a table has.
fn hash_key(storage: &Storage, table: &str) -> Option<String> {
    let schema: Value = serde_json::from_str(&storage.get_table_metadata(table).ok()??.key_schema).ok()?;
    let hash =
        schema.as_array()?.iter().find(|part| part.get("KeyType").and_then(Value::as_str) == Some("HASH"));
    hash?.get("AttributeName")?.as_str().map(str::to_owned)
}

/// Table and item of `INSERT INTO "Table" VALUE {'name': ?, …}`, in this spelling alone.
fn inserted(statement: &BatchStatementRequest) -> Option<(&str, Item)> {
    let rest = statement.statement.strip_prefix("INSERT INTO \"")?;
    let (table, rest) = rest.split_once("\" VALUE {")?;
    let members = rest.strip_suffix('}')?;
    let mut parameters = statement.parameters.as_ref()?.iter();
    let mut item = Item::new();
    for member in members.split(", ") {
        let name = member.strip_prefix('\'')?.strip_suffix("': ?")?;
        if name.contains('\'') || item.insert(name.to_owned(), parameters.next()?.clone()).is_some() {
            return None;
        }
    }
    parameters.next().is_none().then_some((table, item))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_plain_inserts_are_understood() {
        for (what, statement, parameters, names) in [
            ("ours", r#"INSERT INTO "T" VALUE {'a': ?, 'b': ?}"#, 2, Some(2)),
            ("a parameter too many", r#"INSERT INTO "T" VALUE {'a': ?}"#, 2, None),
            ("one too few", r#"INSERT INTO "T" VALUE {'a': ?, 'b': ?}"#, 1, None),
            ("a value in the text", r#"INSERT INTO "T" VALUE {'a': 'x, y', 'b': ?}"#, 1, None),
            ("a name twice", r#"INSERT INTO "T" VALUE {'a': ?, 'a': ?}"#, 2, None),
            ("what is no error twice", r#"INSERT INTO "T" VALUE {'a': ?} IF NOT EXISTS"#, 1, None),
            ("another verb", r#"UPDATE "T" SET a = ? WHERE pk = ?"#, 2, None),
        ] {
            let values = vec![json!({"S": "x"}); parameters];
            let statement =
                serde_json::from_value(json!({"Statement": statement, "Parameters": values})).unwrap();
            let found = inserted(&statement).map(|(table, item)| (table.to_owned(), item.len()));
            assert_eq!(found, names.map(|n| ("T".to_owned(), n)), "{what}");
        }
    }
}
