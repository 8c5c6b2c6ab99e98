//! Transient errors of DynamoDB: conflicts between a write and a transaction, and unprocessed members of a
//! batch, because a partition is throttled. The rest of the batch is processed.
//!
//! A request that is throttled as a whole looks like a lost one to the hub: the SDK retries it.

use serde_json::{Map, Value, json};

use super::chaos::Chaos;

/// The tables that transactions write to: a single write to another table conflicts with none.
const TRANSACTED: [&str; 2] = ["PlatformTable", "WorkTable"];
/// Transient error codes of a statement.
const STATEMENT: [&str; 4] =
    ["ThrottlingError", "ProvisionedThroughputExceeded", "InternalServerError", "TransactionConflict"];

/// Refuses a request wholly or in part; `run` executes what remains of it.
pub fn answer(
    chaos: &Chaos,
    operation: &str,
    body: &str,
    run: impl Fn(&str) -> (u16, String),
) -> (u16, String) {
    let request: Value = serde_json::from_str(body).unwrap();
    match operation {
        "BatchGetItem" => parts(chaos, request, run, |asked| &mut asked["Keys"], "UnprocessedKeys"),
        "BatchWriteItem" => parts(chaos, request, run, |asked| asked, "UnprocessedItems"),
        "BatchExecuteStatement" => statements(chaos, request, run),
        "TransactWriteItems" => {
            let all = request["TransactItems"].as_array().unwrap().len();
            let met = chaos.pick(u32::try_from(all).unwrap()) as usize;
            let code = |n| if n == met { "TransactionConflict" } else { "None" };
            let reasons: Vec<_> = (0..all).map(|n| json!({ "Code": code(n) })).collect();
            refused("TransactionCanceledException", json!({ "CancellationReasons": reasons }))
        }
        "PutItem" | "UpdateItem" | "DeleteItem" if TRANSACTED.iter().any(|t| request["TableName"] == **t) => {
            refused("TransactionConflictException", json!({}))
        }
        _ => run(body),
    }
}

fn refused(kind: &str, mut body: Value) -> (u16, String) {
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{kind}"));
    body["message"] = json!("refused for a moment");
    (400, body.to_string())
}

/// Leaves some members unprocessed; never all, since DynamoDB then refuses the request.
fn parts(
    chaos: &Chaos,
    mut request: Value,
    run: impl Fn(&str) -> (u16, String),
    members: impl Fn(&mut Value) -> &mut Value,
    unprocessed: &str,
) -> (u16, String) {
    let mut left = Map::new();
    for (table, asked) in request["RequestItems"].as_object_mut().unwrap() {
        let all = members(asked).as_array().unwrap().clone();
        let kept = all.len() - chaos.pick(u32::try_from(all.len()).unwrap()) as usize;
        if kept < all.len() {
            let mut rest = asked.clone();
            *members(&mut rest) = json!(all[kept..]);
            left.insert(table.clone(), rest);
        }
        *members(asked) = json!(all[..kept]);
    }
    let (status, answer) = run(&request.to_string());
    let mut answer: Value = serde_json::from_str(&answer).unwrap();
    answer[unprocessed] = Value::Object(left);
    (status, answer.to_string())
}

/// Some statements fail; one with an internal error may have been executed.
fn statements(chaos: &Chaos, mut request: Value, run: impl Fn(&str) -> (u16, String)) -> (u16, String) {
    let all = request["Statements"].as_array().unwrap().clone();
    let codes: Vec<Option<&str>> =
        all.iter().map(|_| (chaos.pick(2) == 0).then(|| STATEMENT[chaos.pick(4) as usize])).collect();
    let happens: Vec<bool> =
        codes.iter().map(|c| c.is_none_or(|c| c == "InternalServerError" && chaos.pick(2) == 0)).collect();
    let run_some: Vec<_> =
        all.iter().zip(&happens).filter(|(_, happens)| **happens).map(|(s, _)| s).collect();
    let mut answers = Vec::new();
    if !run_some.is_empty() {
        request["Statements"] = json!(run_some);
        let (status, answer) = run(&request.to_string());
        if status != 200 {
            return (status, answer);
        }
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answers = answer["Responses"].as_array().unwrap().clone();
    }
    let mut answers = answers.into_iter();
    let responses: Vec<_> = codes
        .iter()
        .zip(happens)
        .map(|(code, happens)| {
            let answer = happens.then(|| answers.next().unwrap());
            match code {
                Some(code) => json!({ "Error": { "Code": code, "Message": "refused for a moment" } }),
                None => answer.unwrap(),
            }
        })
        .collect();
    (200, json!({ "Responses": responses }).to_string())
}
