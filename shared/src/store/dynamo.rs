//! DynamoDB as the nouns of the store use it: items here, requests in [`database::Database`]. Nothing in this folder
//! knows what is stored.
//!
//! | file | what |
//! |---|---|
//! | [`database`] | the tables and their client, and waits between attempts |
//! | [`item_operations`], [`batch_operations`], [`queries`] | its requests: about one item and in transactions, about many, pages of a partition |
//! | [`update`], [`actions`], [`statement`], [`query`] | how a request is put together |
//! | [`conditional_write`], [`writer_id`] | what a conditional write led to, and whether an unanswered one was ours |

pub mod actions;
pub mod batch_operations;
pub mod conditional_write;
pub mod database;
mod item_operations;
mod queries;
pub mod query;
pub mod statement;
pub mod update;
pub mod writer_id;

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Serialize, de::DeserializeOwned};

use super::keys::Key;
use crate::{
    error::{Error, serde_error_text},
    ids,
};

/// An item as DynamoDB has it.
pub type Attributes = HashMap<String, AttributeValue>;

/// Layout version in the attribute `v`, so that a later release can tell what it reads. An item that was
/// created by an update has none, which is layout 1.
pub const ITEM_VERSION: u32 = 1;

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
pub(crate) fn read_valid<T: DeserializeOwned>(items: impl IntoIterator<Item = Attributes>) -> Vec<T> {
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
pub(crate) fn to_item<T: Serialize>(key: &Key, value: &T, ttl: Option<i64>) -> Result<Attributes, Error> {
    let mut item: Attributes = serde_dynamo::to_item(value).map_err(|e| Error::Item(serde_error_text(&e)))?;
    item.retain(|_, v| !matches!(v, AttributeValue::Null(_)));
    item.extend(key.attributes());
    item.insert("v".into(), n(ITEM_VERSION));
    if let Some(ttl) = ttl {
        item.insert("ttl".into(), n(ttl));
    }
    Ok(item)
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
