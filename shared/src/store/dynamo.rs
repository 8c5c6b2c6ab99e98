//! Items and updates: attribute values, the result of a conditional write, and updates with a condition. The
//! requests are in `item_operations.rs` and `batch_operations.rs`.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem, Update as TransactUpdate,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{keys::Key, writer_id::WriterId};
use crate::{
    error::{Error, StoreError, serde_error_text},
    ids,
};

/// An item as DynamoDB has it.
pub type Attributes = HashMap<String, AttributeValue>;

/// Layout version in the attribute `v`, so that a later release can tell what it reads. An item that was
/// created by an update has none, which is layout 1.
pub const ITEM_VERSION: u32 = 1;

/// The result of a conditional write.
#[derive(Debug)]
pub enum ConditionalWrite {
    /// It happened; the item as it is now, where the operation returns it.
    Done(Attributes),
    /// The condition failed; the item as it is, if it exists.
    ConditionFailed(Option<Attributes>),
}

impl ConditionalWrite {
    /// Whether it happened.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// Where the condition failed, and the attribute `name` carries `owner`, it was our own write whose
    /// answer was lost: it happened, and the item is as it is now.
    #[must_use]
    pub fn or_written_by(self, name: &str, owner: WriterId) -> Self {
        self.or_done_if(|item| owner.is_writer_of(item, name))
    }

    /// The same, where `own` recognises our own write in the item.
    #[must_use]
    pub fn or_done_if(self, own: impl FnOnce(&Attributes) -> bool) -> Self {
        match self {
            Self::ConditionFailed(Some(item)) if own(&item) => Self::Done(item),
            other => other,
        }
    }
}

/// Expression, condition, names and values of an [`Update`].
pub(super) type UpdateParts = (String, Option<String>, Option<HashMap<String, String>>, Option<Attributes>);

/// One `UpdateItem`: assignments, removals and a condition, with names and values kept apart.
#[derive(Debug, Default, Clone)]
pub struct Update {
    set: Vec<String>,
    remove: Vec<String>,
    add: Vec<String>,
    delete: Vec<String>,
    condition: Option<String>,
    names: HashMap<String, String>,
    values: Attributes,
}

