//! Renders the types of the OpenAPI document as text, with examples.

use serde_json::{Map, Value, json};

use super::text::{text_member, to_html};

/// Schemas nested deeper than this are shown as `…`.
const MAX_EXAMPLE_DEPTH: usize = 6;

/// A named type.
pub struct Type {
    /// Its name in the document.
    pub name: String,
    /// What it is, as HTML.
    pub about: String,
    /// Its values, if it has no members.
    pub kind: String,
    /// Its members.
    pub members: Vec<Member>,
}

/// A member of a type, or a parameter.
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its type in words, as HTML.
    pub kind: String,
    /// Whether it must be there.
    pub required: bool,
    /// What it means, as HTML.
    pub about: String,
}

/// The schema of a body, under its first media type.
pub fn body_schema(body: &Value) -> Option<&Value> {
    body.get("content")?.as_object()?.values().next()?.get("schema")
}

pub fn resolve<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
    target.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema)
}

/// The members of a schema; for a list, the members of its entries.
pub fn members(document: &Value, schema: &Value) -> Vec<Member> {
    let mut schema = resolve(document, schema);
    if let Some(entry) = schema.pointer("/properties/data/items") {
        schema = resolve(document, entry);
    }
    let parts = schema.get("allOf").and_then(Value::as_array).into_iter().flatten();
    parts.chain([schema]).flat_map(|part| own_members(document, resolve(document, part))).collect()
}

fn own_members(document: &Value, schema: &Value) -> Vec<Member> {
    let required = schema.get("required").and_then(Value::as_array);
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties
        .map(|(name, property)| Member {
            name: name.clone(),
            kind: type_html(document, property),
            required: required.is_some_and(|all| all.iter().any(|r| r == name.as_str())),
            about: to_html(&description_of(property)),
        })
        .collect()
}

/// A property's description; a nullable property has it on its non-null choice.
fn description_of(property: &Value) -> String {
    let own = text_member(property, "description");
    let choice = property.pointer("/oneOf/0").filter(|_| own.is_empty());
    choice.map_or(own, |choice| text_member(choice, "description"))
}

/// Every named type with its members, by name. Pages are left out, since their entries' types are listed.
pub fn types(document: &Value) -> Vec<Type> {
    let schemas = document.pointer("/components/schemas").and_then(Value::as_object).into_iter().flatten();
    let mut types: Vec<Type> = schemas
        .filter(|(name, _)| !name.starts_with("Page_"))
        .map(|(name, schema)| {
            let members = members(document, schema);
            Type {
                name: name.clone(),
                about: to_html(&text_member(schema, "description").replace('\n', " ")),
                kind: if members.is_empty() { inline_type_html(document, schema) } else { String::new() },
                members,
            }
        })
        .collect();
    types.sort_by_key(|one| one.name.to_lowercase());
    types
}

pub fn parameter(param: &Value) -> Member {
    Member {
        name: text_member(param, "name"),
        kind: text_member(param, "in"),
        required: param.get("required").and_then(Value::as_bool).unwrap_or_default(),
        about: to_html(&text_member(param, "description")),
    }
}

/// A type in words, as HTML: `string`, `list of Fan`, `queued | sent`, `string or null`. A named one is a link.
fn type_html(document: &Value, schema: &Value) -> String {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
    match name {
        Some(name) if resolve(document, schema).get("enum").is_none() => {
            format!("<a href=\"#type-{name}\">{name}</a>")
        }
        _ => inline_type_html(document, resolve(document, schema)),
    }
}

/// The type in words without a link to its name.
fn inline_type_html(document: &Value, target: &Value) -> String {
    if let Some(choices) = target.get("oneOf").and_then(Value::as_array) {
        let kinds: Vec<_> = choices.iter().map(|choice| type_html(document, choice)).collect();
        return kinds.join(" or ");
    }
    if let Some(words) = target.get("enum").and_then(Value::as_array) {
        return words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" | ");
    }
    match target.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        Some(Value::String(one)) if one == "array" => {
            format!("list of {}", target.get("items").map(|i| type_html(document, i)).unwrap_or_default())
        }
        Some(Value::String(one)) => target.get("format").and_then(Value::as_str).unwrap_or(one).to_owned(),
        _ => "any".to_owned(),
    }
}

/// The schema's own example, or one composed of its members' examples.
pub fn example(document: &Value, schema: &Value, depth: usize) -> Value {
    let schema = resolve(document, schema);
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    if depth >= MAX_EXAMPLE_DEPTH {
        return json!("…");
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let examples = properties.iter().map(|(name, p)| (name.clone(), example(document, p, depth + 1)));
        return Value::Object(examples.collect::<Map<_, _>>());
    }
    match schema.get("type") {
        Some(Value::String(kind)) if kind == "array" => {
            json!([schema.get("items").map(|items| example(document, items, depth + 1))])
        }
        Some(Value::Array(_)) => Value::Null,
        Some(Value::String(kind)) if kind == "boolean" => json!(true),
        Some(Value::String(kind)) if kind == "integer" => json!(0),
        Some(Value::String(_)) => json!("…"),
        _ => Value::Null,
    }
}
