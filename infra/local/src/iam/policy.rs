//! The permissions on tables and queues in a role's statements. A statement in a form that is not understood is
//! an error: a permission that is silently ignored would hide a mistake.

use serde::Deserialize;
use yaml_serde::{Mapping, Value};

use super::permission::{Permission, Permissions};
use crate::template::intrinsics::Reference;

/// Services whose permissions are checked here. Those of others (keys, logs, network) AWS itself uses.
const CHECKED_SERVICES: [&str; 2] = ["dynamodb:", "sqs:"];

/// What may be granted for some partition keys alone: actions whose requests always name them. `ForAllValues` is true of a
/// request that names none, so that a `Scan` or a `PartiQLSelect` would read the whole table under such a condition.
const KEYED_ACTIONS: [&str; 11] = [
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PartiQLDelete",
    "dynamodb:PartiQLInsert",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
];

/// Returns the permissions that the inline policies of `role` (the properties of an `AWS::IAM::Role`) grant.
///
/// # Errors
/// The statement that is not understood, and why.
pub fn role_permissions(role: &Mapping) -> Result<Permissions, String> {
    let mut rights = Permissions::default();
    for policy in role.get("Policies").and_then(Value::as_sequence).into_iter().flatten() {
        let statements = policy.get("PolicyDocument").and_then(|d| d.get("Statement"));
        let statements =
            statements.and_then(Value::as_sequence).ok_or("a policy without a list of statements")?;
        for statement in statements {
            add_statement(&mut rights, statement)?;
        }
    }
    Ok(rights)
}

fn add_statement(rights: &mut Permissions, statement: &Value) -> Result<(), String> {
    let actions: Vec<&str> = required_list(statement, "Action")?.iter().filter_map(Value::as_str).collect();
    let ours = |action: &&str| CHECKED_SERVICES.iter().any(|service| action.starts_with(service));
    if !actions.iter().any(ours) {
        return Ok(());
    }
    let plain = statement.get("Effect").and_then(Value::as_str) == Some("Allow");
    if !plain || !actions.iter().all(ours) || actions.iter().any(|a| a.contains('*')) {
        return Err(format!(
            "{actions:?}: only plain `Allow` of named actions on tables or queues is understood"
        ));
    }
    let keys = match statement.get("Condition") {
        None => vec![None],
        Some(condition) => leading_keys(condition)
            .filter(|_| actions.iter().all(|action| KEYED_ACTIONS.contains(action)))
            .ok_or_else(|| {
                format!("{actions:?}: a condition other than leading keys of actions that name them")
            })?
            .into_iter()
            .map(Some)
            .collect(),
    };
    for resource in required_list(statement, "Resource")? {
        let resource = resource_name(resource)
            .ok_or_else(|| format!("{actions:?}: {resource:?} is no table, index or queue"))?;
        // the leading keys of an index are the index's own
        if keys != [None] && resource.contains('/') {
            return Err(format!("{actions:?}: leading keys are understood of tables, not of {resource}"));
        }
        for action in &actions {
            // IAM would ask each of two statements alone whether it allows all keys of a request
            if rights.0.iter().any(|right| right.action == **action && right.resource == resource) {
                return Err(format!("{action} on {resource} stands in two statements"));
            }
            rights.0.extend(
                keys.iter()
                    .map(|keys| Permission { keys: keys.clone(), ..Permission::new(*action, &resource) }),
            );
        }
    }
    Ok(())
}

/// `{ "ForAllValues:StringLike": { "dynamodb:LeadingKeys": [KEY, BEGINNING*] } }`.
fn leading_keys(condition: &Value) -> Option<Vec<String>> {
    let only = |value: &Value, member: &str| {
        value.as_mapping().filter(|all| all.len() == 1).and_then(|all| all.get(member)).cloned()
    };
    let keys = only(&only(condition, "ForAllValues:StringLike")?, "dynamodb:LeadingKeys")?;
    let understood = |key: &&str| {
        let beginning = key.strip_suffix('*').unwrap_or(key);
        !beginning.is_empty() && !beginning.contains(['*', '?', '$'])
    };
    let keys: Option<Vec<_>> =
        keys.as_sequence()?.iter().map(|key| key.as_str().filter(understood).map(str::to_owned)).collect();
    keys.filter(|keys| !keys.is_empty())
}

fn required_list<'a>(statement: &'a Value, member: &str) -> Result<&'a Vec<Value>, String> {
    statement
        .get(member)
        .and_then(Value::as_sequence)
        .ok_or_else(|| format!("a statement whose {member} is no list"))
}

