//! Updates of one item, with a condition.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update as TransactUpdate};

use super::Attributes;
use crate::{
    error::{Error, StoreError},
    store::keys::Key,
};

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
    pub(crate) fn into_action(self, table: &str, key: &Key) -> Result<TransactWriteItem, Error> {
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
