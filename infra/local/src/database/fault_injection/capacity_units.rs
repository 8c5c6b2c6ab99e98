//! Capacity units of requests, known when they are done: by the size of the items that were read, and of those
//! that are stored after a write.
//!
//! # Source
//! DynamoDB developer guide: "DynamoDB read and write operations" (a strongly consistent read of up to 4 KB is a unit, an
//! eventually consistent one half of one; a query counts its items together, a batch each; a write of up to 1 KB is a unit;
//! of an update the larger item counts, before or after), "Using Global Secondary Indexes" (a write unit for each entry
//! that comes, goes or changes). A partition in debt refuses requests until it has recovered, as measured on AWS.

use std::collections::BTreeMap;

use serde_json::Value;

use super::item_accesses::{ItemAccess, READ_UNIT_BYTES, TableSchema, write_units};

/// Units beyond those admitted: writes (`true`) in units, reads in half units, by partition.
pub(super) type Charges = Vec<(bool, String, u32)>;

fn item_bytes(item: &Value) -> usize {
    item.to_string().len()
}

/// Half units of reading so many bytes.
fn read_half_units(bytes: usize, consistent: bool) -> u32 {
    let units = u32::try_from(bytes.div_ceil(READ_UNIT_BYTES)).unwrap_or(u32::MAX).max(1);
    if consistent { units.saturating_mul(2) } else { units }
}

/// The units of a read, beyond those admitted.
pub(super) fn read_charges(
    operation: &str,
    answer: &Value,
    parts: &[ItemAccess],
    tables: &BTreeMap<String, TableSchema>,
) -> Charges {
    let more = |part: &ItemAccess, bytes: usize| {
        let more = read_half_units(bytes, part.consistent).saturating_sub(part.units);
        (false, part.partition.clone(), more)
    };
    match operation {
        "GetItem" => {
            let item = answer.get("Item").map_or(0, item_bytes);
            parts.iter().map(|part| more(part, item)).collect()
        }
        "Query" => {
            let items = answer.get("Items").and_then(Value::as_array).into_iter().flatten();
            let all = items.map(item_bytes).sum();
            parts.iter().map(|part| more(part, all)).collect()
        }
        "BatchGetItem" => {
            let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
            for (table, items) in answer.get("Responses").and_then(Value::as_object).into_iter().flatten() {
                let Some(table) = tables.get(table) else { continue };
                for item in items.as_array().into_iter().flatten() {
                    sizes.extend(table.item_id(item).map(|name| (name, item_bytes(item))));
                }
            }
            let size = |part: &ItemAccess| part.item_id.as_ref().and_then(|item| sizes.get(item)).copied();
            parts.iter().filter_map(|part| Some(more(part, size(part)?))).collect()
        }
        _ => Vec::new(),
    }
}

/// The units of a write, beyond those admitted.
pub(super) fn write_charges(
    parts: &[ItemAccess],
    before: &[Option<Value>],
    after: &[Option<Value>],
    tables: &BTreeMap<String, TableSchema>,
) -> Charges {
    let mut bill = Charges::new();
    for (part, (was, is)) in parts.iter().zip(before.iter().zip(after)) {
        let larger = [was, is].into_iter().flatten().map(item_bytes).max().unwrap_or(0);
        let units = write_units(larger).saturating_mul(part.multiplier);
        bill.push((true, part.partition.clone(), units.saturating_sub(part.units)));
        let Some(schema) = tables.get(&part.table).filter(|_| was != is) else { continue };
        for (was, is) in schema.entries(was.as_ref()).zip(schema.entries(is.as_ref())) {
            if was != is {
                let entries = [was, is].into_iter().flatten();
                bill.extend(entries.map(|entry| (true, entry.partition, part.multiplier)));
            }
        }
    }
    bill
}