/// `!GetAtt Table.Arn` or `!Sub "${Table.Arn}/index/name"`.
fn resource_name(resource: &Value) -> Option<String> {
    match Reference::deserialize(resource).ok()? {
        Reference::GetAtt(text) => text.strip_suffix(".Arn").map(str::to_owned),
        Reference::Sub(text) => {
            let (table, rest) = text.strip_prefix("${")?.split_once(".Arn}")?;
            rest.strip_prefix("/index/").filter(|index| !index.contains(['$', '*', '/']))?;
            Some(format!("{table}{rest}"))
        }
        Reference::Ref(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(statement: &str) -> Result<Vec<String>, String> {
        let role = format!("Policies: [{{ PolicyDocument: {{ Statement: [{statement}] }} }}]");
        let rights = role_permissions(&yaml_serde::from_str(&role).unwrap())?;
        Ok(rights.0.iter().map(Permission::to_string).collect())
    }

    #[test]
    fn a_role_gives_what_its_statements_name() {
        for (what, statement, rights) in [
            (
                "each action on each resource",
                r"{ Effect: Allow, Action: [sqs:SendMessage, sqs:ReceiveMessage], Resource: [!GetAtt A.Arn, !GetAtt B.Arn] }",
                &[
                    "sqs:ReceiveMessage on A",
                    "sqs:ReceiveMessage on B",
                    "sqs:SendMessage on A",
                    "sqs:SendMessage on B",
                ][..],
            ),
            (
                "an index",
                r#"{ Effect: Allow, Action: [dynamodb:Query], Resource: [!Sub "${A.Arn}/index/due"] }"#,
                &["dynamodb:Query on A/index/due"],
            ),
            (
                "some keys of a table",
                r#"{ Effect: Allow, Action: [dynamodb:Query], Resource: [!GetAtt A.Arn], Condition: { "ForAllValues:StringLike": { "dynamodb:LeadingKeys": ["ACCOUNT#*", TENANTS] } } }"#,
                &["dynamodb:Query on A of ACCOUNT#*", "dynamodb:Query on A of TENANTS"],
            ),
            (
                "nothing of other services",
                r"{ Effect: Allow, Action: [kms:Decrypt], Resource: [!GetAtt Key.Arn], Condition: {} }",
                &[],
            ),
        ] {
            assert_eq!(read(statement).unwrap(), rights, "{what}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (what, statement) in [
            ("all actions", r#"{ Effect: Allow, Action: ["dynamodb:*"], Resource: [!GetAtt A.Arn] }"#),
            ("all resources", r#"{ Effect: Allow, Action: [dynamodb:Query], Resource: ["*"] }"#),
            (
                "all indexes",
                r#"{ Effect: Allow, Action: [dynamodb:Query], Resource: [!Sub "${A.Arn}/index/*"] }"#,
            ),
            ("a denial", r"{ Effect: Deny, Action: [dynamodb:Query], Resource: [!GetAtt A.Arn] }"),
            (
                "a condition",
                r"{ Effect: Allow, Action: [dynamodb:Query], Resource: [!GetAtt A.Arn], Condition: {} }",
            ),
            (
                "another operator",
                r#"{ Effect: Allow, Action: [dynamodb:Query], Resource: [!GetAtt A.Arn], Condition: { "ForAnyValue:StringLike": { "dynamodb:LeadingKeys": [A] } } }"#,
            ),
            (
                "another condition beside",
                r#"{ Effect: Allow, Action: [dynamodb:Query], Resource: [!GetAtt A.Arn], Condition: { "ForAllValues:StringLike": { "dynamodb:LeadingKeys": [A], "dynamodb:Attributes": [pk] } } }"#,
            ),
            (
                "a pattern within",
                r#"{ Effect: Allow, Action: [dynamodb:Query], Resource: [!GetAtt A.Arn], Condition: { "ForAllValues:StringLike": { "dynamodb:LeadingKeys": ["A*B"] } } }"#,
            ),
            (
                "keys of an action that needs none",
                r#"{ Effect: Allow, Action: [dynamodb:Query, dynamodb:Scan], Resource: [!GetAtt A.Arn], Condition: { "ForAllValues:StringLike": { "dynamodb:LeadingKeys": [A] } } }"#,
            ),
            (
                "keys of an index",
                r#"{ Effect: Allow, Action: [dynamodb:Query], Resource: [!Sub "${A.Arn}/index/due"], Condition: { "ForAllValues:StringLike": { "dynamodb:LeadingKeys": [A] } } }"#,
            ),
            (
                "an action twice",
                r"{ Effect: Allow, Action: [dynamodb:Query], Resource: [!GetAtt A.Arn] }, { Effect: Allow, Action: [dynamodb:Query], Resource: [!GetAtt A.Arn] }",
            ),
            ("a single action", r"{ Effect: Allow, Action: dynamodb:Query, Resource: [!GetAtt A.Arn] }"),
        ] {
            assert!(read(statement).is_err(), "{what}");
        }
    }
}
