//! The items that a request reads and writes, in the order in which it names them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::template::{IndexSpec, TableSpec};

/// Bytes of a write unit.
const WRITE_UNIT_BYTES: usize = 1024;
/// Bytes of a read unit.
pub(super) const READ_UNIT_BYTES: usize = 4 * WRITE_UNIT_BYTES;

/// Units of writing so many bytes.
pub(super) fn write_units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(WRITE_UNIT_BYTES)).unwrap_or(u32::MAX).max(1)
}

/// A table's keys and global indexes.
#[derive(Debug)]
pub(super) struct TableSchema {
    table: String,
    /// Key attributes, the partition key first.
    keys: Vec<String>,
    global_indexes: BTreeMap<String, GlobalIndex>,
}

/// A global index.
#[derive(Debug)]
struct GlobalIndex {
    /// Key attributes, the partition key first.
    keys: Vec<String>,
    /// Whether its projection is `KEYS_ONLY`.
    keys_only: bool,
}

impl GlobalIndex {
    fn of(index: &IndexSpec) -> Self {
        Self { keys: key_names(&index.key), keys_only: index.projection == "KEYS_ONLY" }
    }
}

/// An item in a global index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    /// The partition of the index.
    pub partition: String,
    content: Value,
}

/// Names of key attributes, the partition key first.
fn key_names(keys: &[(String, String)]) -> Vec<String> {
    let mut keys = keys.to_vec();
    keys.sort_by_key(|(_, kind)| kind != "HASH");
    keys.into_iter().map(|(name, _)| name).collect()
}

impl TableSchema {
    pub(super) fn of(table: &TableSpec) -> Self {
        let global = table.indexes.iter().filter(|index| index.global);
        Self {
            table: table.name.clone(),
            keys: key_names(&table.key),
            global_indexes: global.map(|index| (index.name.clone(), GlobalIndex::of(index))).collect(),
        }
    }

    pub(super) fn has_global_indexes(&self) -> bool {
        !self.global_indexes.is_empty()
    }

    pub(super) fn is_global(&self, index: &str) -> bool {
        self.global_indexes.contains_key(index)
    }

    /// An item's id: its table and its key.
    pub(super) fn item_id(&self, of: &Value) -> Option<String> {
        Some(format!("{} {}", self.table, Value::Object(self.key(of)?)))
    }

    fn key(&self, of: &Value) -> Option<Map<String, Value>> {
        self.keys.iter().map(|name| Some((name.clone(), of.get(name)?.clone()))).collect()
    }

    /// An item's entry in each global index.
    pub(super) fn entries(&self, item: Option<&Value>) -> impl Iterator<Item = Option<IndexEntry>> {
        self.global_indexes.iter().map(move |(name, index)| {
            let item = item?;
            let keys: Option<Vec<&Value>> = index.keys.iter().map(|key| item.get(key)).collect();
            let keys = keys?;
            let partition = format!("{name} {} {}", self.table, keys.first()?);
            let what = if index.keys_only { json!([keys, self.key(item)]) } else { item.clone() };
            Some(IndexEntry { partition, content: what })
        })
    }

    /// An access to the item whose key attributes are in `of`.
    fn access(&self, of: &Value, writes: bool, may_create: bool, bytes: usize) -> ItemAccess {
        let first = self.keys.first().and_then(|name| of.get(name));
        ItemAccess {
            table: self.table.clone(),
            partition: format!("{} {}", self.table, first.unwrap_or(&Value::Null)),
            item_id: self.item_id(of),
            key: self.key(of),
            writes,
            may_create,
            consistent: true,
            multiplier: 1,
            index_partitions: Vec::new(),
            units: write_units(bytes),
        }
    }
}

/// One access of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ItemAccess {
    pub table: String,
    pub partition: String,
    /// The item, unless it is a query.
    pub item_id: Option<String>,
    pub key: Option<Map<String, Value>>,
    pub writes: bool,
    /// Whether it may create the item.
    pub may_create: bool,
    /// Whether a read is strongly consistent.
    pub consistent: bool,
    /// By how much its units are multiplied.
    pub multiplier: u32,
    /// Partitions of the global indexes that a put writes to.
    pub index_partitions: Vec<String>,
    /// The units for which it is admitted, its minimum; half units for reads.
    pub units: u32,
}

impl ItemAccess {
    fn into_put(self, schema: &TableSchema, item: &Value) -> Self {
        let indexes = schema.entries(Some(item)).flatten().map(|entry| entry.partition).collect();
        Self { index_partitions: indexes, ..self }
    }

    fn into_read(self, consistent: bool) -> Self {
        Self { consistent, units: if consistent { 2 } else { 1 }, ..self }
    }
}

