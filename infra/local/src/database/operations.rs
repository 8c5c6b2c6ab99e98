//! DynamoDB's requests by name, from JSON to JSON, without a socket. JSON is parsed and written outside of
//! the database's thread.

use dynoxide::{DynoxideError, actions, storage::Storage};
use futures::FutureExt;
use serde::{Serialize, de::DeserializeOwned};

use super::{batch_transaction, storage_thread::StorageThread};

/// The content type of every response.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// Handles one request; returns HTTP status and body. `operation` is without its prefix: `PutItem`.
pub(super) async fn call(storage: &StorageThread, operation: &str, body: &[u8]) -> (u16, String) {
    match dispatch(storage, operation, body).await {
        Ok(json) => (200, json),
        Err(error) => (error.status_code(), error.to_json()),
    }
}

async fn dispatch(storage: &StorageThread, operation: &str, body: &[u8]) -> dynoxide::Result<String> {
    macro_rules! run {
        ($action:ident) => {
            run!($action, |_, _| None)
        };
        // `together` returns a response if it could replace the action
        ($action:ident, $together:expr) => {
            run(storage, body, |storage, request| match $together(storage, &request) {
                Some(answer) => Ok(answer),
                // dynoxide over SQLite never waits: it completes at the first poll
                None => actions::$action::execute(storage, request)
                    .now_or_never()
                    .unwrap_or_else(|| Err(DynoxideError::InternalServerError("the storage waits".into()))),
            })
            .await
        };
    }
    match operation {
        "GetItem" => run!(get_item),
        "PutItem" => run!(put_item),
        "UpdateItem" => run!(update_item),
        "DeleteItem" => run!(delete_item),
        "Query" => run!(query),
        "Scan" => run!(scan),
        "BatchGetItem" => run!(batch_get_item),
        "BatchWriteItem" => run!(batch_write_item, batch_transaction::write_puts),
        "BatchExecuteStatement" => run!(batch_execute_statement, batch_transaction::execute_statements),
        "TransactWriteItems" => run!(transact_write_items),
        "CreateTable" => run!(create_table),
        "ListTables" => run!(list_tables),
        "UpdateTimeToLive" => run!(update_time_to_live),
        other => Err(DynoxideError::ValidationException(format!("{other} is not offered here"))),
    }
}

async fn run<Q, A>(
    storage: &StorageThread,
    body: &[u8],
    act: impl FnOnce(&Storage, Q) -> dynoxide::Result<A> + Send + 'static,
) -> dynoxide::Result<String>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    let request = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let answer = storage.with_storage(move |storage| act(storage, request)).await?;
    serde_json::to_string(&answer).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

/// dynoxide's types mark by a prefix which error an unreadable request is.
fn malformed(error: &serde_json::Error) -> DynoxideError {
    let text = error.to_string();
    match text.strip_prefix("VALIDATION:").or_else(|| text.strip_prefix("VALIDATION_REQUEST:")) {
        Some(text) => DynoxideError::ValidationException(text.to_owned()),
        None => DynoxideError::SerializationException(text),
    }
}
