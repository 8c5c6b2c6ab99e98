//! What every item family does with a table: get, put, update under a condition, query, batch.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementRequest, DeleteRequest, KeysAndAttributes, Put, PutRequest, ReturnValue,
    ReturnValuesOnConditionCheckFailure, Select, TransactWriteItem, Update as TransactUpdate, WriteRequest,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Store, keys::Key};
use crate::error::{Error, sdk_error};

/// An item as DynamoDB has it.
pub type Attributes = HashMap<String, AttributeValue>;

/// Layout version in the attribute `v`, so that a later release can tell what it reads. An item that an update made
/// has none, which is layout 1.
pub const ITEM_VERSION: u32 = 1;
/// `BatchGetItem` takes at most this many keys.
pub const BATCH_GET: usize = 100;
/// `BatchWriteItem` and `BatchExecuteStatement` take at most this many.
pub const BATCH_WRITE: usize = 25;
/// How often what a batch left undone is tried again before it is an error.
const BATCH_TRIES: usize = 5;

/// What became of a conditional write.
#[derive(Debug)]
pub enum Written {
    /// It happened; the item as it is now, where that was asked for.
    Done(Attributes),
    /// The condition did not hold; the item as it is, if there is one.
    Refused(Option<Attributes>),
}

impl Written {
    /// Whether it happened.
    #[must_use]
    pub fn done(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}

/// Expression, condition, names and values of an [`Update`].
type Parts = (String, Option<String>, Option<HashMap<String, String>>, Option<Attributes>);

/// One `UpdateItem`: assignments, removals and a condition, with names and values kept apart.
#[derive(Debug, Default, Clone)]
pub struct Update {
    set: Vec<String>,
    remove: Vec<String>,
    add: Vec<String>,
    condition: Option<String>,
    names: HashMap<String, String>,
    values: Attributes,
}

impl Update {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty() && self.add.is_empty()
    }

    /// `name = value`.
    #[must_use]
    pub fn set(mut self, name: &str, value: AttributeValue) -> Self {
        let (n, v) = self.alias(name, value);
        self.set.push(format!("{n} = {v}"));
        self
    }

