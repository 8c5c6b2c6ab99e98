//! Faults of the real DynamoDB that an embedded one never shows: throttled partitions, global
//! indexes that lag, conflicting transactions. Tests ask for them; otherwise requests bypass this module.
//!
//! | file | what it is |
//! |---|---|
//! | [`item_accesses`] | the items that a request reads and writes |
//! | [`capacity_units`] | what they cost |
//! | here | what fails |
//!
//! # Source
//! DynamoDB developer guide: "Burst and adaptive capacity" (1,000 write and 3,000 read units a second and partition),
//! "Error handling with DynamoDB" (unprocessed items and keys), "Managing complex workflows with DynamoDB transactions"
//! (TransactionConflict), "Running batch operations with PartiQL" (errors by statement), "Using Global Secondary
//! Indexes" (eventual consistency).

mod capacity_units;
mod item_accesses;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use shared::{clock::Clock, random::Random};

use super::{operations, storage_thread::StorageThread};
use crate::{template::TableSpec, token_bucket::TokenBucket};
use item_accesses::{ItemAccess, TableSchema};

/// How many touched or hidden items are remembered before outdated ones are removed.
const MAX_REMEMBERED_ITEMS: usize = 10_000;

/// The faults that a test wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DatabaseFaults {
    /// Write units a second of a partition: 1,000 on AWS. A partition is one partition key here, which is the
    /// smallest that AWS may choose.
    pub write_units_per_second: Option<u32>,
    /// Read units a second of a partition: 3,000 on AWS.
    pub read_units_per_second: Option<u32>,
    /// The longest random lag of a new item in a global index, milliseconds. A changed item keeps
    /// its old values there on AWS; here the index shows the new ones.
    pub index_lag_ms: u32,
    /// For how long a write conflicts with transactions on the same item, milliseconds.
    pub conflict_ms: u32,
}

/// Injects the faults of one database.
pub struct FaultInjector {
    faults: DatabaseFaults,
    tables: BTreeMap<String, TableSchema>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    state: Mutex<FaultState>,
}

#[derive(Default)]
struct FaultState {
    /// Token buckets of partitions: writes (`true`) and reads, by table and partition key.
    buckets: BTreeMap<(bool, String), TokenBucket>,
    /// When an item was touched last, and whether by a transaction.
    touched: BTreeMap<String, (i64, bool)>,
    /// New items, and the time from which indexes show them.
    hidden: BTreeMap<String, i64>,
}

/// Why an access is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InjectedError {
    Throttled,
    Conflict,
}

impl InjectedError {
    /// The name as an error of its own, and as a reason in a batch or a transaction.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Throttled => ("ProvisionedThroughputExceededException", "ProvisionedThroughputExceeded"),
            Self::Conflict => ("TransactionConflictException", "TransactionConflict"),
        }
    }

    fn response(self) -> (u16, String) {
        let name = self.names().0;
        let kind = format!("com.amazonaws.dynamodb.v20120810#{name}");
        (400, json!({"__type": kind, "message": format!("{name}, by the test's habits")}).to_string())
    }
}

impl FaultInjector {
    /// For a database with these tables.
    #[must_use]
    pub fn new(
        habits: DatabaseFaults,
        tables: &[TableSpec],
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let tables = tables.iter().map(|table| (table.name.clone(), TableSchema::of(table))).collect();
        Self { faults: habits, tables, clock, random, state: Mutex::default() }
    }

