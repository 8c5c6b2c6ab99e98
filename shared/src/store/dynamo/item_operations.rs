//! Operations on one item, and transactions. A write that conflicts with another transaction is
//! retried a little later: DynamoDB answers that nothing happened, and the SDK does not retry it. So are
//! requests that a partition throttles for longer than the 150 ms in which the SDK makes its three attempts.

use aws_sdk_dynamodb::{
    operation::{
        delete_item::DeleteItemError, put_item::PutItemError, transact_write_items::TransactWriteItemsError,
        update_item::UpdateItemError,
    },
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem},
};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use serde::de::DeserializeOwned;

use super::{
    Attributes, conditional_write::ConditionalWrite, database::Database, from_item, update::Update,
    writer_id::WRITTEN_BY,
};
use crate::{
    error::{Error, StoreError},
    store::keys::Key,
};

/// A reason why a transaction was cancelled: if one condition failed, the others do not matter.
const CONDITION_FAILED: &str = "ConditionalCheckFailed";

impl Database {
    pub(crate) async fn get_item(&self, table: &str, key: &Key) -> Result<Option<Attributes>, Error> {
        self.read_item_with_consistency(table, key, true).await
    }

    async fn read_item_with_consistency(
        &self,
        table: &str,
        key: &Key,
        consistent: bool,
    ) -> Result<Option<Attributes>, Error> {
        let request = self.client.get_item().table_name(table).set_key(Some(key.attributes()));
        let request = request.consistent_read(consistent);
        let answer = self.retry_transient(|| request.clone().send()).await;
        Ok(answer.map_err(StoreError::from)?.item)
    }

    /// An eventually consistent read, which costs half.
    pub(crate) async fn get_eventually_consistent<T: DeserializeOwned>(
        &self,
        table: &str,
        key: &Key,
    ) -> Result<Option<T>, Error> {
        self.read_item_with_consistency(table, key, false).await?.map(from_item).transpose()
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, table: &str, key: &Key) -> Result<Option<T>, Error> {
        self.get_item(table, key).await?.map(from_item).transpose()
    }

    /// Puts an item and replaces an existing one.
    pub(crate) async fn put(&self, table: &str, item: Attributes) -> Result<(), Error> {
        let request = self.client.put_item().table_name(table).set_item(Some(item));
        let sent = self.retry_transient(|| request.clone().send()).await;
        Ok(sent.map(drop).map_err(StoreError::from)?)
    }

    /// Puts an item that must not exist; returns an existing one. An item that this very call put, whose
    /// answer was lost, counts as put now.
    pub(crate) async fn put_if_absent(
        &self,
        table: &str,
        mut item: Attributes,
    ) -> Result<ConditionalWrite, Error> {
        let owner = self.new_writer_id();
        item.insert(WRITTEN_BY.into(), owner.to_attr());
        let request = self
            .client
            .put_item()
            .table_name(table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match self.retry_transient(|| request.clone().send()).await {
            Ok(_) => Ok(ConditionalWrite::Done(Attributes::new())),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(e)) => {
                    Ok(ConditionalWrite::ConditionFailed(e.item.clone()).or_written_by(WRITTEN_BY, owner))
                }
                _ => Err(StoreError::from(error).into()),
            },
        }
    }

    /// Updates an item. A lease has to store a [`WriterId`](super::writer_id::WriterId) and to check it by
    /// [`ConditionalWrite::or_written_by`]: our own write may be what made the condition fail.
    pub(crate) async fn update(
        &self,
        table: &str,
        key: &Key,
        update: Update,
    ) -> Result<ConditionalWrite, Error> {
        let (expression, condition, names, values) = update.into_parts();
        let request = self
            .client
            .update_item()
            .table_name(table)
            .set_key(Some(key.attributes()))
            .update_expression(expression)
            .set_condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match self.retry_transient(|| request.clone().send()).await {
            Ok(answer) => Ok(ConditionalWrite::Done(answer.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(e)) => {
                    Ok(ConditionalWrite::ConditionFailed(e.item.clone()))
                }
                _ => Err(StoreError::from(error).into()),
            },
        }
    }

    /// Deletes an item if `condition` holds; does nothing where it is gone or changed.
    pub(crate) async fn delete_if(
        &self,
        table: &str,
        key: &Key,
        condition: &str,
        values: &[(&str, AttributeValue)],
    ) -> Result<(), Error> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let request = self
            .client
            .delete_item()
            .table_name(table)
            .set_key(Some(key.attributes()))
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values));
        match self.retry_transient(|| request.clone().send()).await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(StoreError::from(error).into()),
            },
        }
    }

    /// Sends until no other transaction is in the way and the partition does not throttle. The caller has to
    /// keep the time limit of its function.
    pub(super) async fn retry_transient<T, E, R, F>(&self, send: impl Fn() -> F) -> Result<T, SdkError<E, R>>
    where
        E: ProvideErrorMetadata,
        F: Future<Output = Result<T, SdkError<E, R>>>,
    {
        let mut failures = 0;
        loop {
            let sent = send().await;
            failures += 1;
            match &sent {
                Err(error) if is_transient(error.code()) && self.back_off(failures).await => {}
                _ => return sent,
            }
        }
    }

    /// All or nothing; `false` where a condition failed. The SDK gives every call a token and repeats it with
    /// that: "multiple identical calls have the same effect as one single call", for ten minutes. A cancelled
    /// transaction did nothing, so the next attempt is a call of its own.
    pub(crate) async fn transact(&self, actions: Vec<TransactWriteItem>) -> Result<bool, Error> {
        let mut failures = 0;
        loop {
            let request = self.client.transact_write_items().set_transact_items(Some(actions.clone()));
            let Err(error) = request.send().await else { return Ok(true) };
            failures += 1;
            let reasons: Vec<&str> = match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(e)) => {
                    e.cancellation_reasons().iter().filter_map(|reason| reason.code()).collect()
                }
                _ => Vec::new(),
            };
            if reasons.contains(&CONDITION_FAILED) {
                return Ok(false);
            }
            let reason = reasons.into_iter().find(|code| is_transient(Some(code)));
            let why = match reason {
                Some(code) => StoreError::of_code(code, String::new),
                None => StoreError::from(error),
            };
            if !(why.is_transient() && self.back_off(failures).await) {
                return Err(why.into());
            }
        }
    }
}

/// Whether DynamoDB did nothing, for a reason that is over in a moment.
fn is_transient(code: Option<&str>) -> bool {
    code.is_some_and(|code| StoreError::of_code(code, String::new).is_transient())
}