    /// `name = value` where the value is there, nothing else.
    #[must_use]
    pub fn set_some(self, name: &str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// `name = value` unless the item has that attribute.
    #[must_use]
    pub fn set_if_absent(mut self, name: &str, value: AttributeValue) -> Self {
        let (n, v) = self.alias(name, value);
        self.set.push(format!("{n} = if_not_exists({n}, {v})"));
        self
    }

    /// `map.member = value`, in a map that is there.
    #[must_use]
    pub fn set_in(mut self, map: &str, member: &str, value: AttributeValue) -> Self {
        let map = self.name(map);
        let alias = format!("#m{member}");
        self.names.insert(alias.clone(), member.to_owned());
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        self.set.push(format!("{map}.{alias} = {placeholder}"));
        self
    }

    /// Adds to a number (from 0) or to a set (from empty).
    #[must_use]
    pub fn add(mut self, name: &str, value: AttributeValue) -> Self {
        let (n, v) = self.alias(name, value);
        self.add.push(format!("{n} {v}"));
        self
    }

    /// Removes an attribute.
    #[must_use]
    pub fn remove(mut self, name: &str) -> Self {
        let n = self.name(name);
        self.remove.push(n);
        self
    }

    /// The condition, in terms of `#name` and of `:placeholders` given here.
    #[must_use]
    pub fn when(mut self, condition: &str, values: &[(&str, AttributeValue)]) -> Self {
        let mut name = String::new();
        let mut inside = false;
        for c in condition.chars().chain(std::iter::once(' ')) {
            if inside && !(c.is_ascii_alphanumeric() || c == '_') {
                inside = false;
                let found = std::mem::take(&mut name);
                self.name(&found);
            }
            if inside {
                name.push(c);
            }
            if c == '#' {
                inside = true;
            }
        }
        self.condition = Some(condition.to_owned());
        self.values.extend(values.iter().map(|(n, v)| ((*n).to_owned(), v.clone())));
        self
    }

    fn name(&mut self, name: &str) -> String {
        let alias = format!("#{name}");
        self.names.insert(alias.clone(), name.to_owned());
        alias
    }

    fn alias(&mut self, name: &str, value: AttributeValue) -> (String, String) {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        (self.name(name), placeholder)
    }

    fn expression(&self) -> String {
        let part = |word: &str, items: &[String]| match items {
            [] => String::new(),
            some => format!("{word} {} ", some.join(", ")),
        };
        [part("SET", &self.set), part("REMOVE", &self.remove), part("ADD", &self.add)]
            .concat()
            .trim_end()
            .to_owned()
    }

    fn parts(self) -> Parts {
        let expression = self.expression();
        (
            expression,
            self.condition,
            Some(self.names).filter(|n| !n.is_empty()),
            Some(self.values).filter(|v| !v.is_empty()),
        )
    }

    /// As one action of a transaction.
    pub(super) fn action(self, table: &str, key: &Key) -> Result<TransactWriteItem, Error> {
        let (expression, condition, names, values) = self.parts();
        let update = TransactUpdate::builder()
            .table_name(table)
            .set_key(Some(key.attributes()))
            .update_expression(expression)
            .set_condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .build()
            .map_err(|e| Error::Store(e.to_string()))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}

/// A string.
pub fn s(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number.
pub fn n(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Any value that serde knows.
///
/// # Errors
/// [`Error::Item`] for what DynamoDB cannot hold.
pub fn any<T: Serialize>(value: &T) -> Result<AttributeValue, Error> {
    serde_dynamo::to_attribute_value(value).map_err(|e| Error::Item(e.to_string()))
}

/// Reads an item into a struct.
///
/// # Errors
/// [`Error::Item`] where it is not what this version writes.
pub fn read<T: DeserializeOwned>(item: Attributes) -> Result<T, Error> {
    serde_dynamo::from_item(item).map_err(|e| Error::Item(e.to_string()))
}

/// The item of `value` under `key`; `ttl` is when DynamoDB may delete it, unix seconds.
pub(super) fn item<T: Serialize>(key: &Key, value: &T, ttl: Option<i64>) -> Result<Attributes, Error> {
    let mut item: Attributes = serde_dynamo::to_item(value).map_err(|e| Error::Item(e.to_string()))?;
    item.retain(|_, v| !matches!(v, AttributeValue::Null(_)));
    item.extend(key.attributes());
    item.insert("v".into(), n(ITEM_VERSION));
    if let Some(ttl) = ttl {
        item.insert("ttl".into(), n(ttl));
    }
    Ok(item)
}

/// A transaction's put, under a condition.
pub(super) fn put_action(
    table: &str,
    item: Attributes,
    condition: Option<(&str, Attributes)>,
) -> Result<TransactWriteItem, Error> {
    let (condition, values) =
        condition.map_or((None, None), |(c, v)| (Some(c), Some(v).filter(|v| !v.is_empty())));
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .set_condition_expression(condition.map(str::to_owned))
        .set_expression_attribute_values(values)
        .build()
        .map_err(|e| Error::Store(e.to_string()))?;
    Ok(TransactWriteItem::builder().put(put).build())
}

impl Store {
    pub(super) async fn get_item(&self, table: &str, key: &Key) -> Result<Option<Attributes>, Error> {
        let answer = self
            .db
            .get_item()
            .table_name(table)
            .set_key(Some(key.attributes()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|e| Error::Store(sdk_error(&e)))?;
        Ok(answer.item)
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, table: &str, key: &Key) -> Result<Option<T>, Error> {
        self.get_item(table, key).await?.map(read).transpose()
    }

    pub(super) async fn put(&self, table: &str, item: Attributes) -> Result<(), Error> {
        let request = self.db.put_item().table_name(table).set_item(Some(item));
        request.send().await.map(drop).map_err(|e| Error::Store(sdk_error(&e)))
    }

    /// Puts an item that must not exist; answers the one that does.
    pub(super) async fn put_new(&self, table: &str, item: Attributes) -> Result<Written, Error> {
        let sent = self
            .db
            .put_item()
            .table_name(table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Written::Done(Attributes::new())),
            Err(error) => match error.as_service_error() {
                Some(
                    aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(e),
                ) => Ok(Written::Refused(e.item.clone())),
                _ => Err(Error::Store(sdk_error(&error))),
            },
        }
    }

    pub(super) async fn update(&self, table: &str, key: &Key, update: Update) -> Result<Written, Error> {
        let (expression, condition, names, values) = update.parts();
        let sent = self
            .db
            .update_item()
            .table_name(table)
            .set_key(Some(key.attributes()))
            .update_expression(expression)
            .set_condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(answer) => Ok(Written::Done(answer.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(
                    e,
                )) => Ok(Written::Refused(e.item.clone())),
                _ => Err(Error::Store(sdk_error(&error))),
            },
        }
    }

    /// All or nothing; `false` where a condition did not hold.
    pub(super) async fn transact(&self, actions: Vec<TransactWriteItem>) -> Result<bool, Error> {
        use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
        let sent = self.db.transact_write_items().set_transact_items(Some(actions)).send().await;
        match sent {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(e))
                    if e.cancellation_reasons()
                        .iter()
                        .any(|r| r.code() == Some("ConditionalCheckFailed")) =>
                {
                    Ok(false)
                }
                _ => Err(Error::Store(sdk_error(&error))),
            },
        }
    }

    /// Items of `keys`, in no order; those that do not exist are left out.
    pub(super) async fn get_many(&self, table: &str, keys: &[Key]) -> Result<Vec<Attributes>, Error> {
        let mut found = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(BATCH_GET) {
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(chunk.iter().map(Key::attributes).collect()))
                .consistent_read(true)
                .build()
                .map_err(|e| Error::Store(e.to_string()))?;
            let mut rest = Some(HashMap::from([(table.to_owned(), wanted)]));
            for _ in 0..BATCH_TRIES {
                let Some(request) = rest.take().filter(|r| !r.is_empty()) else { break };
                let answer = self
                    .db
                    .batch_get_item()
                    .set_request_items(Some(request))
                    .send()
                    .await
                    .map_err(|e| Error::Store(sdk_error(&e)))?;
                found.extend(answer.responses.unwrap_or_default().into_values().flatten());
                rest = answer.unprocessed_keys;
            }
            if rest.is_some_and(|r| !r.is_empty()) {
                return Err(Error::Store("keys stayed unprocessed".into()));
            }
        }
        Ok(found)
    }

