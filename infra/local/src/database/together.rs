//! Batches in one transaction of SQLite. DynamoDB takes a batch's items one by one, and so does dynoxide, at a
//! commit each, which is a third of its work. Where all of them succeed, together is the same; where one does not,
//! nothing is written and they are taken one by one after all.

use std::collections::HashMap;

use dynoxide::{
    DynoxideError, Result,
    actions::{
        batch_execute_statement::{
            BatchExecuteStatementRequest, BatchExecuteStatementResponse, BatchStatementResponse,
        },
        batch_write_item::{BatchWriteItemRequest, BatchWriteItemResponse},
        transact_write_items::{self, TransactPut, TransactWriteItem, TransactWriteItemsRequest},
    },
    storage::Storage,
};
use futures::FutureExt;
use serde_json::Value;

use super::statement;

/// Actions of one transaction.
const MAX: usize = 100;
/// Statements of a batch: more are refused, but not by a transaction.
const MAX_STATEMENTS: usize = 25;

/// The answer of a batch of statements that all succeeded; none where they have to be taken one by one.
pub(super) fn statements(
    storage: &Storage,
    request: &BatchExecuteStatementRequest,
) -> Option<BatchExecuteStatementResponse> {
    if request.statements.len() > MAX_STATEMENTS {
        return None;
    }
    let (mut actions, mut responses) = (Vec::new(), Vec::new());
    let mut known: HashMap<String, Vec<String>> = HashMap::new();
    for statement in &request.statements {
        let (table, action) = statement::action(statement, |table| {
            if !known.contains_key(table) {
                known.insert(table.to_owned(), keys(storage, table)?);
            }
            known.get(table).cloned()
        })?;
        actions.push(action);
        let mut response = BatchStatementResponse::default();
        response.table_name = Some(table.to_owned());
        responses.push(response);
    }
    transact(storage, actions).ok()?;
    Some(BatchExecuteStatementResponse { responses, consumed_capacity: None })
}

/// The same of a batch of puts.
pub(super) fn puts(storage: &Storage, request: &BatchWriteItemRequest) -> Option<BatchWriteItemResponse> {
    let mut puts = Vec::new();
    for (table, requests) in &request.request_items {
        for request in requests {
            let item = request.put_request.as_ref()?.item.clone();
            let put = TransactPut { table_name: table.to_owned(), item, ..Default::default() };
            puts.push(TransactWriteItem { put: Some(put), ..Default::default() });
        }
    }
    transact(storage, puts).ok()?;
    Some(BatchWriteItemResponse::default())
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

/// A table's key attributes, the partition key first.
fn keys(storage: &Storage, table: &str) -> Option<Vec<String>> {
    let schema: Value = serde_json::from_str(&storage.get_table_metadata(table).ok()??.key_schema).ok()?;
    let of = |kind| {
        schema.as_array()?.iter().find(|part| part.get("KeyType").and_then(Value::as_str) == Some(kind))
    };
    let name = |part: &Value| Some(part.get("AttributeName")?.as_str()?.to_owned());
    let hash = name(of("HASH")?)?;
    Some(std::iter::once(hash).chain(of("RANGE").and_then(name)).collect())
}
