//! Which permissions a request needs. Source: AWS's Service Authorization Reference; batches and
//! transactions need those of each part, PartiQL has its own actions, an index is its own resource.
//!
//! With each go the partition keys that `dynamodb:LeadingKeys` would hold. AWS does not say whether an action of a
//! transaction sees the key of its own item or those of the whole request. Here it sees all that the request names of the
//! table, which is harder to satisfy: what passes here passes either way.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::permission::{Permission, Permissions, RequestedAction};

/// The parts of a request that name its resources and keys; the rest is ignored.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RequestResources {
    table_name: Option<String>,
    index_name: Option<String>,
    key: Option<PartitionKey>,
    item: Option<PartitionKey>,
    key_condition_expression: String,
    expression_attribute_values: BTreeMap<String, TextAttribute>,
    request_items: BTreeMap<String, BatchMembers>,
    transact_items: Vec<BTreeMap<String, TransactionItem>>,
    statements: Vec<StatementEntry>,
    statement: Option<String>,
    parameters: Vec<TextAttribute>,
    queue_url: Option<String>,
}

/// Of an item or a key, what every table of `template.yaml` has as its partition key.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PartitionKey {
    pk: TextAttribute,
}

/// A value, where it is a text.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TextAttribute {
    #[serde(rename = "S")]
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum BatchMembers {
    Writes(Vec<BTreeMap<String, BatchWrite>>),
    Reads {
        #[serde(rename = "Keys")]
        keys: Vec<PartitionKey>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchWrite {
    key: Option<PartitionKey>,
    item: Option<PartitionKey>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TransactionItem {
    table_name: String,
    key: Option<PartitionKey>,
    item: Option<PartitionKey>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatementEntry {
    statement: String,
    #[serde(default)]
    parameters: Vec<TextAttribute>,
}

/// What a request does, with the keys that it names of each resource.
#[derive(Default)]
struct Wanted {
    actions: BTreeSet<(String, String)>,
    keys: BTreeMap<String, BTreeSet<String>>,
}

impl Wanted {
    fn add(&mut self, action: &str, resource: &str, keys: impl IntoIterator<Item = String>) {
        self.actions.insert((format!("dynamodb:{action}"), resource.to_owned()));
        self.keys.entry(resource.to_owned()).or_default().extend(keys);
    }

    fn into_actions(self) -> Vec<RequestedAction> {
        let keys = |resource: &str| self.keys.get(resource).cloned().unwrap_or_default();
        let wanted = |(action, resource): &(String, String)| RequestedAction {
            action: action.clone(),
            resource: resource.clone(),
            keys: keys(resource),
        };
        self.actions.iter().map(wanted).collect()
    }
}

/// Returns what a request does; `target` is its `X-Amz-Target`. Tables and queues have their logical
/// ids as names here (FIFO queues with `.fifo`).
///
/// # Errors
/// The request is not understood.
pub fn required(target: &str, body: &[u8]) -> Result<Vec<RequestedAction>, String> {
    let (service, operation) = target.split_once('.').ok_or_else(|| format!("{target:?} is no operation"))?;
    let request: RequestResources =
        serde_json::from_slice(body).map_err(|error| format!("{operation}: {error}"))?;
    if service == "AmazonSQS" {
        let queue = request.queue_url.as_deref().and_then(|url| url.rsplit('/').next()).unwrap_or("*");
        return Ok(vec![RequestedAction {
            action: format!("sqs:{}", operation.strip_suffix("Batch").unwrap_or(operation)),
            resource: queue.trim_end_matches(".fifo").to_owned(),
            keys: BTreeSet::new(),
        }]);
    }
    let mut wanted = Wanted::default();
    for (table, members) in request.request_items {
        let keys: Vec<_> = match members {
            BatchMembers::Writes(writes) => {
                writes.into_iter().flatten().filter_map(|(_, write)| key_of(write.key, write.item)).collect()
            }
            BatchMembers::Reads { keys } => keys.into_iter().filter_map(|key| key.pk.text).collect(),
        };
        wanted.add(operation, &table, keys);
    }
    for (kind, place) in request.transact_items.into_iter().flatten() {
        let action = match kind.as_str() {
            "ConditionCheck" => "ConditionCheckItem".to_owned(),
            kind => format!("{kind}Item"),
        };
        wanted.add(&action, &place.table_name, key_of(place.key, place.item));
    }
    let single =
        request.statement.map(|statement| StatementEntry { statement, parameters: request.parameters });
    for entry in request.statements.into_iter().chain(single) {
        let (action, resource) = statement_action(&entry.statement)
            .ok_or_else(|| format!("a PartiQL statement of another kind: {}", entry.statement))?;
        wanted.add(action, &resource, statement_key(&entry));
    }
    if let Some(table) = request.table_name {
        match request.index_name {
            Some(index) => wanted.add(operation, &format!("{table}/index/{index}"), []),
            None => {
                let named = key_of(request.key, request.item);
                let queried =
                    queried_key(&request.key_condition_expression, request.expression_attribute_values);
                wanted.add(operation, &table, named.or(queried));
            }
        }
    }
    if wanted.actions.is_empty() {
        wanted.add(operation, "*", []);
    }
    Ok(wanted.into_actions())
}

impl Permissions {
    /// Returns the permissions by which a request is allowed.
    ///
    /// # Errors
    /// The missing permission, or why the request is not understood.
    pub fn check(&self, target: &str, body: &[u8]) -> Result<Vec<Permission>, String> {
        let mut granted = Vec::new();
        for wanted in required(target, body)? {
            granted.extend(self.allowing(&wanted).map_err(|missing| missing.to_string())?);
        }
        Ok(granted)
    }
}

fn key_of(key: Option<PartitionKey>, item: Option<PartitionKey>) -> Option<String> {
    key.or(item)?.pk.text
}

/// `pk = :name`, alone or before ` AND …`.
fn queried_key(condition: &str, mut values: BTreeMap<String, TextAttribute>) -> Option<String> {
    let name = condition.strip_prefix("pk = ")?.split_whitespace().next()?;
    values.remove(name)?.text
}

/// The parameter of `'pk': ?` in an `INSERT`, of `WHERE pk = ?` elsewhere.
fn statement_key(entry: &StatementEntry) -> Option<String> {
    let statement = &entry.statement;
    let at = statement.find("'pk': ?").or_else(|| statement.find("WHERE pk = ?"))?;
    let before = statement.get(..at)?.matches('?').count();
    entry.parameters.get(before)?.text.clone()
}

/// `INSERT INTO "Table" …`, `UPDATE "Table" …`, `DELETE FROM "Table" …`, `SELECT … FROM "Table"[."index"] …`.
fn statement_action(statement: &str) -> Option<(&'static str, String)> {
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
    Some((action, index.map_or(table.to_owned(), |index| format!("{table}/index/{index}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template;

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
            let needed: Vec<_> = required(target, body.as_bytes())
                .unwrap()
                .iter()
                .map(|wanted| format!("{} on {}", wanted.action, wanted.resource))
                .collect();
            assert_eq!(needed, rights, "{what}");
        }
    }

    #[test]
    fn a_request_names_the_partition_keys_of_its_items() {
        let key = |pk: &str| format!(r#"{{"pk":{{"S":"{pk}"}},"sk":{{"S":"x"}},"n":{{"N":"1"}}}}"#);
        let (a, b, c) = (key("A#1"), key("B#2"), key("C"));
        for (what, operation, body, keys) in [
            ("a key", "GetItem", format!(r#"{{"TableName":"T","Key":{a}}}"#), &[&["A#1"][..]][..]),
            ("an item", "PutItem", format!(r#"{{"TableName":"T","Item":{a}}}"#), &[&["A#1"]]),
            (
                "a query of a partition",
                "Query",
                r#"{"TableName":"T","KeyConditionExpression":"pk = :p AND begins_with(sk, :s)","ExpressionAttributeValues":{":s":{"S":"x"},":p":{"S":"A#1"}}}"#.into(),
                &[&["A#1"]],
            ),
            (
                "of an index the table's key is not asked",
                "Query",
                r#"{"TableName":"T","IndexName":"i","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"A#1"}}}"#.into(),
                &[&[]],
            ),
            ("a scan names none", "Scan", r#"{"TableName":"T"}"#.into(), &[&[]]),
            (
                "reads of two tables",
                "BatchGetItem",
                format!(r#"{{"RequestItems":{{"T":{{"Keys":[{a},{b}]}},"U":{{"Keys":[{c}]}}}}}}"#),
                &[&["A#1", "B#2"], &["C"]],
            ),
            (
                "writes of both kinds",
                "BatchWriteItem",
                format!(r#"{{"RequestItems":{{"T":[{{"PutRequest":{{"Item":{a}}}}},{{"DeleteRequest":{{"Key":{b}}}}}]}}}}"#),
                &[&["A#1", "B#2"]],
            ),
            (
                "each action of a transaction sees all keys of its table",
                "TransactWriteItems",
                format!(r#"{{"TransactItems":[{{"Put":{{"TableName":"T","Item":{a}}}}},{{"Update":{{"TableName":"T","Key":{b}}}}},{{"ConditionCheck":{{"TableName":"U","Key":{c}}}}}]}}"#),
                &[&["C"], &["A#1", "B#2"], &["A#1", "B#2"]],
            ),
            (
                "statements",
                "BatchExecuteStatement",
                format!(
                    r#"{{"Statements":[{{"Statement":"INSERT INTO \"T\" VALUE {{'n': ?, 'pk': ?}}","Parameters":[{{"N":"1"}},{{"S":"A#1"}}]}},{}]}}"#,
                    r#"{"Statement":"UPDATE \"U\" SET \"x\" = ? SET \"y\" = ? WHERE pk = ? AND sk = ?","Parameters":[{"S":"x"},{"M":{}},{"S":"C"},{"S":"z"}]}"#
                ),
                &[&["A#1"], &["C"]],
            ),
            (
                "one statement",
                "ExecuteStatement",
                r#"{"Statement":"DELETE FROM \"T\" WHERE pk = ?","Parameters":[{"S":"A#1"}]}"#.into(),
                &[&["A#1"]],
            ),
        ] {
            let target = format!("DynamoDB_20120810.{operation}");
            let named: Vec<Vec<_>> = required(&target, body.as_bytes())
                .unwrap()
                .into_iter()
                .map(|wanted| wanted.keys.into_iter().collect())
                .collect();
            assert_eq!(named, keys, "{what}");
        }
    }

    #[test]
    fn each_table_of_the_template_has_the_partition_key_that_is_read_here() {
        for table in &template::parse(template::TEMPLATE).unwrap().tables {
            let partition = table.key.iter().find(|(_, kind)| kind == "HASH").map(|(name, _)| name.as_str());
            assert_eq!(partition, Some("pk"), "{}", table.name);
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