    /// Handles a request, or returns an injected error instead.
    pub(super) async fn call(&self, storage: &StorageThread, operation: &str, body: &[u8]) -> (u16, String) {
        let Ok(mut request) = serde_json::from_slice::<Value>(body) else {
            return operations::call(storage, operation, body).await;
        };
        let parts = item_accesses::accesses(operation, &request, &self.tables);
        let newcomers = self.new_items(storage, &parts).await;
        let refused = self.injected_errors(&parts, operation == "TransactWriteItems");
        let before = self.stored_items(storage, &parts).await;
        let answer = match operation {
            _ if refused.is_empty() => self.call_database(storage, operation, &request).await,
            "BatchGetItem" | "BatchWriteItem" => {
                let kind = if operation == "BatchGetItem" { "UnprocessedKeys" } else { "UnprocessedItems" };
                let rest =
                    item_accesses::split_off(operation, &mut request, &refused.keys().copied().collect());
                if refused.len() == parts.len() {
                    return InjectedError::Throttled.response();
                }
                let (status, mut answer) = self.call_database(storage, operation, &request).await;
                if let (200, Some(answer)) = (status, answer.as_object_mut()) {
                    answer.insert(kind.into(), rest); // the embedded database leaves none
                }
                (status, answer)
            }
            "BatchExecuteStatement" => self.call_statements(storage, &mut request, &refused).await,
            "TransactWriteItems" => (400, transaction_canceled(parts.len(), &refused)),
            _ => return refused.values().next().copied().unwrap_or(InjectedError::Throttled).response(),
        };
        let (status, mut answer) = answer;
        if status == 200 {
            self.start_index_lag(&newcomers);
            let after = self.stored_items(storage, &parts).await;
            self.charge(&capacity_units::read_charges(operation, &answer, &parts, &self.tables));
            self.charge(&capacity_units::write_charges(&parts, &before, &after, &self.tables));
            self.remove_lagging_items(operation, &request, &mut answer);
        }
        (status, answer.to_string())
    }

    async fn call_database(&self, storage: &StorageThread, operation: &str, request: &Value) -> (u16, Value) {
        let (status, answer) = operations::call(storage, operation, request.to_string().as_bytes()).await;
        (status, serde_json::from_str(&answer).unwrap_or_default())
    }

    /// Executes a batch of statements; each has its own response, in the order of the request.
    async fn call_statements(
        &self,
        storage: &StorageThread,
        request: &mut Value,
        refused: &BTreeMap<usize, InjectedError>,
    ) -> (u16, Value) {
        item_accesses::split_off("BatchExecuteStatement", request, &refused.keys().copied().collect());
        let left = request.get("Statements").and_then(Value::as_array).map_or(0, Vec::len);
        let (status, answer) = match left {
            0 => (200, json!({"Responses": []})),
            _ => self.call_database(storage, "BatchExecuteStatement", request).await,
        };
        let Some(mut responses) = answer.get("Responses").and_then(Value::as_array).cloned() else {
            return (status, answer);
        };
        for (index, refusal) in refused {
            let code = refusal.names().1;
            let response =
                json!({"Error": {"Code": code, "Message": format!("{code}, by the test's habits")}});
            responses.insert((*index).min(responses.len()), response);
        }
        (status, json!({"Responses": responses}))
    }

    /// Which accesses are refused. A transaction is refused as a whole, and then touches nothing.
    fn injected_errors(&self, parts: &[ItemAccess], transaction: bool) -> BTreeMap<usize, InjectedError> {
        let (now, conflict) = (self.clock.now().as_millisecond(), i64::from(self.faults.conflict_ms));
        let mut seen = self.state();
        if seen.touched.len() > MAX_REMEMBERED_ITEMS {
            seen.touched.retain(|_, (at, _)| *at + conflict > now);
        }
        let mut refused = BTreeMap::new();
        for (index, part) in parts.iter().enumerate() {
            if let Some(rate) = self.rate(part.writes) {
                let mut takes = |partition: &String, units: u32| {
                    let bucket = seen.buckets.entry((part.writes, partition.clone()));
                    bucket.or_insert_with(|| TokenBucket::full(rate, now)).try_take(units, rate, rate, now)
                };
                // an index must not be in debt; its units are charged after the write
                let all = takes(&part.partition, part.units)
                    && part.index_partitions.iter().all(|index| takes(index, 0));
                if !all {
                    refused.insert(index, InjectedError::Throttled);
                    continue;
                }
            }
            let met = part.item_id.as_ref().and_then(|item| seen.touched.get(item));
            let meets = met
                .is_some_and(|(at, by_transaction)| at + conflict > now && (transaction || *by_transaction));
            if conflict > 0 && part.writes && meets {
                refused.insert(index, InjectedError::Conflict);
            }
        }
        if conflict > 0 && (refused.is_empty() || !transaction) {
            for (index, part) in parts.iter().enumerate() {
                if let (true, false, Some(item)) = (part.writes, refused.contains_key(&index), &part.item_id)
                {
                    seen.touched.insert(item.clone(), (now, transaction));
                }
            }
        }
        refused
    }

