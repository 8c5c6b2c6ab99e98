//! Batch operations. DynamoDB processes the members one by one: some may be done while others are throttled,
//! so those that were not processed are sent again, and each statement has its own result.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{DeleteRequest, KeysAndAttributes, WriteRequest};

use super::{
    Attributes,
    database::Database,
    statement::{Statement, StatementResult},
};
use crate::{
    error::{Error, StoreError},
    store::keys::Key,
};

/// `BatchGetItem` takes at most this many keys.
pub const BATCH_GET: usize = 100;
/// `BatchWriteItem` and `BatchExecuteStatement` take at most this many.
pub const BATCH_WRITE: usize = 25;

impl Database {
    /// Items of `keys`, in no order; missing ones are left out.
    pub(crate) async fn get_many(&self, table: &str, keys: &[Key]) -> Result<Vec<Attributes>, Error> {
        let wanted: Vec<_> = keys.iter().map(|key| (table, key.clone())).collect();
        self.get_from_tables(&wanted).await
    }

    /// Items of any tables, each key given once, in no order; missing ones are left out.
    pub(crate) async fn get_from_tables(&self, wanted: &[(&str, Key)]) -> Result<Vec<Attributes>, Error> {
        let mut found = Vec::with_capacity(wanted.len());
        for chunk in wanted.chunks(BATCH_GET) {
            let mut tables: HashMap<&str, Vec<Attributes>> = HashMap::new();
            for (table, key) in chunk {
                tables.entry(table).or_default().push(key.attributes());
            }
            let mut rest = HashMap::with_capacity(tables.len());
            for (table, keys) in tables {
                let table_keys =
                    KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
                rest.insert(table.to_owned(), table_keys.map_err(StoreError::from)?);
            }
            let mut failures = 0;
            while !rest.is_empty() {
                let request = self.client.batch_get_item().set_request_items(Some(rest));
                let answer = self.retry_transient(|| request.clone().send()).await;
                let answer = answer.map_err(StoreError::from)?;
                found.extend(answer.responses.unwrap_or_default().into_values().flatten());
                rest = answer.unprocessed_keys.unwrap_or_default();
                failures += 1;
                if !rest.is_empty() && !self.back_off(failures).await {
                    return Err(StoreError::Throttled.into());
                }
            }
        }
        Ok(found)
    }

    /// Deletes items of one table, without conditions.
    pub(crate) async fn delete_many(&self, table: &str, keys: &[Key]) -> Result<(), Error> {
        let delete = |key: &Key| {
            let delete = DeleteRequest::builder().set_key(Some(key.attributes())).build();
            let delete = delete.map_err(StoreError::from)?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        };
        for chunk in keys.chunks(BATCH_WRITE) {
            let writes = chunk.iter().map(delete).collect::<Result<Vec<_>, Error>>()?;
            let mut rest = HashMap::from([(table.to_owned(), writes)]);
            let mut failures = 0;
            while !rest.is_empty() {
                let request = self.client.batch_write_item().set_request_items(Some(rest));
                let answer = self.retry_transient(|| request.clone().send()).await;
                let answer = answer.map_err(StoreError::from)?;
                rest = answer.unprocessed_items.unwrap_or_default();
                failures += 1;
                if !rest.is_empty() && !self.back_off(failures).await {
                    return Err(StoreError::Throttled.into());
                }
            }
        }
        Ok(())
    }

    /// Executes statements on any tables, each about an item of its own. Throttled ones are retried; the
    /// results are in the order of `statements`.
    ///
    /// # Errors
    /// [`Error::Store`] where a request got no answer: some may have happened.
    pub(crate) async fn execute_statements(
        &self,
        statements: &[Statement],
    ) -> Result<Vec<StatementResult>, Error> {
        let mut answers = Vec::with_capacity(statements.len());
        for chunk in statements.chunks(BATCH_WRITE) {
            answers.extend(self.execute_batch(chunk).await?);
        }
        Ok(answers)
    }

    async fn execute_batch(&self, statements: &[Statement]) -> Result<Vec<StatementResult>, Error> {
        let mut answers: Vec<Option<StatementResult>> = statements.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..statements.len()).collect();
        let mut failures = 0;
        loop {
            let requests = open.iter().filter_map(|n| statements.get(*n)).map(Statement::request);
            let request = self
                .client
                .batch_execute_statement()
                .set_statements(Some(requests.collect::<Result<_, _>>().map_err(StoreError::from)?));
            let sent = self.retry_transient(|| request.clone().send()).await;
            let sent = sent.map_err(StoreError::from)?;
            let mut again = Vec::new();
            for (n, response) in open.iter().zip(sent.responses()) {
                let (answer, passes) = StatementResult::from_response(response);
                if passes {
                    again.push(*n);
                }
                if let Some(place) = answers.get_mut(*n) {
                    *place = Some(answer);
                }
            }
            failures += 1;
            open = again;
            if open.is_empty() || !self.back_off(failures).await {
                let answers: Option<Vec<StatementResult>> = answers.into_iter().collect();
                return answers.ok_or_else(|| StoreError::Unavailable("answers are missing".into()).into());
            }
        }
    }
}
