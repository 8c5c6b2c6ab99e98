//! Who made a conditional write. A write may land while its answer is lost; the SDK then sends it again by itself, and it
//! meets what it did. So whoever claims something writes a random id with it, has a refusal answered with the item that
//! is there, and takes a refusal whose item carries that id for the success that it was:
//!
//! `self.update(table, key, update.set("claimed_by", owner.value())…).await?.or_own("claimed_by", owner)`
//!
//! [`Store::put_new`](super::Store) does so by itself, and a transaction carries a token by which DynamoDB knows it.

use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;

use super::{Store, table::Attributes};

/// Attribute of every item that was put as a new one: who put it.
pub const WRITTEN_BY: &str = "written_by";

/// Whoever makes one claim: 64 random bits. They tell apart the few that meet at one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(u64);

impl Owner {
    /// As an attribute.
    #[must_use]
    pub fn value(self) -> AttributeValue {
        AttributeValue::S(self.to_string())
    }

    /// Whether `item` carries this one in its attribute `name`.
    #[must_use]
    pub fn wrote(self, item: &Attributes, name: &str) -> bool {
        item.get(name).and_then(|value| value.as_s().ok()).is_some_and(|text| *text == self.to_string())
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Store {
    /// A new one, for one claim or for all claims of one request.
    #[must_use]
    pub fn owner(&self) -> Owner {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        Owner(u64::from_le_bytes(bytes))
    }
}