    /// Puts items of any tables, without conditions.
    pub(super) async fn put_many(&self, items: Vec<(&str, Attributes)>) -> Result<(), Error> {
        for chunk in items.chunks(BATCH_WRITE) {
            let mut request: HashMap<String, Vec<WriteRequest>> = HashMap::new();
            for (table, item) in chunk {
                let put = PutRequest::builder()
                    .set_item(Some(item.clone()))
                    .build()
                    .map_err(|e| Error::Store(e.to_string()))?;
                request
                    .entry((*table).to_owned())
                    .or_default()
                    .push(WriteRequest::builder().put_request(put).build());
            }
            self.write_batch(request).await?;
        }
        Ok(())
    }

    /// One batch of at most [`BATCH_WRITE`] writes, until all are done.
    async fn write_batch(&self, request: HashMap<String, Vec<WriteRequest>>) -> Result<(), Error> {
        let mut rest = Some(request);
        for _ in 0..BATCH_TRIES {
            let Some(request) = rest.take().filter(|r| !r.is_empty()) else { break };
            let answer = self
                .db
                .batch_write_item()
                .set_request_items(Some(request))
                .send()
                .await
                .map_err(|e| Error::Store(sdk_error(&e)))?;
            rest = answer.unprocessed_items;
        }
        if rest.is_some_and(|r| !r.is_empty()) {
            return Err(Error::Store("items stayed unprocessed".into()));
        }
        Ok(())
    }

