//! The OpenAPI document in the order and the words that the page shows.

use askama::Template;
use serde_json::{Map, Value, json};

/// Deeper schemas than this are shown as `…`.
const MAX_DEPTH: usize = 6;
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The page.
#[derive(Template)]
#[template(path = "docs.html")]
pub struct Docs {
    title: String,
    version: String,
    intro: Vec<String>,
    groups: Vec<Group>,
}

struct Group {
    name: String,
    anchor: String,
    about: String,
    operations: Vec<Operation>,
}

struct Operation {
    anchor: String,
    method: String,
    path: String,
    summary: String,
    about: Vec<String>,
    key: &'static str,
    params: Vec<Member>,
    members: Vec<Member>,
    request: Option<String>,
    answer: Option<(String, String)>,
    answer_members: Vec<Member>,
    responses: Vec<(String, String)>,
}

struct Member {
    name: String,
    kind: String,
    required: bool,
    about: String,
}

impl Docs {
    /// The page of an OpenAPI document.
    pub fn of(document: &Value) -> Self {
        let tags = document.get("tags").and_then(Value::as_array).into_iter().flatten();
        let groups = tags.map(|tag| group(document, tag)).filter(|group| !group.operations.is_empty());
        let info = document.get("info").unwrap_or(&Value::Null);
        Self {
            title: text(info, "title"),
            version: text(info, "version"),
            intro: paragraphs(info),
            groups: groups.collect(),
        }
    }
}

fn group(document: &Value, tag: &Value) -> Group {
    let name = text(tag, "name");
    let mut operations = Vec::new();
    for (path, item) in document.get("paths").and_then(Value::as_object).into_iter().flatten() {
        for method in METHODS {
            let Some(found) = item.get(method) else { continue };
            let tags = found.get("tags").and_then(Value::as_array);
            if tags.is_some_and(|tags| tags.iter().any(|t| t == name.as_str())) {
                operations.push(operation(document, method, path, found));
            }
        }
    }
    Group {
        anchor: name.to_lowercase().replace(' ', "-"),
        about: marked(&text(tag, "description")),
        name,
        operations,
    }
}

fn operation(document: &Value, method: &str, path: &str, found: &Value) -> Operation {
    let responses = found.get("responses").and_then(Value::as_object).cloned().unwrap_or_default();
    let good = responses.iter().find(|(status, _)| status.starts_with('2'));
    let answer_schema = good.and_then(|(_, response)| schema(response));
    let request_schema = found.get("requestBody").and_then(schema);
    let answer = good.zip(answer_schema);
    let key = match found.get("security").and_then(|s| s.get(0)).and_then(Value::as_object) {
        None => "tenant's key",
        Some(one) if one.contains_key("operator_key") => "operator's key",
        Some(_) => "no key",
    };
    Operation {
        anchor: text(found, "operationId"),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(found, "summary"),
        about: paragraphs(found),
        key,
        params: found.get("parameters").and_then(Value::as_array).into_iter().flatten().map(param).collect(),
        members: request_schema.map(|s| members(document, s)).unwrap_or_default(),
        request: request_schema.map(|s| pretty(&example(document, s, 0))),
        answer: answer.map(|((status, _), s)| (status.clone(), pretty(&example(document, s, 0)))),
        answer_members: answer_schema.map(|s| members(document, s)).unwrap_or_default(),
        responses: responses
            .iter()
            .map(|(status, r)| (status.clone(), marked(&text(r, "description"))))
            .collect(),
    }
}

/// The schema of a body.
fn schema(body: &Value) -> Option<&Value> {
    body.get("content")?.as_object()?.values().next()?.get("schema")
}

fn resolve<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
    target.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema)
}

/// The members of a schema; those of a list's entries for a list.
fn members(document: &Value, schema: &Value) -> Vec<Member> {
    let mut schema = resolve(document, schema);
    if let Some(entry) = schema.pointer("/properties/data/items") {
        schema = resolve(document, entry);
    }
    let required = schema.get("required").and_then(Value::as_array);
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties
        .map(|(name, property)| Member {
            name: name.clone(),
            kind: kind(document, property),
            required: required.is_some_and(|all| all.iter().any(|r| r == name.as_str())),
            about: marked(&text(property, "description")),
        })
        .collect()
}

fn param(param: &Value) -> Member {
    Member {
        name: text(param, "name"),
        kind: text(param, "in"),
        required: param.get("required").and_then(Value::as_bool).unwrap_or_default(),
        about: marked(&text(param, "description")),
    }
}

/// A type in words: `string`, `list of Fan`, `queued | sent`, `string or null`.
fn kind(document: &Value, schema: &Value) -> String {
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
        let kinds: Vec<_> = choices.iter().map(|choice| kind(document, choice)).collect();
        return kinds.join(" or ");
    }
    let target = resolve(document, schema);
    if let Some(words) = target.get("enum").and_then(Value::as_array) {
        return words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" | ");
    }
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        return name.rsplit('/').next().unwrap_or_default().to_owned();
    }
    match target.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        Some(Value::String(one)) if one == "array" => {
            format!("list of {}", target.get("items").map(|i| kind(document, i)).unwrap_or_default())
        }
        Some(Value::String(one)) => target.get("format").and_then(Value::as_str).unwrap_or(one).to_owned(),
        _ => "any".to_owned(),
    }
}

/// The example that a schema gives, or one made of its members'.
fn example(document: &Value, schema: &Value, depth: usize) -> Value {
    let schema = resolve(document, schema);
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    if depth >= MAX_DEPTH {
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

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn paragraphs(value: &Value) -> Vec<String> {
    text(value, "description").split("\n\n").map(|p| marked(&p.replace('\n', " "))).collect()
}

/// A text of the document as HTML: escaped, with its `code` and **strong** parts marked.
fn marked(text: &str) -> String {
    let mut html =
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    for (mark, tag) in [("`", "code"), ("**", "strong")] {
        // an odd number of marks leaves the last one as it is
        while let Some((before, rest)) = html.split_once(mark)
            && let Some((inside, after)) = rest.split_once(mark)
        {
            html = format!("{before}<{tag}>{inside}</{tag}>{after}");
        }
    }
    html
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_escaped_and_its_marks_are_kept() {
        for (text, html) in [
            ("`code` of <b>", "<code>code</code> of &lt;b&gt;"),
            ("**Keys.** Send `A: KEY` & more", "<strong>Keys.</strong> Send <code>A: KEY</code> &amp; more"),
            ("one ` alone", "one ` alone"),
        ] {
            assert_eq!(marked(text), html);
        }
    }

    #[test]
    fn the_page_shows_every_route_with_examples_and_needs_nothing_else() {
        let document = serde_json::from_str(crate::docs::DESCRIPTION).unwrap();
        let page = Docs::of(&document).render().unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            assert!(page.contains(path.as_str()), "{path}");
            for operation in item.as_object().unwrap().values() {
                assert!(
                    page.contains(&operation["summary"].as_str().unwrap().replace('\'', "&#39;")),
                    "{path}"
                );
            }
        }
        assert!(page.contains("ngqIpbwh8bUfcSsECmogfXcV14J0tQlEpBO27izEYtY"), "the request's example");
        assert!(page.contains("capabilities"), "the answer's example");
        assert!(!page.contains("<script") && !page.contains("<link") && !page.contains("src="));
    }
}
