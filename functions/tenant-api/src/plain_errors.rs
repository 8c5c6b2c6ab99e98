//! Translates serde's errors about a body or query into words for API users, without Rust's types.

use serde::{Deserialize, Deserializer, de::Error};

/// The message for an invalid time.
const TIME_EXPECTED: &str = "must be RFC 3339, as 2026-01-15T08:30:00Z";

/// Prefixes of value parsers' messages, and the message shown instead.
const VALUE_ERRORS: [(&str, &str); 5] = [
    ("invalid digit found in string", "must be a whole number"),
    ("cannot parse integer from empty string", "must be a whole number"),
    ("number too large to fit in target type", "must be a smaller number"),
    ("number too small to fit in target type", "must be a larger number"),
    ("provided string was not `true` or `false`", "must be `true` or `false`"),
];

/// Prefixes of what serde expected, and the JSON type to name instead.
const EXPECTED_TYPES: [(&str, &str); 15] = [
    ("a string", "a text"),
    ("string", "a text"),
    ("a boolean", "`true` or `false`"),
    ("struct ", "an object"),
    ("a map", "an object"),
    ("map", "an object"),
    ("internally tagged enum", "an object"),
    ("a sequence", "a list"),
    ("sequence", "a list"),
    ("a tuple", "a list"),
    ("unit", "null"),
    ("u", "a whole number, not below 0"),
    ("i", "a whole number"),
    ("f", "a number"),
    ("enum ", "one of the texts that the description lists"),
];

/// The message for a body that is not JSON, with the position.
pub fn not_json(error: &serde_json::Error) -> String {
    format!("must be JSON, which it is not from line {}, column {}", error.line(), error.column())
}

/// serde's message in plain words; messages of our own types stay as they are.
pub fn plain_message(message: &str) -> String {
    // `…, expected a string at line 1 column 9`
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    if let Some((_, instead)) = VALUE_ERRORS.iter().find(|(begin, _)| message.starts_with(begin)) {
        return (*instead).to_owned();
    }
    let known = || word_list(message.rsplit_once(", expected ").map_or("", |(_, known)| known));
    let named = || message.split('`').nth(1).unwrap_or_default();
    if message.starts_with("unknown field ") {
        return match known().as_str() {
            "" => "is not known here; nothing is".to_owned(),
            known => format!("is not known here; known: {known}"),
        };
    }
    if message.starts_with("unknown variant ") {
        return format!("must be one of {}", known());
    }
    if message.starts_with("missing field ") {
        return format!("lacks the member `{}`", named());
    }
    if message.starts_with("duplicate field ") {
        return format!("`{}` must not stand twice", named());
    }
    let kinds = ["invalid type: ", "invalid value: ", "invalid length "];
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if kinds.iter().any(|kind| message.starts_with(kind)) => {
            let kind = EXPECTED_TYPES.iter().find(|(begin, _)| expected.starts_with(begin));
            format!("must be {}", kind.map_or(expected, |(_, kind)| kind))
        }
        _ => message.to_owned(),
    }
}

