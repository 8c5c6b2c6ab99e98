//! A PartiQL statement as an item of a transaction. Only the hub's own spelling is understood:
//!
//! - `INSERT INTO "T" VALUE {'a': ?, 'b': ?}`
//! - `UPDATE "T" SET a = ? SET "b" = ? WHERE pk = ? AND sk = ? AND a = ?`

use std::collections::HashMap;

use dynoxide::{
    AttributeValue, Item,
    actions::{
        batch_execute_statement::BatchStatementRequest,
        transact_write_items::{TransactPut, TransactUpdate, TransactWriteItem},
    },
};

/// Returns table and action; `None` for other spellings. `keys` returns a table's key attributes, the partition key
/// first.
pub(super) fn transaction_item(
    statement: &BatchStatementRequest,
    keys: impl FnOnce(&str) -> Option<Vec<String>>,
) -> Option<(&str, TransactWriteItem)> {
    let mut values = statement.parameters.iter().flatten().cloned();
    let text = statement.statement.as_str();
    let (table, write) = if let Some(rest) = text.strip_prefix("INSERT INTO \"") {
        let (table, rest) = rest.split_once("\" VALUE {")?;
        (table, insert(table, rest, &keys(table)?, &mut values)?)
    } else {
        let (table, rest) = text.strip_prefix("UPDATE \"")?.split_once("\" SET ")?;
        (table, update(table, rest, &keys(table)?, &mut values)?)
    };
    values.next().is_none().then_some((table, write))
}

fn insert(
    table: &str,
    rest: &str,
    keys: &[String],
    values: &mut impl Iterator<Item = AttributeValue>,
) -> Option<TransactWriteItem> {
    let mut item = Item::new();
    for member in rest.strip_suffix('}')?.split(", ") {
        let name = member.strip_prefix('\'')?.strip_suffix("': ?")?;
        if name.contains('\'') || item.insert(name.to_owned(), values.next()?).is_some() {
            return None;
        }
    }
    Some(put_item(table, item, Some(format!("attribute_not_exists({})", keys.first()?))))
}

/// A put as an item of a transaction.
pub(super) fn put_item(table: &str, item: Item, condition_expression: Option<String>) -> TransactWriteItem {
    let put = TransactPut { table_name: table.to_owned(), item, condition_expression, ..Default::default() };
    TransactWriteItem { put: Some(put), ..Default::default() }
}

fn update(
    table: &str,
    rest: &str,
    keys: &[String],
    values: &mut impl Iterator<Item = AttributeValue>,
) -> Option<TransactWriteItem> {
    let (sets, wheres) = rest.split_once(" WHERE ")?;
    let (mut names, mut bound, mut key) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut named = |name: &str| {
        let alias = format!("#{}", names.len());
        names.insert(alias.clone(), name.to_owned());
        alias
    };
    let mut valued = |value: AttributeValue| {
        let alias = format!(":{}", bound.len());
        bound.insert(alias.clone(), value);
        alias
    };
    let mut set = Vec::new();
    for part in sets.split(" SET ") {
        let name = attribute_name(part.strip_suffix(" = ?")?)?;
        if keys.iter().any(|key| key == name) {
            return None; // PartiQL refuses it; a transaction of the embedded database would not
        }
        set.push(format!("{} = {}", named(name), valued(values.next()?)));
    }
    // unlike PartiQL's, an update in a transaction would create the item
    let mut condition = vec![format!("attribute_exists({})", named(keys.first()?))];
    for part in wheres.split(" AND ") {
        let (name, value) = (attribute_name(part.strip_suffix(" = ?")?)?, values.next()?);
        if !keys.iter().any(|key| key == name) {
            condition.push(format!("{} = {}", named(name), valued(value)));
        } else if key.insert(name.to_owned(), value).is_some() {
            return None;
        }
    }
    let update = TransactUpdate {
        table_name: table.to_owned(),
        update_expression: format!("SET {}", set.join(", ")),
        condition_expression: Some(condition.join(" AND ")),
        expression_attribute_names: Some(names),
        expression_attribute_values: Some(bound),
        key,
        ..Default::default()
    };
    (update.key.len() == keys.len()).then(|| TransactWriteItem { update: Some(update), ..Default::default() })
}