    /// Deletes items of one table, without conditions.
    pub(super) async fn delete_many(&self, table: &str, keys: &[Key]) -> Result<(), Error> {
        let delete = |key: &Key| {
            let delete = DeleteRequest::builder().set_key(Some(key.attributes())).build();
            let delete = delete.map_err(|e| Error::Store(e.to_string()))?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        };
        for chunk in keys.chunks(BATCH_WRITE) {
            let writes = chunk.iter().map(delete).collect::<Result<Vec<_>, Error>>()?;
            self.write_batch(HashMap::from([(table.to_owned(), writes)])).await?;
        }
        Ok(())
    }

    /// PartiQL statements, each on its own: whether each one's condition held.
    pub(super) async fn statements(
        &self,
        statements: Vec<(String, Vec<AttributeValue>)>,
    ) -> Result<Vec<bool>, Error> {
        let mut held = Vec::with_capacity(statements.len());
        for chunk in statements.chunks(BATCH_WRITE) {
            let requests = chunk
                .iter()
                .map(|(statement, parameters)| {
                    BatchStatementRequest::builder()
                        .statement(statement)
                        .set_parameters(Some(parameters.clone()))
                        .build()
                        .map_err(|e| Error::Store(e.to_string()))
                })
                .collect::<Result<Vec<_>, _>>()?;
            let answer = self
                .db
                .batch_execute_statement()
                .set_statements(Some(requests))
                .send()
                .await
                .map_err(|e| Error::Store(sdk_error(&e)))?;
            for response in answer.responses() {
                use aws_sdk_dynamodb::types::BatchStatementErrorCodeEnum as Code;
                match response.error().map(|e| (e.code(), e.message().unwrap_or(""))) {
                    None => held.push(true),
                    Some((Some(Code::ConditionalCheckFailed | Code::DuplicateItem), _)) => held.push(false),
                    Some((code, message)) => return Err(Error::Store(format!("{code:?}: {message}"))),
                }
            }
        }
        if held.len() == statements.len() {
            Ok(held)
        } else {
            Err(Error::Store("answers are missing".into()))
        }
    }

    /// One page of a query by partition key and a sort-key prefix.
    pub(super) async fn query(&self, query: Query<'_>) -> Result<Page, Error> {
        let mut request = self
            .db
            .query()
            .table_name(query.table)
            .set_index_name(query.index.map(str::to_owned))
            .consistent_read(query.index.is_none() || query.consistent)
            // a local index holds keys alone; DynamoDB reads the items of them with it
            .set_select((query.index.is_some() && query.consistent).then_some(Select::AllAttributes))
            .key_condition_expression(query.condition)
            .scan_index_forward(!query.descending)
            .limit(query.limit)
            .set_exclusive_start_key(query.start);
        for (name, value) in query.values {
            request = request.expression_attribute_values(*name, value.clone());
        }
        for (alias, name) in query.names {
            request = request.expression_attribute_names(*alias, *name);
        }
        let answer = request.send().await.map_err(|e| Error::Store(sdk_error(&e)))?;
        Ok(Page { items: answer.items.unwrap_or_default(), next: answer.last_evaluated_key })
    }
}

/// A query.
pub(super) struct Query<'a> {
    pub table: &'a str,
    pub index: Option<&'a str>,
    /// Strongly consistent, which of the indexes only a local one can be.
    pub consistent: bool,
    pub condition: &'a str,
    pub names: &'a [(&'a str, &'a str)],
    pub values: &'a [(&'a str, AttributeValue)],
    pub descending: bool,
    pub limit: i32,
    pub start: Option<Attributes>,
}

/// What a query answered.
pub(super) struct Page {
    pub items: Vec<Attributes>,
    pub next: Option<Attributes>,
}