impl Update {
    /// An empty update.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty() && self.add.is_empty() && self.delete.is_empty()
    }

    /// `name = value`.
    #[must_use]
    pub fn set(mut self, name: &str, value: AttributeValue) -> Self {
        let (n, v) = self.alias(name, value);
        self.set.push(format!("{n} = {v}"));
        self
    }

    /// `name = value` where there is a value; nothing otherwise.
    #[must_use]
    pub fn set_some(self, name: &str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// `name = value` where there is a value; removes the attribute otherwise.
    #[must_use]
    pub fn set_or_remove(self, name: &str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self.remove(name),
        }
    }

    /// `name = value` unless the item has that attribute.
    #[must_use]
    pub fn set_if_absent(mut self, name: &str, value: AttributeValue) -> Self {
        let (n, v) = self.alias(name, value);
        self.set.push(format!("{n} = if_not_exists({n}, {v})"));
        self
    }

    /// `map.member = value`, in a map that exists.
    #[must_use]
    pub fn set_map_entry(mut self, map: &str, member: &str, value: AttributeValue) -> Self {
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

    /// Deletes elements from a set; with the last one the attribute is removed.
    #[must_use]
    pub fn delete_from_set(mut self, name: &str, value: AttributeValue) -> Self {
        let (n, v) = self.alias(name, value);
        self.delete.push(format!("{n} {v}"));
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
        let clause = |word: &str, items: &[String]| match items {
            [] => String::new(),
            some => format!("{word} {} ", some.join(", ")),
        };
        let (set, remove) = (clause("SET", &self.set), clause("REMOVE", &self.remove));
        [set, remove, clause("ADD", &self.add), clause("DELETE", &self.delete)].concat().trim_end().to_owned()
    }

    pub(super) fn into_parts(self) -> UpdateParts {
        let expression = self.expression();
        (
            expression,
            self.condition,
            Some(self.names).filter(|n| !n.is_empty()),
            Some(self.values).filter(|v| !v.is_empty()),
        )
    }

    /// As one action of a transaction.
    pub(super) fn into_action(self, table: &str, key: &Key) -> Result<TransactWriteItem, Error> {
        let (expression, condition, names, values) = self.into_parts();
        let update = TransactUpdate::builder()
            .table_name(table)
            .set_key(Some(key.attributes()))
            .update_expression(expression)
            .set_condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .build()
            .map_err(StoreError::from)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}

/// A string attribute.
pub fn s(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number attribute.
pub fn n(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The attribute of any serializable value.
///
/// # Errors
/// [`Error::Item`] for what DynamoDB cannot hold.
pub fn to_attr<T: Serialize>(value: &T) -> Result<AttributeValue, Error> {
    serde_dynamo::to_attribute_value(value).map_err(|e| Error::Item(serde_error_text(&e)))
}

/// Reads an item into a struct.
///
/// # Errors
/// [`Error::Item`] where it is not what this version writes.
pub fn from_item<T: DeserializeOwned>(item: Attributes) -> Result<T, Error> {
    serde_dynamo::from_item(item).map_err(|e| Error::Item(serde_error_text(&e)))
}

/// Reads the items that can be read and logs the others: a bad item must not hide other tenants' items.
pub(super) fn read_valid<T: DeserializeOwned>(items: impl IntoIterator<Item = Attributes>) -> Vec<T> {
    let one = |item: Attributes| {
        let [pk, sk] = ["pk", "sk"].map(|name| item.get(name).and_then(|v| v.as_s().ok()).cloned());
        let (pk, sk) = (pk.unwrap_or_default(), sk.unwrap_or_default());
        from_item(item)
            .inspect_err(|error| {
                let (family, key) = (key_family(&pk), ids::fingerprint(&[&pk, &sk]));
                tracing::error!(family, key, %error, "an item of {family} is left out: {error}");
            })
            .ok()
    };
    items.into_iter().filter_map(one).collect()
}

/// What an item is, by its partition key: what follows may be an openid, which no log line has.
fn key_family(pk: &str) -> &str {
    pk.split('#').next().unwrap_or_default()
}

/// The item of `value` under `key`; `ttl` is when DynamoDB may delete it, unix seconds.
pub(super) fn to_item<T: Serialize>(key: &Key, value: &T, ttl: Option<i64>) -> Result<Attributes, Error> {
    let mut item: Attributes = serde_dynamo::to_item(value).map_err(|e| Error::Item(serde_error_text(&e)))?;
    item.retain(|_, v| !matches!(v, AttributeValue::Null(_)));
    item.extend(key.attributes());
    item.insert("v".into(), n(ITEM_VERSION));
    if let Some(ttl) = ttl {
        item.insert("ttl".into(), n(ttl));
    }
    Ok(item)
}

/// A put with a condition, as part of a transaction.
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
        .map_err(StoreError::from)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// A deletion with a condition, as part of a transaction.
pub(super) fn delete_action(
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
pub(super) fn check_action(
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

/// A query.
pub(super) struct Query<'a> {
    pub table: &'a str,
    pub index: Option<&'a str>,
    /// Strongly consistent; of the indexes only a local one can be.
    pub consistent: bool,
    pub condition: &'a str,
    pub names: &'a [(&'a str, &'a str)],
    pub values: &'a [(&'a str, AttributeValue)],
    pub descending: bool,
    pub limit: i32,
    pub start: Option<Attributes>,
}

/// A page of a query's result.
pub(super) struct QueryPage {
    pub items: Vec<Attributes>,
    pub next: Option<Attributes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_an_unreadable_item_names_nobody() {
        for (pk, family) in [
            ("FAN#ten_1#wx1#oHub0001", "FAN"),
            ("LINE#ten_1#wx1#oHub0001", "LINE"),
            ("COMPONENT", "COMPONENT"),
            ("", ""),
        ] {
            assert_eq!(key_family(pk), family);
        }
    }
}
