//! The items that a request reads and writes, in the order in which it names them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Indexes, weights::UNIT};
use crate::template::{IndexSpec, TableSpec};

/// A table's keys and global indexes.
#[derive(Debug)]
pub(super) struct Schema {
    table: String,
    /// Key attributes, the partition key first.
    keys: Vec<String>,
    global: BTreeMap<String, Index>,
}

/// A global index.
#[derive(Debug)]
struct Index {
    /// Key attributes, the partition key first.
    keys: Vec<String>,
    /// Whether its projection is `KEYS_ONLY`.
    keys_only: bool,
}

impl Index {
    fn of(index: &IndexSpec) -> Self {
        Self { keys: names(&index.key), keys_only: index.projection == "KEYS_ONLY" }
    }
}

/// An item in a global index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The partition of the index.
    pub partition: String,
    what: Value,
}

/// Names of key attributes, the partition key first.
fn names(keys: &[(String, String)]) -> Vec<String> {
    let mut keys = keys.to_vec();
    keys.sort_by_key(|(_, kind)| kind != "HASH");
    keys.into_iter().map(|(name, _)| name).collect()
}

impl Schema {
    pub(super) fn of(table: &TableSpec) -> Self {
        let global = table.indexes.iter().filter(|index| index.global);
        Self {
            table: table.name.clone(),
            keys: names(&table.key),
            global: global.map(|index| (index.name.clone(), Index::of(index))).collect(),
        }
    }

    pub(super) fn has_global_indexes(&self) -> bool {
        !self.global.is_empty()
    }

    pub(super) fn is_global(&self, index: &str) -> bool {
        self.global.contains_key(index)
    }

    /// An item's id: its table and its key.
    pub(super) fn item(&self, of: &Value) -> Option<String> {
        Some(format!("{} {}", self.table, Value::Object(self.key(of)?)))
    }

    fn key(&self, of: &Value) -> Option<Map<String, Value>> {
        self.keys.iter().map(|name| Some((name.clone(), of.get(name)?.clone()))).collect()
    }

    /// An item's entry in each global index.
    pub(super) fn entries(&self, item: Option<&Value>) -> impl Iterator<Item = Option<Entry>> {
        self.global.iter().map(move |(name, index)| {
            let item = item?;
            let keys: Option<Vec<&Value>> = index.keys.iter().map(|key| item.get(key)).collect();
            let keys = keys?;
            let partition = format!("{name} {} {}", self.table, keys.first()?);
            let what = if index.keys_only { json!([keys, self.key(item)]) } else { item.clone() };
            Some(Entry { partition, what })
        })
    }

    /// An access to the item whose key attributes are in `of`.
    fn part(&self, of: &Value, writes: bool, may_create: bool, bytes: usize) -> Part {
        let first = self.keys.first().and_then(|name| of.get(name));
        Part {
            table: self.table.clone(),
            partition: format!("{} {}", self.table, first.unwrap_or(&Value::Null)),
            item: self.item(of),
            key: self.key(of),
            writes,
            may_create,
            consistent: true,
            times: 1,
            indexes: Vec::new(),
            units: u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1),
        }
    }
}

/// One access of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub table: String,
    pub partition: String,
    /// The item, unless it is a query.
    pub item: Option<String>,
    pub key: Option<Map<String, Value>>,
    pub writes: bool,
    /// Whether it may create the item.
    pub may_create: bool,
    /// Whether a read is strongly consistent.
    pub consistent: bool,
    /// By how much its units are multiplied.
    pub times: u32,
    /// Partitions of the global indexes that a put writes to.
    pub indexes: Vec<String>,
    /// The units for which it is admitted, its minimum; half units for reads.
    pub units: u32,
}

impl Part {
    fn put(self, schema: &Schema, item: &Value) -> Self {
        let indexes = schema.entries(Some(item)).flatten().map(|entry| entry.partition).collect();
        Self { indexes, ..self }
    }

    fn read(self, consistent: bool) -> Self {
        Self { consistent, units: if consistent { 2 } else { 1 }, ..self }
    }
}

/// Returns the accesses of a request; none if it is not understood: then no faults are injected.
pub(super) fn of(operation: &str, request: &Value, tables: &BTreeMap<String, Schema>) -> Vec<Part> {
    let table = |of: &Value| tables.get(of.get("TableName")?.as_str()?);
    let bytes = |of: &Value| of.to_string().len();
    match operation {
        "PutItem" => {
            member(request, "Item", table).map(|(t, item)| t.part(item, true, true, bytes(item)).put(t, item))
        }
        "UpdateItem" => member(request, "Key", table).map(|(t, key)| t.part(key, true, true, 1)),
        "DeleteItem" => member(request, "Key", table).map(|(t, key)| t.part(key, true, false, 1)),
        "GetItem" => member(request, "Key", table)
            .map(|(t, key)| t.part(key, false, false, 1).read(consistent(request))),
        "Query" => table(request).map(|t| {
            let value = queried(request).unwrap_or(Value::Null);
            let key = t.keys.first().map(|name| json!({name.as_str(): value})).unwrap_or_default();
            let mut part = t.part(&key, false, false, 1).read(consistent(request));
            if let Some(index) = request.get("IndexName").and_then(Value::as_str) {
                part.partition = format!("{} {}", index, part.partition);
            }
            part
        }),
        "BatchGetItem" | "BatchWriteItem" => return batch(operation, request, tables),
        "TransactWriteItems" => return transaction(request, table),
        "BatchExecuteStatement" => return statements(request, tables),
        _ => None,
    }
    .into_iter()
    .collect()
}

