//! View model of the documentation page, built from the OpenAPI document.

use askama::Template;
use serde_json::Value;

use super::{
    schema::{Member, Type, body_schema, example, members, parameter, types},
    text::{paragraphs, text_member, to_html},
};

/// Shown for an operation that needs no key.
const NO_KEY: &str = "no key";
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The page.
#[derive(Template)]
#[template(path = "docs.html")]
pub struct DocsPage {
    style: &'static str,
    title: String,
    version: String,
    intro: Vec<String>,
    groups: Vec<Group>,
    types: Vec<Type>,
    vocabulary: Vec<WordList>,
}

/// A list of words that programs branch on: error codes, event types.
struct WordList {
    name: String,
    anchor: String,
    about: String,
    words: Vec<(String, String)>,
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
    key: String,
    curl: String,
    params: Vec<Member>,
    members: Vec<Member>,
    request: Option<String>,
    answer: Option<(String, String)>,
    answer_members: Vec<Member>,
    responses: Vec<(String, String)>,
}

impl DocsPage {
    /// Builds the page of an OpenAPI document, with the style sheet `style`.
    pub fn of(document: &Value, style: &'static str) -> Self {
        let tags = document.get("tags").and_then(Value::as_array).into_iter().flatten();
        let groups = tags.map(|tag| group(document, tag)).filter(|group| !group.operations.is_empty());
        let info = document.get("info").unwrap_or(&Value::Null);
        Self {
            style,
            title: text_member(info, "title"),
            version: text_member(info, "version"),
            intro: paragraphs(info),
            groups: groups.collect(),
            types: types(document),
            vocabulary: document
                .get("x-vocabulary")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(word_list)
                .collect(),
        }
    }
}

fn word_list(of: &Value) -> WordList {
    let words = of.get("words").and_then(Value::as_array).into_iter().flatten();
    let name = text_member(of, "name");
    WordList {
        anchor: anchor(&name),
        about: to_html(&text_member(of, "description")),
        words: words
            .map(|word| (text_member(word, "word"), to_html(&text_member(word, "description"))))
            .collect(),
        name,
    }
}

fn anchor(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}

fn group(document: &Value, tag: &Value) -> Group {
    let name = text_member(tag, "name");
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
    Group { anchor: anchor(&name), about: to_html(&text_member(tag, "description")), name, operations }
}

fn operation(document: &Value, method: &str, path: &str, found: &Value) -> Operation {
    let responses = found.get("responses").and_then(Value::as_object).cloned().unwrap_or_default();
    let good = responses.iter().find(|(status, _)| status.starts_with('2'));
    let answer_schema = good.and_then(|(_, response)| body_schema(response));
    let request_schema = found.get("requestBody").and_then(body_schema);
    let answer = good.zip(answer_schema);
    let key = required_key(found);
    let request = request_schema.map(|s| example(document, s, 0));
    Operation {
        curl: curl(method, path, key != NO_KEY, request.as_ref()),
        anchor: text_member(found, "operationId"),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text_member(found, "summary"),
        about: paragraphs(found),
        key,
        params: found
            .get("parameters")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(parameter)
            .collect(),
        members: request_schema.map(|s| members(document, s)).unwrap_or_default(),
        request: request.as_ref().map(pretty),
        answer: answer.map(|((status, _), s)| (status.clone(), pretty(&example(document, s, 0)))),
        answer_members: answer_schema.map(|s| members(document, s)).unwrap_or_default(),
        responses: responses
            .iter()
            .map(|(status, r)| (status.clone(), to_html(&text_member(r, "description"))))
            .collect(),
    }
}

/// Which key an operation needs, and which scope a tenant's key must have.
fn required_key(operation: &Value) -> String {
    let ways = operation.get("security").and_then(Value::as_array).into_iter().flatten();
    let named = ways.filter_map(Value::as_object).flatten().map(|(scheme, scopes)| {
        let scope = scopes.get(0).and_then(Value::as_str).map(|scope| format!(": {scope}"));
        let whose = if scheme == "operator_key" { "operator's key" } else { "tenant's key" };
        format!("{whose}{}", scope.unwrap_or_default())
    });
    let named: Vec<_> = named.collect();
    if named.is_empty() { NO_KEY.to_owned() } else { named.join(" or ") }
}

