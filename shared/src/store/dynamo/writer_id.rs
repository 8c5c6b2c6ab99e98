//! Recognises our own conditional write. A write may happen while its answer is lost; the SDK repeats it, and
//! the condition fails because of our own write. So the writer stores a random id, has DynamoDB return the
//! item on failure, and takes a failure whose item carries that id for the success that it was:
//!
//! `db.update(table, key, update.set("claimed_by", id.to_attr())…).await?.or_written_by("claimed_by", id)`
//!
//! [`put_if_absent`](super::database::Database::put_if_absent) does so itself; DynamoDB knows a transaction by its token.

use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;

use super::Attributes;
use crate::random::Random;

/// Attribute of every item that was inserted: the writer.
pub const WRITTEN_BY: &str = "written_by";

/// The random id of one write, or of one request's writes. Few writers meet at one item: 64 bits do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterId(u64);

impl WriterId {
    /// A new random id.
    pub(super) fn random(random: &dyn Random) -> Self {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        Self(u64::from_le_bytes(bytes))
    }

    /// As the value of an attribute.
    #[must_use]
    pub fn to_attr(self) -> AttributeValue {
        AttributeValue::S(self.to_string())
    }

    /// Whether this writer stored the attribute `name` of `item`.
    #[must_use]
    pub fn is_writer_of(self, item: &Attributes, name: &str) -> bool {
        item.get(name).and_then(|value| value.as_s().ok()).is_some_and(|text| *text == self.to_string())
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
