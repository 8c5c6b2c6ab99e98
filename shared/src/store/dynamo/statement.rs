//! Statements of PartiQL, for writes of several items in one request. Each value is given with the name of its
//! attribute, so that no parameter can slip into another's place.

use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementErrorCodeEnum as Code, BatchStatementRequest, BatchStatementResponse,
    ReturnValuesOnConditionCheckFailure,
};
use aws_smithy_types::error::operation::BuildError;

use super::{Attributes, conditional_write::ConditionalWrite, writer_id::WriterId};
use crate::{
    error::{Error, StoreError},
    store::keys::Key,
};

/// One PartiQL statement. Only what AWS documents with an example is used: `INSERT INTO … VALUE {…}`, and
/// `UPDATE … SET a=… SET b=… WHERE …` with `=` and `AND`. "If the WHERE clause of the UPDATE statement does
/// not evaluate to true for any item in the DynamoDB table, ConditionalCheckFailedException is returned"; a
/// missing attribute equals nothing.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    text: String,
    values: Vec<AttributeValue>,
    /// Whether a failed condition returns the item.
    returns_old_item: bool,
}

impl Statement {
    /// Updates an existing item.
    pub(crate) fn update(table: &str, key: Key) -> StatementUpdate<'_> {
        StatementUpdate { table, key, set: Vec::new(), when: Vec::new() }
    }

    /// Inserts an item that must not exist; an existing one makes DynamoDB answer with `DuplicateItem`.
    pub(crate) fn insert(table: &str, item: Attributes) -> Self {
        let mut attributes: Vec<_> = item.into_iter().collect();
        attributes.sort_by(|a, b| a.0.cmp(&b.0)); // one statement text for all, which DynamoDB can cache
        let members: Vec<_> = attributes.iter().map(|(name, _)| format!("'{name}': ?")).collect();
        let text = format!("INSERT INTO \"{table}\" VALUE {{{}}}", members.join(", "));
        Self { text, values: attributes.into_iter().map(|(_, v)| v).collect(), returns_old_item: false }
    }

    pub(super) fn request(&self) -> Result<BatchStatementRequest, BuildError> {
        BatchStatementRequest::builder()
            .statement(&self.text)
            .set_parameters(Some(self.values.clone()))
            .set_return_values_on_condition_check_failure(
                self.returns_old_item.then_some(ReturnValuesOnConditionCheckFailure::AllOld),
            )
            .build()
    }
}

/// A statement that updates an item, while it is put together.
#[derive(Debug, Clone)]
pub(crate) struct StatementUpdate<'a> {
    table: &'a str,
    key: Key,
    set: Vec<(&'a str, AttributeValue)>,
    when: Vec<(&'a str, AttributeValue)>,
}

impl<'a> StatementUpdate<'a> {
    /// `name = value`.
    pub(crate) fn set(mut self, name: &'a str, value: AttributeValue) -> Self {
        self.set.push((name, value));
        self
    }

    /// `name = value` where there is a value; nothing otherwise.
    pub(crate) fn set_some(self, name: &'a str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// On the condition that `name` has this value.
    pub(crate) fn when(mut self, name: &'a str, value: AttributeValue) -> Self {
        self.when.push((name, value));
        self
    }

    /// The statement, which updates an item in which every attribute of the conditions has the given value.
    pub(crate) fn build(self) -> Statement {
        let sets: Vec<_> = self.set.iter().map(|(name, _)| format!("SET \"{name}\" = ?")).collect();
        let wheres: String = self.when.iter().map(|(name, _)| format!(" AND \"{name}\" = ?")).collect();
        let table = self.table;
        let text = format!("UPDATE \"{table}\" {} WHERE pk = ? AND sk = ?{wheres}", sets.join(" "));
        let key = [AttributeValue::S(self.key.pk), AttributeValue::S(self.key.sk)];
        let value = |(_, value)| value;
        let values = self.set.into_iter().map(value).chain(key).chain(self.when.into_iter().map(value));
        Statement { text, values: values.collect(), returns_old_item: true }
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
    pub(super) fn from_response(response: &BatchStatementResponse) -> (Self, bool) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dynamo::{n, s};

    #[test]
    fn each_parameter_stands_where_its_name_does() {
        let key = Key { pk: "A#1".into(), sk: "A".into() };
        let update = Statement::update("T", key)
            .set("x", s("new"))
            .set_some("left_out", None)
            .set_some("y", Some(n(2)))
            .when("x", s("old"))
            .build();
        assert_eq!(update.text, r#"UPDATE "T" SET "x" = ? SET "y" = ? WHERE pk = ? AND sk = ? AND "x" = ?"#);
        assert_eq!(update.values, [s("new"), n(2), s("A#1"), s("A"), s("old")]);
        let insert = Statement::insert("T", Attributes::from([("b".into(), n(2)), ("a".into(), n(1))]));
        assert_eq!(insert.text, r#"INSERT INTO "T" VALUE {'a': ?, 'b': ?}"#);
        assert_eq!(insert.values, [n(1), n(2)]);
    }
}