/// A curl command for a shell where `HUB` and `KEY` are set; path ids become shell variables.
fn curl(method: &str, path: &str, with_key: bool, body: Option<&Value>) -> String {
    let mut line = String::from("curl");
    if method != "get" {
        line += &format!(" -X {}", method.to_uppercase());
    }
    let path = path.split('/').map(|part| match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
        Some(name) => format!("${}", name.to_uppercase()),
        None => part.to_owned(),
    });
    line += &format!(" \"$HUB{}\"", path.collect::<Vec<_>>().join("/"));
    if with_key {
        line += " -H \"Authorization: Bearer $KEY\"";
    }
    if let Some(body) = body {
        line += &format!(" -d '{}'", body.to_string().replace('\'', "'\\''"));
    }
    line
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curl_line_can_be_typed_as_it_stands() {
        let body = serde_json::json!({"name": "Bob's"});
        for (method, path, key, body, line) in [
            ("get", "/healthz", false, None, r#"curl "$HUB/healthz""#),
            (
                "delete",
                "/v1/accounts/{app_id}",
                true,
                None,
                r#"curl -X DELETE "$HUB/v1/accounts/$APP_ID" -H "Authorization: Bearer $KEY""#,
            ),
            (
                "post",
                "/v1/tenants",
                true,
                Some(&body),
                r#"curl -X POST "$HUB/v1/tenants" -H "Authorization: Bearer $KEY" -d '{"name":"Bob'\''s"}'"#,
            ),
        ] {
            assert_eq!(curl(method, path, key, body), line);
        }
    }

    #[test]
    fn the_page_shows_every_route_with_examples_and_needs_nothing_else() {
        let document = serde_json::from_str(crate::docs::OPENAPI_JSON).unwrap();
        let page = DocsPage::of(&document, "body { margin: 0 }").render().unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            assert!(page.contains(path.as_str()), "{path}");
            for operation in item.as_object().unwrap().values() {
                assert!(
                    page.contains(&operation["summary"].as_str().unwrap().replace('\'', "&#39;")),
                    "{path}"
                );
            }
        }
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            assert!(name.starts_with("Page_") || page.contains(&format!("id=\"type-{name}\"")), "{name}");
            let parts = schema["allOf"].as_array().into_iter().flatten().chain([schema]);
            let members: Vec<_> =
                parts.flat_map(|part| part["properties"].as_object().into_iter().flatten()).collect();
            for (member, _) in &members {
                assert!(page.contains(&format!("<code>{member}</code>")), "{name}.{member}");
            }
            let shown = page.split(&format!("id=\"type-{name}\"")).nth(1).unwrap_or_default();
            let shown = shown.split("</article>").next().unwrap();
            assert!(members.is_empty() || !shown.contains("<p>any</p>"), "{name} has members: {shown}");
            if let Some(of) = schema.pointer("/allOf/0/$ref") {
                let of = of.as_str().unwrap().strip_prefix('#').unwrap();
                for member in document.pointer(of).unwrap()["properties"].as_object().unwrap().keys() {
                    assert!(shown.contains(&format!("<code>{member}</code>")), "{name}.{member}: {shown}");
                }
            }
        }
        for words in document["x-vocabulary"].as_array().unwrap() {
            for word in words["words"].as_array().unwrap() {
                let word = word["word"].as_str().unwrap();
                assert!(page.contains(&format!("<code>{word}</code>")), "{word}");
            }
        }
        let links = page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap());
        for link in links {
            assert!(page.contains(&format!("id=\"{link}\"")), "#{link} leads nowhere");
        }
        assert!(page.contains("ngqIpbwh8bUfcSsECmogfXcV14J0tQlEpBO27izEYtY"), "the request's example");
        assert!(page.contains("capabilities"), "the answer's example");
        assert!(!page.contains("<script") && !page.contains("<link") && !page.contains("src="));
    }
}