/// An attribute's name, quoted or not.
fn attribute_name(name: &str) -> Option<&str> {
    let name = name.strip_prefix('"').map_or(Some(name), |name| name.strip_suffix('"'))?;
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_').then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(text: &str, parameters: usize) -> Option<Value> {
        let values: Vec<_> = (0..parameters).map(|n| json!({"N": n.to_string()})).collect();
        let statement = serde_json::from_value(json!({"Statement": text, "Parameters": values})).unwrap();
        let (table, action) = transaction_item(&statement, |_| Some(vec!["pk".into(), "sk".into()]))?;
        assert_eq!(table, "T");
        Some(serde_json::to_value(action).unwrap())
    }

    #[test]
    fn only_the_hubs_own_spelling_is_understood() {
        for (what, statement, parameters, is) in [
            ("an insert", r#"INSERT INTO "T" VALUE {'a': ?, 'b': ?}"#, 2, true),
            ("a parameter too many", r#"INSERT INTO "T" VALUE {'a': ?}"#, 2, false),
            ("one too few", r#"INSERT INTO "T" VALUE {'a': ?, 'b': ?}"#, 1, false),
            ("a value in the text", r#"INSERT INTO "T" VALUE {'a': 'x, y', 'b': ?}"#, 1, false),
            ("a name twice", r#"INSERT INTO "T" VALUE {'a': ?, 'a': ?}"#, 2, false),
            ("what is no error twice", r#"INSERT INTO "T" VALUE {'a': ?} IF NOT EXISTS"#, 1, false),
            ("an update", r#"UPDATE "T" SET a = ? WHERE pk = ? AND sk = ?"#, 3, true),
            ("a part of the key", r#"UPDATE "T" SET a = ? WHERE pk = ?"#, 2, false),
            ("an update's parameter too many", r#"UPDATE "T" SET a = ? WHERE pk = ? AND sk = ?"#, 4, false),
            ("a new key", r#"UPDATE "T" SET sk = ? WHERE pk = ? AND sk = ?"#, 3, false),
            (
                "a part of the key twice",
                r#"UPDATE "T" SET a = ? WHERE pk = ? AND pk = ? AND sk = ?"#,
                4,
                false,
            ),
            ("arithmetic", r#"UPDATE "T" SET a = a + ? WHERE pk = ? AND sk = ?"#, 3, false),
            (
                "what no documentation shows for an update",
                r#"UPDATE "T" SET a = ? WHERE pk = ? AND sk = ? AND b IS MISSING"#,
                3,
                false,
            ),
            ("another comparison", r#"UPDATE "T" SET a = ? WHERE pk = ? AND sk = ? AND b > ?"#, 4, false),
            ("alternatives", r#"UPDATE "T" SET a = ? WHERE pk = ? AND sk = ? OR b = ?"#, 4, false),
            (
                "an answer asked for",
                r#"UPDATE "T" SET a = ? WHERE pk = ? AND sk = ? RETURNING ALL NEW *"#,
                3,
                false,
            ),
            ("another verb", r#"DELETE FROM "T" WHERE pk = ? AND sk = ?"#, 2, false),
        ] {
            assert_eq!(parsed(statement, parameters).is_some(), is, "{what}");
        }
    }

    #[test]
    fn an_update_keeps_its_conditions() {
        let text = r#"UPDATE "T" SET "a" = ? SET b = ? WHERE pk = ? AND sk = ? AND "a" = ?"#;
        let update = parsed(text, 5).unwrap()["Update"].clone();
        assert_eq!(update["UpdateExpression"], "SET #0 = :0, #1 = :1");
        assert_eq!(update["ConditionExpression"], "attribute_exists(#2) AND #3 = :2");
        assert_eq!(update["ExpressionAttributeNames"], json!({"#0": "a", "#1": "b", "#2": "pk", "#3": "a"}));
        assert_eq!(update["Key"], json!({"pk": {"N": "2"}, "sk": {"N": "3"}}));
        assert_eq!(
            update["ExpressionAttributeValues"],
            json!({":0": {"N": "0"}, ":1": {"N": "1"}, ":2": {"N": "4"}})
        );
    }
}