/// "one of `a`, `b`, `c`" and "`a` or `b`" as a plain list.
fn word_list(known: &str) -> String {
    let words: Vec<String> = known.split('`').skip(1).step_by(2).map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

/// Deserializes an optional RFC 3339 time.
///
/// # Errors
/// A plain message if it is not RFC 3339.
pub fn optional_timestamp<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<jiff::Timestamp>, D::Error> {
    let wrong = || D::Error::custom(TIME_EXPECTED);
    let text = Option::<String>::deserialize(deserializer).map_err(|_| wrong())?;
    text.map(|text| text.parse().map_err(|_| wrong())).transpose()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde::Deserialize;

    use crate::extract::{parse_json, parse_query};

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct SampleInput {
        name: String,
        list: Vec<SampleItem>,
        count: u32,
        sign: i64,
        flag: Option<bool>,
        word: Option<SampleScope>,
        words: Option<Vec<SampleScope>>,
        #[serde(deserialize_with = "super::optional_timestamp")]
        at: Option<Timestamp>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct SampleItem {
        id: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum SampleScope {
        Read,
        Send,
        Keys,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct EmptyInput {}

    const RFC: &str = "at: must be RFC 3339, as 2026-01-15T08:30:00Z";

    #[test]
    fn a_wrong_body_is_told_in_plain_words_and_where() {
        for (body, said) in [
            ("[", "body: must be a JSON object"),
            (" 7", "body: must be a JSON object"),
            ("", "body: must be JSON, which it is not from line 1, column 0"),
            ("\u{0}", "body: must be JSON, which it is not from line 1, column 1"),
            ("{name:1}", "body: must be JSON, which it is not from line 1, column 2"),
            (r#"{"name":"a""#, "body: must be JSON, which it is not from line 1, column 11"),
            (r#"{"name":"a"} x"#, "body: must be JSON, which it is not from line 1, column 14"),
            (r#"{"list":[{"id":"\ud800"}]}"#, "body: must be JSON, which it is not from line 1, column 23"),
            (r#"{"name":1}"#, "name: must be a text"),
            (r#"{"name":null}"#, "name: must be a text"),
            (r#"{"list":{}}"#, "list: must be a list"),
            (r#"{"list":["b"]}"#, "list[0]: must be an object"),
            (r#"{"list":[{}]}"#, "list[0]: lacks the member `id`"),
            (r#"{"list":[{"id":"b","typo":1}]}"#, "list[0].typo: is not known here; known: `id`"),
            (r#"{"count":"many"}"#, "count: must be a whole number, not below 0"),
            (r#"{"count":-1}"#, "count: must be a whole number, not below 0"),
            (r#"{"sign":1.5}"#, "sign: must be a whole number"),
            (r#"{"flag":"yes"}"#, "flag: must be `true` or `false`"),
            (r#"{"word":"admin"}"#, "word: must be one of `read`, `send`, `keys`"),
            (r#"{"words":["read","admin"]}"#, "words[1]: must be one of `read`, `send`, `keys`"),
            (r#"{"at":"tomorrow"}"#, RFC),
            (r#"{"at":"2026-01-15"}"#, RFC),
            (r#"{"at":5}"#, RFC),
        ] {
            let problem = parse_json::<SampleInput>(body.as_bytes()).unwrap_err();
            assert_eq!(problem.detail, said, "{body}");
            assert_eq!((problem.status, problem.code.as_str()), (422, "invalid_request"), "{body}");
        }
        assert!(parse_json::<SampleInput>(br#"{"at":"2026-01-15T08:30:00Z"}"#).unwrap().at.is_some());
        assert!(parse_json::<SampleInput>(br#"{"at":null}"#).unwrap().at.is_none());
        let detail = parse_json::<EmptyInput>(br#"{"all":true}"#).unwrap_err().detail;
        assert_eq!(detail, "all: is not known here; nothing is");
    }

    #[test]
    fn a_wrong_query_is_told_in_plain_words_and_where() {
        for (query, said) in [
            ("count=abc", "count: must be a whole number"),
            ("count=", "count: must be a whole number"),
            ("count=-1", "count: must be a whole number"),
            ("count=99999999999", "count: must be a smaller number"),
            ("sign=-99999999999999999999", "sign: must be a larger number"),
            ("flag=yes", "flag: must be `true` or `false`"),
            ("word=admin", "word: must be one of `read`, `send`, `keys`"),
            ("at=yesterday", RFC),
            ("at=", RFC),
            ("count=1&count=2", "`count` must not stand twice"),
            (
                "nmae=x",
                "nmae: is not known here; known: `name`, `list`, `count`, `sign`, `flag`, `word`, `words`, `at`",
            ),
        ] {
            let uri = format!("/v1/x?{query}").parse().unwrap();
            assert_eq!(parse_query::<SampleInput>(&uri).unwrap_err().detail, said, "{query}");
        }
    }
}
