//! Queries of one partition of a table or of an index.

use aws_sdk_dynamodb::types::AttributeValue;

use super::Attributes;
use crate::store::keys::Index;

/// Which sort keys.
#[derive(Debug, Clone)]
enum Range {
    All,
    Prefix(AttributeValue),
    Between(AttributeValue, AttributeValue),
    /// An operator, and what stands behind it.
    Compared(&'static str, AttributeValue),
}

/// A query. It is strongly consistent, but for one of a global index, which cannot be.
#[derive(Debug, Clone)]
pub(crate) struct Query<'a> {
    pub(super) table: &'a str,
    pub(super) index: Option<Index>,
    pk: AttributeValue,
    range: Range,
    pub(super) descending: bool,
    pub(super) limit: i32,
    pub(super) start: Option<Attributes>,
}

impl<'a> Query<'a> {
    /// All of the partition `pk`, in pages of `limit`.
    pub(crate) fn on(table: &'a str, pk: impl Into<String>, limit: i32) -> Self {
        let pk = AttributeValue::S(pk.into());
        Self { table, index: None, pk, range: Range::All, descending: false, limit, start: None }
    }

    /// The partition and the sort keys are those of this index.
    pub(crate) fn index(mut self, index: Index) -> Self {
        self.index = Some(index);
        self
    }

    /// Those whose sort key begins with `prefix`.
    pub(crate) fn prefix(mut self, prefix: &str) -> Self {
        self.range = Range::Prefix(AttributeValue::S(prefix.to_owned()));
        self
    }

    /// Those whose sort key is `first`, `last` or in between.
    pub(crate) fn between(mut self, first: &str, last: &str) -> Self {
        self.range = Range::Between(AttributeValue::S(first.to_owned()), AttributeValue::S(last.to_owned()));
        self
    }

    /// Those whose sort key is `value`.
    pub(crate) fn equal(self, value: &str) -> Self {
        self.compared("=", AttributeValue::S(value.to_owned()))
    }

    /// Those whose sort key comes after `value`.
    pub(crate) fn after(self, value: &str) -> Self {
        self.compared(">", AttributeValue::S(value.to_owned()))
    }

    /// Those whose sort key comes before `value`.
    pub(crate) fn before(self, value: &str) -> Self {
        self.compared("<", AttributeValue::S(value.to_owned()))
    }

    /// Those whose sort key, a number, is at most `value`.
    pub(crate) fn at_most(self, value: i64) -> Self {
        self.compared("<=", AttributeValue::N(value.to_string()))
    }

    fn compared(mut self, operator: &'static str, value: AttributeValue) -> Self {
        self.range = Range::Compared(operator, value);
        self
    }

    /// The greatest sort key first.
    pub(crate) fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// Begins behind the item that has this key.
    pub(crate) fn start_behind(mut self, key: Option<Attributes>) -> Self {
        self.start = key;
        self
    }

    /// The condition, and the values of its placeholders.
    pub(super) fn condition(&self) -> (String, Vec<(&'static str, AttributeValue)>) {
        let (pk, sk) = self.index.map_or(("pk", "sk"), |index| (index.pk, index.sk));
        let mut values = vec![(":pk", self.pk.clone())];
        let range = match &self.range {
            Range::All => String::new(),
            Range::Prefix(prefix) => {
                values.push((":prefix", prefix.clone()));
                format!(" AND begins_with({sk}, :prefix)")
            }
            Range::Between(first, last) => {
                values.extend([(":first", first.clone()), (":last", last.clone())]);
                format!(" AND {sk} BETWEEN :first AND :last")
            }
            Range::Compared(operator, value) => {
                values.push((":sk", value.clone()));
                format!(" AND {sk} {operator} :sk")
            }
        };
        (format!("{pk} = :pk{range}"), values)
    }
}

/// A page of a query's result.
pub(crate) struct QueryPage {
    /// The items.
    pub items: Vec<Attributes>,
    /// The key behind which the next page begins, if there may be one.
    pub next: Option<Attributes>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        dynamo::{n, s},
        keys::DUE_INDEX,
    };

    #[test]
    fn a_condition_names_the_keys_of_what_is_queried() {
        let of = |query: Query<'_>| query.condition();
        let all = || Query::on("T", "A#1", 10);
        let pk = || (":pk", s("A#1"));
        for (query, condition, values) in [
            (all(), "pk = :pk", vec![]),
            (all().prefix("B#"), "pk = :pk AND begins_with(sk, :prefix)", vec![(":prefix", s("B#"))]),
            (
                all().between("1", "2"),
                "pk = :pk AND sk BETWEEN :first AND :last",
                vec![(":first", s("1")), (":last", s("2"))],
            ),
            (all().after("1"), "pk = :pk AND sk > :sk", vec![(":sk", s("1"))]),
            (all().before("1"), "pk = :pk AND sk < :sk", vec![(":sk", s("1"))]),
            (all().equal("1"), "pk = :pk AND sk = :sk", vec![(":sk", s("1"))]),
            (all().index(DUE_INDEX).at_most(7), "due = :pk AND due_at <= :sk", vec![(":sk", n(7))]),
        ] {
            let expected = [vec![pk()], values].concat();
            assert_eq!(of(query), (condition.to_owned(), expected));
        }
    }
}
