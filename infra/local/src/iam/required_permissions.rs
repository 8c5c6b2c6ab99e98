//! Which permissions a request needs. Source: AWS's Service Authorization Reference; batches and
//! transactions need those of each part, PartiQL has its own actions, an index is its own resource.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, de::IgnoredAny};

use super::permission::{Permission, Permissions};

/// The parts of a request that name its resources; the rest is ignored.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RequestResources {
    table_name: Option<String>,
    index_name: Option<String>,
    request_items: BTreeMap<String, IgnoredAny>,
    transact_items: Vec<BTreeMap<String, TransactionItem>>,
    statements: Vec<StatementEntry>,
    statement: Option<String>,
    queue_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TransactionItem {
    table_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatementEntry {
    statement: String,
}

/// Returns the permissions that a request needs; `target` is its `X-Amz-Target`. Tables and queues have their logical
/// ids as names here (FIFO queues with `.fifo`).
///
/// # Errors
/// The request is not understood.
pub fn required(target: &str, body: &[u8]) -> Result<Vec<Permission>, String> {
    let (service, operation) = target.split_once('.').ok_or_else(|| format!("{target:?} is no operation"))?;
    let request: RequestResources =
        serde_json::from_slice(body).map_err(|error| format!("{operation}: {error}"))?;
    if service == "AmazonSQS" {
        let queue = request.queue_url.as_deref().and_then(|url| url.rsplit('/').next()).unwrap_or("*");
        let action = operation.strip_suffix("Batch").unwrap_or(operation);
        return Ok(vec![permission("sqs", action, queue.trim_end_matches(".fifo"))]);
    }
    let mut rights = BTreeSet::new();
    for table in request.request_items.keys() {
        rights.insert(permission("dynamodb", operation, table));
    }
    for (kind, place) in request.transact_items.iter().flatten() {
        let action = match kind.as_str() {
            "ConditionCheck" => "ConditionCheckItem".to_owned(),
            kind => format!("{kind}Item"),
        };
        rights.insert(permission("dynamodb", &action, &place.table_name));
    }
    for statement in request.statements.iter().map(|s| &s.statement).chain(&request.statement) {
        rights.insert(
            partiql_permission(statement)
                .ok_or_else(|| format!("a PartiQL statement of another kind: {statement}"))?,
        );
    }
    if let Some(table) = request.table_name {
        let resource = request.index_name.map_or(table.clone(), |index| format!("{table}/index/{index}"));
        rights.insert(permission("dynamodb", operation, &resource));
    }
    if rights.is_empty() {
        rights.insert(permission("dynamodb", operation, "*"));
    }
    Ok(rights.into_iter().collect())
}

impl Permissions {
    /// Returns the permissions that a request needs, if all of them are granted.
    ///
    /// # Errors
    /// The missing permission, or why the request is not understood.
    pub fn check(&self, target: &str, body: &[u8]) -> Result<Vec<Permission>, String> {
        let needed = required(target, body)?;
        match needed.iter().find(|right| !self.0.contains(right)) {
            None => Ok(needed),
            Some(right) => Err(right.to_string()),
        }
    }
}

fn permission(service: &str, action: &str, resource: &str) -> Permission {
    Permission { action: format!("{service}:{action}"), resource: resource.to_owned() }
}

/// `INSERT INTO "Table" …`, `UPDATE "Table" …`, `DELETE FROM "Table" …`, `SELECT … FROM "Table"[."index"] …`.
fn partiql_permission(statement: &str) -> Option<Permission> {
    let verb = statement.split_whitespace().next()?.to_ascii_uppercase();
    let action = match verb.as_str() {
        "INSERT" => "PartiQLInsert",
        "UPDATE" => "PartiQLUpdate",
        "DELETE" => "PartiQLDelete",
        "SELECT" => "PartiQLSelect",
        _ => return None,
    };
    let mut names = statement.split('"').skip(1);
    let table = names.next()?;
    let index = names.next().filter(|between| *between == ".").and_then(|_| names.next());
    let resource = index.map_or(table.to_owned(), |index| format!("{table}/index/{index}"));
    Some(permission("dynamodb", action, &resource))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_takes_the_rights_of_its_parts() {
        for (what, target, body, rights) in [
            (
                "a read",
                "DynamoDB_20120810.GetItem",
                r#"{"TableName":"A","Key":{}}"#,
                &["dynamodb:GetItem on A"][..],
            ),
            (
                "an index",
                "DynamoDB_20120810.Query",
                r#"{"TableName":"A","IndexName":"due"}"#,
                &["dynamodb:Query on A/index/due"],
            ),
            (
                "a batch over two tables",
                "DynamoDB_20120810.BatchWriteItem",
                r#"{"RequestItems":{"A":[{"PutRequest":{}}],"B":[]}}"#,
                &["dynamodb:BatchWriteItem on A", "dynamodb:BatchWriteItem on B"],
            ),
            (
                "a transaction",
                "DynamoDB_20120810.TransactWriteItems",
                r#"{"TransactItems":[{"Put":{"TableName":"A"}},{"ConditionCheck":{"TableName":"B"}},{"Put":{"TableName":"A"}}]}"#,
                &["dynamodb:ConditionCheckItem on B", "dynamodb:PutItem on A"],
            ),
            (
                "PartiQL",
                "DynamoDB_20120810.BatchExecuteStatement",
                r#"{"Statements":[{"Statement":"INSERT INTO \"A\" VALUE {'pk':?}"},{"Statement":"UPDATE \"B\" SET x=?"},{"Statement":"SELECT * FROM \"C\".\"due\" WHERE pk=?"}]}"#,
                &[
                    "dynamodb:PartiQLInsert on A",
                    "dynamodb:PartiQLSelect on C/index/due",
                    "dynamodb:PartiQLUpdate on B",
                ],
            ),
            (
                "a table's life",
                "DynamoDB_20120810.DeleteTable",
                r#"{"TableName":"A"}"#,
                &["dynamodb:DeleteTable on A"],
            ),
            ("a list of tables", "DynamoDB_20120810.ListTables", "{}", &["dynamodb:ListTables on *"]),
            (
                "a batch to a FIFO queue",
                "AmazonSQS.SendMessageBatch",
                r#"{"QueueUrl":"http://x/0/A.fifo","Entries":[]}"#,
                &["sqs:SendMessage on A"],
            ),
        ] {
            let needed: Vec<_> =
                required(target, body.as_bytes()).unwrap().iter().map(Permission::to_string).collect();
            assert_eq!(needed, rights, "{what}");
        }
    }

    #[test]
    fn what_is_no_request_takes_no_right() {
        for (target, body) in [
            ("GetItem", "{}"),
            ("DynamoDB_20120810.GetItem", "no json"),
            ("DynamoDB_20120810.ExecuteStatement", r#"{"Statement":"EXISTS(SELECT * FROM \"A\")"}"#),
        ] {
            assert!(required(target, body.as_bytes()).is_err(), "{target}");
        }
    }
}
