//! Batches in one transaction of SQLite. DynamoDB handles items one by one, and so does dynoxide, with a
//! commit each: a third of its work. If all items succeed, one transaction gives the same result; if one
//! fails, it is rolled back and they are handled one by one.

use std::collections::{HashMap, hash_map::Entry};

use dynoxide::{
    actions::{
        batch_execute_statement::{
            BatchExecuteStatementRequest, BatchExecuteStatementResponse, BatchStatementResponse,
        },
        batch_write_item::{BatchWriteItemRequest, BatchWriteItemResponse},
        transact_write_items::{self, TransactWriteItem, TransactWriteItemsRequest},
    },
    storage::Storage,
    types::{KeySchemaElement, KeyType},
};
use futures::FutureExt;

use super::partiql;

/// Actions of one transaction.
const MAX_TRANSACTION_ITEMS: usize = 100;
/// Statements of a batch. Larger batches go to dynoxide, which refuses them with DynamoDB's error.
const MAX_BATCH_STATEMENTS: usize = 25;

/// The response to a batch of statements that all succeeded; `None` if they must be executed one by one.
pub(super) fn execute_statements(
    storage: &Storage,
    request: &BatchExecuteStatementRequest,
) -> Option<BatchExecuteStatementResponse> {
    if request.statements.len() > MAX_BATCH_STATEMENTS {
        return None;
    }
    let (mut actions, mut responses) = (Vec::new(), Vec::new());
    let mut keys_by_table: HashMap<String, Vec<String>> = HashMap::new();
    for statement in &request.statements {
        let (table, action) = partiql::transaction_item(statement, |table| {
            let keys = match keys_by_table.entry(table.to_owned()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(key_attributes(storage, table)?),
            };
            Some(keys.clone())
        })?;
        actions.push(action);
        let mut response = BatchStatementResponse::default();
        response.table_name = Some(table.to_owned());
        responses.push(response);
    }
    transact(storage, actions)?;
    Some(BatchExecuteStatementResponse { responses, consumed_capacity: None })
}

/// The same for a batch of puts.
pub(super) fn write_puts(
    storage: &Storage,
    request: &BatchWriteItemRequest,
) -> Option<BatchWriteItemResponse> {
    let mut puts = Vec::new();
    for (table, requests) in &request.request_items {
        for request in requests {
            puts.push(partiql::put_item(table, request.put_request.as_ref()?.item.clone(), None));
        }
    }
    transact(storage, puts)?;
    Some(BatchWriteItemResponse::default())
}

/// `None` if not all succeeded, and for a single action, which needs no transaction.
fn transact(storage: &Storage, transact_items: Vec<TransactWriteItem>) -> Option<()> {
    if !(2..=MAX_TRANSACTION_ITEMS).contains(&transact_items.len()) {
        return None;
    }
    let request = TransactWriteItemsRequest { transact_items, ..Default::default() };
    transact_write_items::execute(storage, request).now_or_never()?.ok().map(drop)
}

/// A table's key attributes, the partition key first.
pub(super) fn key_attributes(storage: &Storage, table: &str) -> Option<Vec<String>> {
    let metadata = storage.get_table_metadata(table).ok()??;
    let schema: Vec<KeySchemaElement> = serde_json::from_str(&metadata.key_schema).ok()?;
    let of = |kind| schema.iter().find(|part| part.key_type == kind).map(|part| part.attribute_name.clone());
    Some(std::iter::once(of(KeyType::HASH)?).chain(of(KeyType::RANGE)).collect())
}
