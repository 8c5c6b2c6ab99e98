//! Deletes expired items late, as DynamoDB does ("within a few days"); after five years, never.
//!
//! # Source
//! DynamoDB developer guide, "Using time to live (TTL) in DynamoDB", "Before you start using Time to Live".

use dynoxide::{DynoxideError, Result, actions, storage::Storage};
use futures::FutureExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::batch_transaction::key_attributes;

/// The longest delay: DynamoDB typically takes up to two days.
pub const MAX_DELAY_SECS: i64 = 2 * 86_400;
/// Five years as DynamoDB counts them: items that expired before are never deleted.
const FIVE_YEARS_SECS: i64 = 5 * 365 * 86_400;
/// Items read at once, since other requests wait meanwhile.
const PAGE_ITEMS: u32 = 100;

/// Deletes what expired at least `late` seconds before `now`; returns how many items.
///
/// # Errors
/// What the storage says.
pub fn delete_expired(storage: &Storage, now: i64, late: i64) -> Result<usize> {
    let tables = poll_once(actions::list_tables::execute(storage, parse_request(json!({}))?))?;
    let mut deleted = 0;
    for table in tables.table_names {
        let asked = parse_request(json!({"TableName": table}))?;
        let ttl =
            poll_once(actions::describe_time_to_live::execute(storage, asked))?.time_to_live_description;
        let Some(attribute) = ttl.attribute_name.filter(|_| ttl.time_to_live_status == "ENABLED") else {
            continue;
        };
        deleted += delete_expired_of_table(storage, &table, &attribute, now, late)?;
    }
    Ok(deleted)
}

fn delete_expired_of_table(
    storage: &Storage,
    table: &str,
    attribute: &str,
    now: i64,
    late: i64,
) -> Result<usize> {
    let key = key_attributes(storage, table).unwrap_or_default();
    let expired = "#ttl <= :last AND #ttl > :first";
    let values = json!({
        ":last": {"N": (now - late).to_string()},
        ":first": {"N": (now - FIVE_YEARS_SECS).to_string()},
    });
    let (mut deleted, mut from) = (0, None);
    loop {
        let mut asked = json!({
            "TableName": table, "Limit": PAGE_ITEMS, "FilterExpression": expired,
            "ExpressionAttributeNames": {"#ttl": attribute}, "ExpressionAttributeValues": values,
        });
        if let (Some(from), Some(members)) = (from.take(), asked.as_object_mut()) {
            members.insert("ExclusiveStartKey".into(), from);
        }
        let page = poll_once(actions::scan::execute(storage, parse_request(asked)?))?;
        for item in page.items.unwrap_or_default() {
            let item = serde_json::to_value(item).unwrap_or_default();
            let key: serde_json::Map<_, _> =
                key.iter().filter_map(|name| Some((name.clone(), item.get(name)?.clone()))).collect();
            // it may have been updated since it was read
            let gone = poll_once(actions::delete_item::execute(
                storage,
                parse_request(json!({
                    "TableName": table, "Key": key, "ConditionExpression": expired,
                    "ExpressionAttributeNames": {"#ttl": attribute}, "ExpressionAttributeValues": values,
                }))?,
            ));
            match gone {
                Ok(_) => deleted += 1,
                Err(DynoxideError::ConditionalCheckFailedException(..)) => {}
                Err(error) => return Err(error),
            }
        }
        match page.last_evaluated_key {
            Some(last) => from = serde_json::to_value(last).ok(),
            None => return Ok(deleted),
        }
    }
}

fn parse_request<T: DeserializeOwned>(request: Value) -> Result<T> {
    serde_json::from_value(request).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

/// Completes an action: the storage never waits, so the first poll is enough.
fn poll_once<T>(action: impl Future<Output = Result<T>>) -> Result<T> {
    let waits = || Err(DynoxideError::InternalServerError("the storage waits".into()));
    action.now_or_never().unwrap_or_else(waits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_expired_goes_late_and_what_expired_long_ago_never() {
        let storage = Storage::memory().unwrap();
        let table = json!({
            "TableName": "Table", "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        });
        poll_once(actions::create_table::execute(&storage, parse_request(table).unwrap())).unwrap();
        let ttl = json!({"TableName": "Table", "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": true}});
        poll_once(actions::update_time_to_live::execute(&storage, parse_request(ttl).unwrap())).unwrap();
        let now = 1_800_000_000;
        let put = |name: &str, ttl: Option<i64>| {
            let mut item = json!({"pk": {"S": name}});
            if let Some(ttl) = ttl {
                item["ttl"] = json!({"N": ttl.to_string()});
            }
            let put = json!({"TableName": "Table", "Item": item});
            poll_once(actions::put_item::execute(&storage, parse_request(put).unwrap())).unwrap();
        };
        put("not yet", Some(now + 1));
        put("just now", Some(now - 10));
        put("yesterday", Some(now - 86_400));
        put("almost five years ago", Some(now - FIVE_YEARS_SECS + 60));
        put("more than five years ago", Some(now - FIVE_YEARS_SECS - 60));
        put("never", None);
        (0..250).for_each(|n| put(&format!("one of many {n}"), Some(now - 90_000)));
        assert_eq!(delete_expired(&storage, now, 3600).unwrap(), 252);
        let left = poll_once(actions::scan::execute(
            &storage,
            parse_request(json!({"TableName": "Table"})).unwrap(),
        ))
        .unwrap();
        let left: Vec<Value> = left.items.unwrap().iter().map(|i| serde_json::to_value(i).unwrap()).collect();
        let mut left: Vec<&str> = left.iter().map(|item| item["pk"]["S"].as_str().unwrap()).collect();
        left.sort_unstable();
        assert_eq!(left, ["just now", "more than five years ago", "never", "not yet"]);
        assert_eq!(delete_expired(&storage, now, 0).unwrap(), 1, "the one that was not late enough");
    }
}