    /// Units of writes a second, or half units of reads.
    fn rate(&self, writes: bool) -> Option<u32> {
        if writes {
            self.faults.write_units_per_second
        } else {
            self.faults.read_units_per_second.map(|units| units.saturating_mul(2))
        }
    }

    /// Charges the units beyond those admitted, into debt if necessary.
    fn charge(&self, bill: &capacity_units::Charges) {
        let (now, mut seen) = (self.clock.now().as_millisecond(), self.state());
        for (writes, partition, units) in bill.iter().filter(|(_, _, units)| *units > 0) {
            let Some(rate) = self.rate(*writes) else { continue };
            let bucket = seen.buckets.entry((*writes, partition.clone()));
            bucket.or_insert_with(|| TokenBucket::full(rate, now)).take_into_debt(*units, rate, rate, now);
        }
    }

    /// The current values of the items that a request writes; none unless writes are limited.
    async fn stored_items(&self, storage: &StorageThread, parts: &[ItemAccess]) -> Vec<Option<Value>> {
        let mut found = Vec::new();
        for part in parts {
            let key =
                part.key.as_ref().filter(|_| part.writes && self.faults.write_units_per_second.is_some());
            found.push(match key {
                Some(key) => {
                    let asked = json!({"TableName": part.table, "Key": key, "ConsistentRead": true});
                    self.call_database(storage, "GetItem", &asked).await.1.get("Item").cloned()
                }
                None => None,
            });
        }
        found
    }

    /// The items that a request would create, in tables with global indexes.
    async fn new_items(&self, storage: &StorageThread, parts: &[ItemAccess]) -> Vec<String> {
        let mut newcomers = Vec::new();
        for part in parts.iter().filter(|part| self.faults.index_lag_ms > 0 && part.may_create) {
            let (Some(key), Some(item)) = (&part.key, &part.item_id) else { continue };
            if !self.tables.get(&part.table).is_some_and(TableSchema::has_global_indexes) {
                continue;
            }
            let asked = json!({"TableName": part.table, "Key": key, "ConsistentRead": true});
            let (_, answer) = self.call_database(storage, "GetItem", &asked).await;
            if answer.get("Item").is_none() {
                newcomers.push(item.clone());
            }
        }
        newcomers
    }

    fn start_index_lag(&self, newcomers: &[String]) {
        let now = self.clock.now().as_millisecond();
        let mut seen = self.state();
        if seen.hidden.len() > MAX_REMEMBERED_ITEMS {
            seen.hidden.retain(|_, until| *until > now);
        }
        for item in newcomers {
            let lag = self.random.below(u64::from(self.faults.index_lag_ms) + 1);
            seen.hidden.insert(item.clone(), now.saturating_add_unsigned(lag));
        }
    }

    /// Removes from an index's response the items that the index does not show yet.
    fn remove_lagging_items(&self, operation: &str, request: &Value, answer: &mut Value) {
        let table = request.get("TableName").and_then(Value::as_str).and_then(|name| self.tables.get(name));
        let index = request.get("IndexName").and_then(Value::as_str);
        let (Some(table), Some(index), "Query" | "Scan") = (table, index, operation) else { return };
        if self.faults.index_lag_ms == 0 || !table.is_global(index) {
            return;
        }
        let (now, seen) = (self.clock.now().as_millisecond(), self.state());
        let Some(items) = answer.get_mut("Items").and_then(Value::as_array_mut) else { return };
        items.retain(|item| {
            let known = table.item_id(item).and_then(|item| seen.hidden.get(&item).copied());
            known.is_none_or(|until| until <= now)
        });
        let count = items.len();
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("Count".into(), count.into());
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, FaultState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn transaction_canceled(parts: usize, refused: &BTreeMap<usize, InjectedError>) -> Value {
    let codes: Vec<&str> =
        (0..parts).map(|index| refused.get(&index).map_or("None", |refusal| refusal.names().1)).collect();
    let reasons: Vec<Value> = codes.iter().map(|code| json!({"Code": code})).collect();
    json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        ),
        "CancellationReasons": reasons,
    })
}
