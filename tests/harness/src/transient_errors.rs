//! Transient errors of DynamoDB: conflicts between a write and a transaction, and unprocessed members of a
//! batch, because a partition is throttled. The rest of the batch is processed.
//!
//! A request that is throttled as a whole looks like a lost one to the hub: the SDK retries it.

use serde_json::{Map, Value, json};

use crate::faults::FaultGenerator;

/// The tables that transactions write to: a single write to another table conflicts with none.
const TRANSACTIONAL_TABLES: [&str; 2] = ["PlatformTable", "WorkTable"];
/// Transient error codes of a statement.
const STATEMENT_CODES: [&str; 4] =
    ["ThrottlingError", "ProvisionedThroughputExceeded", "InternalServerError", "TransactionConflict"];

/// Refuses a request wholly or in part; `run` executes what remains of it.
pub fn respond(
    faults: &FaultGenerator,
    operation: &str,
    body: &str,
    run: impl Fn(&str) -> (u16, String),
) -> (u16, String) {
    let request: Value = serde_json::from_str(body).unwrap();
    match operation {
        "BatchGetItem" => {
            leave_unprocessed(faults, request, run, |asked| &mut asked["Keys"], "UnprocessedKeys")
        }
        "BatchWriteItem" => leave_unprocessed(faults, request, run, |asked| asked, "UnprocessedItems"),
        "BatchExecuteStatement" => statements(faults, request, run),
        "TransactWriteItems" => {
            let all = request["TransactItems"].as_array().unwrap().len();
            let conflicting = faults.random_below_in_request(u32::try_from(all).unwrap()) as usize;
            let code = |n| if n == conflicting { "TransactionConflict" } else { "None" };
            let reasons: Vec<_> = (0..all).map(|n| json!({ "Code": code(n) })).collect();
            error_body("TransactionCanceledException", json!({ "CancellationReasons": reasons }))
        }
        "PutItem" | "UpdateItem" | "DeleteItem"
            if TRANSACTIONAL_TABLES.iter().any(|t| request["TableName"] == **t) =>
        {
            error_body("TransactionConflictException", json!({}))
        }
        _ => run(body),
    }
}

fn error_body(kind: &str, mut body: Value) -> (u16, String) {
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{kind}"));
    body["message"] = json!("refused for a moment");
    (400, body.to_string())
}

/// Leaves some members unprocessed; never all, since DynamoDB then refuses the request.
fn leave_unprocessed(
    faults: &FaultGenerator,
    mut request: Value,
    run: impl Fn(&str) -> (u16, String),
    members: impl Fn(&mut Value) -> &mut Value,
    unprocessed: &str,
) -> (u16, String) {
    let mut left = Map::new();
    for (table, asked) in request["RequestItems"].as_object_mut().unwrap() {
        let all = members(asked).as_array().unwrap().clone();
        let kept = all.len() - faults.random_below_in_request(u32::try_from(all.len()).unwrap()) as usize;
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
fn statements(
    faults: &FaultGenerator,
    mut request: Value,
    run: impl Fn(&str) -> (u16, String),
) -> (u16, String) {
    let all = request["Statements"].as_array().unwrap().clone();
    let codes: Vec<Option<&str>> = all
        .iter()
        .map(|_| {
            (faults.random_below_in_request(2) == 0)
                .then(|| STATEMENT_CODES[faults.random_below_in_request(4) as usize])
        })
        .collect();
    let is_executed: Vec<bool> = codes
        .iter()
        .map(|c| c.is_none_or(|c| c == "InternalServerError" && faults.random_below_in_request(2) == 0))
        .collect();
    let executed: Vec<_> =
        all.iter().zip(&is_executed).filter(|(_, happens)| **happens).map(|(s, _)| s).collect();
    let mut answers = Vec::new();
    if !executed.is_empty() {
        request["Statements"] = json!(executed);
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
        .zip(is_executed)
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
