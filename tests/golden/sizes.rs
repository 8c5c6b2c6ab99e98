//! The largest item of each family fits into DynamoDB: at most 400 KB, attribute names included.
//!
//! # Source
//! Amazon DynamoDB developer guide, "Service, account, and table quotas" and "DynamoDB item sizes and formats".

use serde_json::Value;
use shared::{
    model::{content, detail, reply_rules},
    wechat::user::MAX_FOLLOWERS_PER_PAGE,
};

use crate::{UNRELEASED, releases};

const MAX_ITEM_BYTES: usize = 400 * 1024;
/// Bound of all other texts: ids, names and URLs, which WeChat or the API keep shorter.
const DEFAULT_TEXT_BYTES: usize = 2 * 1024;
/// A number of 38 digits.
const NUMBER_BYTES: usize = 21;
/// A list or a map itself, and each of its elements.
const NESTED_BYTES: usize = 3;

/// The bound of attributes that may be longer.
fn max_bytes(name: &str) -> Option<usize> {
    Some(match name {
        // the API's content and template; a passive reply, and what is sent besides it
        "content" | "template" => content::MAX_CONTENT_BYTES,
        "reply" | "sends" => content::MAX_CONTENT_BYTES + DEFAULT_TEXT_BYTES,
        "detail" => detail::MAX_DETAIL_BYTES,
        "rules" => reply_rules::MAX_RULES_BYTES,
        // openids have 28 characters, one per line
        "open_id_lines" => MAX_FOLLOWERS_PER_PAGE * 29,
        // follower-import: 2,000 pages, `1999` and how many it has
        "pages_done" => 2_000 * (4 + NUMBER_BYTES + NESTED_BYTES),
        // the response that created a message, with the message's content
        "answer" => 4 * content::MAX_CONTENT_BYTES,
        // a job that waits carries ids; a message's content is in its record
        "body" => 2 * DEFAULT_TEXT_BYTES,
        _ => return None,
    })
}

/// The largest size that the attribute may reach.
fn max_attribute_bytes(name: &str, value: &Value) -> usize {
    let (kind, inner) = value.as_object().unwrap().iter().next().unwrap();
    let all = |values: &mut dyn Iterator<Item = (&str, &Value)>| -> usize {
        values.map(|(name, value)| NESTED_BYTES + name.len() + max_attribute_bytes(name, value)).sum()
    };
    match kind.as_str() {
        "S" => max_bytes(name).unwrap_or(DEFAULT_TEXT_BYTES),
        "N" => NUMBER_BYTES,
        "BOOL" | "NULL" => 1,
        "M" => max_bytes(name).unwrap_or_else(|| {
            NESTED_BYTES
                + all(&mut inner.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), value)))
        }),
        // permissions, scopes, tags, shards: tens of them
        "L" | "NS" | "SS" => max_bytes(name).unwrap_or(DEFAULT_TEXT_BYTES),
        other => panic!("{name} is of the type {other}, of which nothing is known here"),
    }
}

#[test]
fn the_largest_item_of_each_family_is_one_that_dynamodb_takes() {
    let examples = releases("items").into_iter().find(|(release, _)| release == UNRELEASED).unwrap().1;
    let mut largest = (0, String::new());
    for (table, items) in examples.as_object().unwrap() {
        for item in items.as_array().unwrap() {
            let members = item.as_object().unwrap();
            let mut size: usize =
                members.iter().map(|(name, value)| name.len() + max_attribute_bytes(name, value)).sum();
            if members.contains_key("chunk_0") {
                size += 99 * ("chunk_99".len() + NUMBER_BYTES); // a page has a hundred receipts
            }
            let key = format!("{table} {} {}", item["pk"]["S"], item["sk"]["S"]);
            assert!(size < MAX_ITEM_BYTES, "{key} may become {size} bytes");
            largest = largest.max((size, key));
        }
    }
    println!("the largest: {largest:?}");
}

/// The bounds above are really enforced, by cutting or refusing.
#[test]
fn what_is_longer_than_its_bound_is_cut_or_refused() {
    let long = "\u{1}\u{1F600}\"".repeat(200_000);
    let members = serde_json::from_value(serde_json::json!({"Content": long, "Other": [long]})).unwrap();
    assert!(detail::bounded_json(&members).len() <= detail::MAX_DETAIL_BYTES);
    let text = |bytes: usize| serde_json::json!({"msgtype": "text", "text": {"content": "x".repeat(bytes)}});
    let keywords: Vec<_> = (0..reply_rules::MAX_KEYWORDS)
        .map(|n| serde_json::json!({"keyword": n.to_string(), "match": "exact", "reply": text(content::MAX_TEXT_BYTES)}))
        .collect();
    let rules = serde_json::json!({"on_subscribe": null, "keywords": keywords, "default": null});
    assert!(rules.to_string().len() > reply_rules::MAX_RULES_BYTES);
    assert!(reply_rules::ReplyRules::parse(rules).is_err(), "larger than an item may be");
}