fn consistent(asked: &Value) -> bool {
    asked.get("ConsistentRead") == Some(&Value::Bool(true))
}

fn member<'r, 't>(
    of: &'r Value,
    name: &str,
    table: impl Fn(&Value) -> Option<&'t Schema>,
) -> Option<(&'t Schema, &'r Value)> {
    Some((table(of)?, of.get(name)?))
}

/// The partition key of a query: the value of the first comparison of its key condition.
fn queried(request: &Value) -> Option<Value> {
    let condition = request.get("KeyConditionExpression")?.as_str()?;
    let (_, value) = condition.split_once('=')?;
    let name = value.trim().split([' ', ')']).next()?;
    request.get("ExpressionAttributeValues")?.get(name).cloned()
}

fn batch(operation: &str, request: &Value, tables: &BTreeMap<String, Schema>) -> Vec<Part> {
    let mut parts = Vec::new();
    for (name, entries) in request.get("RequestItems").and_then(Value::as_object).into_iter().flatten() {
        let Some(table) = tables.get(name) else { continue };
        if operation == "BatchGetItem" {
            let keys = entries.get("Keys").and_then(Value::as_array).into_iter().flatten();
            parts.extend(keys.map(|key| table.part(key, false, false, 1).read(consistent(entries))));
            continue;
        }
        for entry in entries.as_array().into_iter().flatten() {
            let item = entry.pointer("/PutRequest/Item");
            let of = item.or_else(|| entry.pointer("/DeleteRequest/Key")).unwrap_or(&Value::Null);
            let part = table.part(of, true, item.is_some(), of.to_string().len());
            parts.push(if item.is_some() { part.put(table, of) } else { part });
        }
    }
    parts
}

fn transaction<'t>(request: &Value, table: impl Fn(&Value) -> Option<&'t Schema>) -> Vec<Part> {
    let actions = request.get("TransactItems").and_then(Value::as_array).into_iter().flatten();
    actions
        .filter_map(|action| {
            let (kind, action) = action.as_object()?.iter().next()?;
            let of = action.get("Item").or_else(|| action.get("Key"))?;
            let part = table(action)?.part(
                of,
                true,
                matches!(kind.as_str(), "Put" | "Update"),
                of.to_string().len(),
            );
            // a transaction costs twice: to prepare and to commit
            Some(Part { units: part.units.saturating_mul(2), times: 2, ..part })
        })
        .collect()
}

fn statements(request: &Value, tables: &BTreeMap<String, Schema>) -> Vec<Part> {
    let statements = request.get("Statements").and_then(Value::as_array).into_iter().flatten();
    statements
        .filter_map(|statement| {
            let text = statement.get("Statement")?.as_str()?;
            let table = tables.get(text.split('"').nth(1)?)?;
            let verb = text.split(' ').next()?;
            let parameters = statement.get("Parameters").and_then(Value::as_array).into_iter().flatten();
            let key = parameters_by_name(text, parameters, verb != "INSERT");
            let insert = verb == "INSERT";
            let bytes = if insert { key.to_string().len() } else { 1 };
            let part = table.part(&key, verb != "SELECT", insert, bytes);
            Some(if insert { part.put(table, &key) } else { part })
        })
        .collect()
}

/// The parameters of a statement by the attribute before each `?`; of an update, those of its condition alone.
fn parameters_by_name<'p>(
    text: &str,
    mut parameters: impl Iterator<Item = &'p Value>,
    conditions: bool,
) -> Value {
    let start = if conditions { text.find(" WHERE ").unwrap_or(text.len()) } else { 0 };
    let mut named = Map::new();
    let mut from = 0;
    for (at, _) in text.match_indices('?') {
        let Some(value) = parameters.next() else { break };
        let before = text.get(from..at).unwrap_or_default();
        from = at + 1;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = before.split(|c| !plain(c)).rfind(|word| !word.is_empty());
        if let Some(name) = name.filter(|_| at >= start) {
            named.insert(name.to_owned(), value.clone());
        }
    }
    Value::Object(named)
}

/// Removes accesses from a batch, and returns them as the batch spelled them.
pub(super) fn take_out(operation: &str, request: &mut Value, parts: &Indexes) -> Value {
    let mut next = 0..;
    let mut goes = || next.next().is_some_and(|index| parts.contains(&index));
    if operation == "BatchExecuteStatement" {
        if let Some(statements) = request.get_mut("Statements").and_then(Value::as_array_mut) {
            statements.retain(|_| !goes());
        }
        return Value::Null;
    }
    let mut out = Map::new();
    let Some(tables) = request.get_mut("RequestItems").and_then(Value::as_object_mut) else {
        return Value::Null;
    };
    for (name, entries) in tables.iter_mut() {
        let mut taken = Vec::new();
        let list = match operation {
            "BatchGetItem" => entries.get_mut("Keys").and_then(Value::as_array_mut),
            _ => entries.as_array_mut(),
        };
        if let Some(list) = list {
            list.retain(|entry| {
                let goes = goes();
                if goes {
                    taken.push(entry.clone());
                }
                !goes
            });
        }
        if !taken.is_empty() {
            let rest = match operation {
                "BatchGetItem" => {
                    let mut rest = entries.clone();
                    if let Some(rest) = rest.as_object_mut() {
                        rest.insert("Keys".into(), Value::Array(taken));
                    }
                    rest
                }
                _ => Value::Array(taken),
            };
            out.insert(name.clone(), rest);
        }
    }
    tables.retain(|_, entries| {
        let list = if operation == "BatchGetItem" { entries.get("Keys") } else { Some(&*entries) };
        list.and_then(Value::as_array).is_some_and(|list| !list.is_empty())
    });
    Value::Object(out)
}