/// Returns the accesses of a request; none if it is not understood: then no faults are injected.
pub(super) fn accesses(
    operation: &str,
    request: &Value,
    tables: &BTreeMap<String, TableSchema>,
) -> Vec<ItemAccess> {
    let table = |of: &Value| tables.get(of.get("TableName")?.as_str()?);
    let bytes = |of: &Value| of.to_string().len();
    match operation {
        "PutItem" => member_of_table(request, "Item", table)
            .map(|(t, item)| t.access(item, true, true, bytes(item)).into_put(t, item)),
        "UpdateItem" => member_of_table(request, "Key", table).map(|(t, key)| t.access(key, true, true, 1)),
        "DeleteItem" => member_of_table(request, "Key", table).map(|(t, key)| t.access(key, true, false, 1)),
        "GetItem" => member_of_table(request, "Key", table)
            .map(|(t, key)| t.access(key, false, false, 1).into_read(is_consistent(request))),
        "Query" => table(request).map(|t| {
            let value = queried_partition_key(request).unwrap_or(Value::Null);
            let key = t.keys.first().map(|name| json!({name.as_str(): value})).unwrap_or_default();
            let mut part = t.access(&key, false, false, 1).into_read(is_consistent(request));
            if let Some(index) = request.get("IndexName").and_then(Value::as_str) {
                part.partition = format!("{} {}", index, part.partition);
            }
            part
        }),
        "BatchGetItem" | "BatchWriteItem" => return batch_accesses(operation, request, tables),
        "TransactWriteItems" => return transaction_accesses(request, table),
        "BatchExecuteStatement" => return statement_accesses(request, tables),
        _ => None,
    }
    .into_iter()
    .collect()
}

fn is_consistent(asked: &Value) -> bool {
    asked.get("ConsistentRead") == Some(&Value::Bool(true))
}

fn member_of_table<'r, 't>(
    of: &'r Value,
    name: &str,
    table: impl Fn(&Value) -> Option<&'t TableSchema>,
) -> Option<(&'t TableSchema, &'r Value)> {
    Some((table(of)?, of.get(name)?))
}

/// The partition key of a query: the value of the first comparison of its key condition.
fn queried_partition_key(request: &Value) -> Option<Value> {
    let condition = request.get("KeyConditionExpression")?.as_str()?;
    let (_, value) = condition.split_once('=')?;
    let name = value.trim().split([' ', ')']).next()?;
    request.get("ExpressionAttributeValues")?.get(name).cloned()
}

fn batch_accesses(
    operation: &str,
    request: &Value,
    tables: &BTreeMap<String, TableSchema>,
) -> Vec<ItemAccess> {
    let mut parts = Vec::new();
    for (name, entries) in request.get("RequestItems").and_then(Value::as_object).into_iter().flatten() {
        let Some(table) = tables.get(name) else { continue };
        if operation == "BatchGetItem" {
            let keys = entries.get("Keys").and_then(Value::as_array).into_iter().flatten();
            parts
                .extend(keys.map(|key| table.access(key, false, false, 1).into_read(is_consistent(entries))));
            continue;
        }
        for entry in entries.as_array().into_iter().flatten() {
            let item = entry.pointer("/PutRequest/Item");
            let of = item.or_else(|| entry.pointer("/DeleteRequest/Key")).unwrap_or(&Value::Null);
            let part = table.access(of, true, item.is_some(), of.to_string().len());
            parts.push(if item.is_some() { part.into_put(table, of) } else { part });
        }
    }
    parts
}

fn transaction_accesses<'t>(
    request: &Value,
    table: impl Fn(&Value) -> Option<&'t TableSchema>,
) -> Vec<ItemAccess> {
    let actions = request.get("TransactItems").and_then(Value::as_array).into_iter().flatten();
    actions
        .filter_map(|action| {
            let (kind, action) = action.as_object()?.iter().next()?;
            let of = action.get("Item").or_else(|| action.get("Key"))?;
            let part = table(action)?.access(
                of,
                true,
                matches!(kind.as_str(), "Put" | "Update"),
                of.to_string().len(),
            );
            // a transaction costs twice: to prepare and to commit
            Some(ItemAccess { units: part.units.saturating_mul(2), multiplier: 2, ..part })
        })
        .collect()
}

fn statement_accesses(request: &Value, tables: &BTreeMap<String, TableSchema>) -> Vec<ItemAccess> {
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
            let part = table.access(&key, verb != "SELECT", insert, bytes);
            Some(if insert { part.into_put(table, &key) } else { part })
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

/// Removes accesses, by their indexes, from a batch, and returns them as the batch spelled them.
pub(super) fn split_off(operation: &str, request: &mut Value, parts: &BTreeSet<usize>) -> Value {
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
