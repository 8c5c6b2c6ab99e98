//! Batch operations. DynamoDB processes the members one by one: some may be done while others are throttled,
//! so those that were not processed are sent again, and each statement has its own result.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementErrorCodeEnum as Code, BatchStatementRequest, BatchStatementResponse,
    DeleteRequest, KeysAndAttributes, ReturnValuesOnConditionCheckFailure, WriteRequest,
};
use aws_smithy_types::error::operation::BuildError;

use super::{
    Store,
    dynamo::{Attributes, ConditionalWrite},
    keys::Key,
    writer_id::WriterId,
};
use crate::error::{Error, StoreError};

/// `BatchGetItem` takes at most this many keys.
pub const BATCH_GET: usize = 100;
/// `BatchWriteItem` and `BatchExecuteStatement` take at most this many.
pub const BATCH_WRITE: usize = 25;

/// One PartiQL statement. Only what AWS documents with an example is used: `INSERT INTO … VALUE {…}`, and
/// `UPDATE … SET a=… SET b=… WHERE …` with `=` and `AND`. "If the WHERE clause of the UPDATE statement does
/// not evaluate to true for any item in the DynamoDB table, ConditionalCheckFailedException is returned"; a
/// missing attribute equals nothing.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    text: String,
    values: Vec<AttributeValue>,
    /// Whether a failed condition returns the item.
    returns_old_item: bool,
}

impl Statement {
    /// Updates an existing item in which every attribute of `when` has the given value.
    pub(super) fn update(
        table: &str,
        key: Key,
        set: Vec<(&str, AttributeValue)>,
        when: Vec<(&str, AttributeValue)>,
    ) -> Self {
        let sets: Vec<_> = set.iter().map(|(name, _)| format!("SET \"{name}\" = ?")).collect();
        let wheres: String = when.iter().map(|(name, _)| format!(" AND \"{name}\" = ?")).collect();
        let text = format!("UPDATE \"{table}\" {} WHERE pk = ? AND sk = ?{wheres}", sets.join(" "));
        let values = set.into_iter().map(|(_, value)| value);
        let values = values.chain([AttributeValue::S(key.pk), AttributeValue::S(key.sk)]);
        Self {
            text,
            values: values.chain(when.into_iter().map(|(_, value)| value)).collect(),
            returns_old_item: true,
        }
    }

    /// Inserts an item that must not exist; an existing one makes DynamoDB answer with `DuplicateItem`.
    pub(super) fn insert(table: &str, item: Attributes) -> Self {
        let mut attributes: Vec<_> = item.into_iter().collect();
        attributes.sort_by(|a, b| a.0.cmp(&b.0)); // one statement text for all, which DynamoDB can cache
        let members: Vec<_> = attributes.iter().map(|(name, _)| format!("'{name}': ?")).collect();
        let text = format!("INSERT INTO \"{table}\" VALUE {{{}}}", members.join(", "));
        Self { text, values: attributes.into_iter().map(|(_, v)| v).collect(), returns_old_item: false }
    }

    fn request(&self) -> Result<BatchStatementRequest, BuildError> {
        BatchStatementRequest::builder()
            .statement(&self.text)
            .set_parameters(Some(self.values.clone()))
            .set_return_values_on_condition_check_failure(
                self.returns_old_item.then_some(ReturnValuesOnConditionCheckFailure::AllOld),
            )
            .build()
    }
}

/// The result of one statement of a batch.
#[derive(Debug)]
pub enum StatementResult {
    /// DynamoDB executed it; its condition may have failed.
    Executed(ConditionalWrite),
    /// Not executed, as far as we know: why.
    Failed(StoreError),
}

impl StatementResult {
    /// As [`ConditionalWrite::or_written_by`].
    #[must_use]
    pub fn or_written_by(self, name: &str, owner: WriterId) -> Self {
        match self {
            Self::Executed(written) => Self::Executed(written.or_written_by(name, owner)),
            undone @ Self::Failed(_) => undone,
        }
    }

    /// Whether the write happened.
    ///
    /// # Errors
    /// [`Error::Store`] where the statement was not executed.
    pub fn into_done(self) -> Result<bool, Error> {
        match self {
            Self::Executed(written) => Ok(written.is_done()),
            Self::Failed(why) => Err(why.into()),
        }
    }

    /// The result, and whether a retry may help.
    fn from_response(response: &BatchStatementResponse) -> (Self, bool) {
        let Some(error) = response.error() else {
            return (Self::Executed(ConditionalWrite::Done(Attributes::new())), false);
        };
        match error.code() {
            Some(Code::ConditionalCheckFailed | Code::DuplicateItem) => {
                (Self::Executed(ConditionalWrite::ConditionFailed(error.item.clone())), false)
            }
            code => {
                let code = code.map_or("error", Code::as_str);
                let why = StoreError::of_code(code, || code.to_owned());
                let may_pass = !matches!(why, StoreError::Rejected(_));
                (Self::Failed(why), may_pass)
            }
        }
    }
}

impl Store {
    /// Items of `keys`, in no order; missing ones are left out.
    pub(super) async fn get_many(&self, table: &str, keys: &[Key]) -> Result<Vec<Attributes>, Error> {
        let wanted: Vec<_> = keys.iter().map(|key| (table, key.clone())).collect();
        self.get_from_tables(&wanted).await
    }

    /// Items of any tables, each key given once, in no order; missing ones are left out.
    pub(super) async fn get_from_tables(&self, wanted: &[(&str, Key)]) -> Result<Vec<Attributes>, Error> {
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
                let request = self.db.batch_get_item().set_request_items(Some(rest));
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
    pub(super) async fn delete_many(&self, table: &str, keys: &[Key]) -> Result<(), Error> {
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
                let request = self.db.batch_write_item().set_request_items(Some(rest));
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
    pub(super) async fn execute_statements(
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
                .db
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
