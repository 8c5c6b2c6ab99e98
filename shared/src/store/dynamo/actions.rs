//! Actions of a transaction, beside updates ([`super::update::Update::into_action`]).

use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem};

use super::Attributes;
use crate::{
    error::{Error, StoreError},
    store::keys::Key,
};

/// A put with a condition, as part of a transaction.
pub(crate) fn put_action(
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
        .map_err(StoreError::from)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// A deletion with a condition, as part of a transaction.
pub(crate) fn delete_action(
    table: &str,
    key: &Key,
    condition: Option<(&str, Attributes)>,
) -> Result<TransactWriteItem, Error> {
    let (condition, values) = condition.map_or((None, None), |(c, v)| (Some(c.to_owned()), Some(v)));
    let delete = Delete::builder()
        .table_name(table)
        .set_key(Some(key.attributes()))
        .set_condition_expression(condition)
        .set_expression_attribute_values(values)
        .build()
        .map_err(StoreError::from)?;
    Ok(TransactWriteItem::builder().delete(delete).build())
}

/// A check of an item that the transaction does not write. The condition uses `#name` for each of `names`,
/// and `values`.
pub(crate) fn check_action(
    table: &str,
    key: &Key,
    condition: &str,
    names: &[&str],
    values: &[(&str, AttributeValue)],
) -> Result<TransactWriteItem, Error> {
    let mut check = ConditionCheck::builder()
        .table_name(table)
        .set_key(Some(key.attributes()))
        .condition_expression(condition);
    for name in names {
        check = check.expression_attribute_names(format!("#{name}"), *name);
    }
    for (name, value) in values {
        check = check.expression_attribute_values(*name, value.clone());
    }
    let check = check.build().map_err(StoreError::from)?;
    Ok(TransactWriteItem::builder().condition_check(check).build())
}
