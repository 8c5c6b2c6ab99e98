//! What is stored of a push's members: all of it, unless it is far longer than anything
//! that WeChat sends. Then long texts are truncated with a mark: a push that is too large
//! for a table would be lost, and a page of a timeline has to fit into one response.

use serde_json::{Map, Value};

/// Bytes of a detail's JSON. 200 of them, a page of a timeline, fit into Lambda's 6 MB response; the
/// largest real push, the result of a broadcast of eight articles, has 8 KB. A text of WeChat's
/// 2,048 bytes fits even if all of them are control characters, which JSON writes as six bytes each.
pub const MAX_DETAIL_BYTES: usize = 24 * 1024;
/// The end of a truncated text.
pub const CUT_MARK: &str = "… [cut]";
/// The name of the member that stands for omitted members; its value is [`CUT_MARK`].
pub const OMITTED_MEMBERS: &str = "…";
/// Longest text in bytes of JSON, at first and at last: it is halved until all fits.
const TEXT_BYTE_LIMITS: [usize; 2] = [16 * 1024, 64];

/// The members as JSON text of at most [`MAX_DETAIL_BYTES`].
#[must_use]
#[expect(clippy::expect_used, reason = "JSON members are always written")]
pub fn bounded_json(members: &Map<String, Value>) -> String {
    let written = |members: &Map<String, Value>| Value::Object(members.clone()).to_string();
    let whole = serde_json::to_string(members).expect("JSON");
    if whole.len() <= MAX_DETAIL_BYTES {
        return whole;
    }
    let [mut most, least] = TEXT_BYTE_LIMITS;
    let mut short = members.clone();
    while most >= least {
        short.values_mut().for_each(|value| cut_texts(value, most));
        let text = written(&short);
        if text.len() <= MAX_DETAIL_BYTES {
            return text;
        }
        most /= 2;
    }
    let mut kept = Map::new();
    let mut left = MAX_DETAIL_BYTES - r#"{"…":"… [cut]"}"#.len();
    for (name, value) in short {
        let bytes = escaped_len(&name) + value.to_string().len() + r#""":,"#.len();
        if let Some(rest) = left.checked_sub(bytes) {
            left = rest;
            kept.insert(name, value);
        }
    }
    kept.insert(OMITTED_MEMBERS.to_owned(), CUT_MARK.into());
    written(&kept)
}

/// Truncates every text in `value` to `most` bytes of JSON, including the mark.
fn cut_texts(value: &mut Value, most: usize) {
    match value {
        Value::String(text) if escaped_len(text) > most => {
            let mut left = most.saturating_sub(CUT_MARK.len());
            let fits =
                |c: &char| left.checked_sub(escaped_char_len(*c)).inspect(|rest| left = *rest).is_some();
            let mut short: String = text.trim_end_matches(CUT_MARK).chars().take_while(fits).collect();
            short.push_str(CUT_MARK);
            *text = short;
        }
        Value::Array(values) => values.iter_mut().for_each(|value| cut_texts(value, most)),
        Value::Object(members) => members.values_mut().for_each(|value| cut_texts(value, most)),
        _ => {}
    }
}

fn escaped_len(text: &str) -> usize {
    text.chars().map(escaped_char_len).sum()
}

/// Bytes of a character inside a JSON text.
fn escaped_char_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_too_long_is_cut_with_a_mark_and_the_rest_is_kept() {
        let many = |count: usize, text: &str| -> Value {
            (0..count).map(|n| (format!("M{n}"), text.into())).collect::<Map<_, _>>().into()
        };
        for (what, members, kept, cut) in [
            ("a usual text", json!({"Content": "hi", "MsgId": "1"}), "\"Content\":\"hi\"", false),
            (
                "the longest text",
                json!({"Content": "\u{1}".repeat(2048), "MsgId": "1"}),
                "\"MsgId\":\"1\"",
                false,
            ),
            (
                "control characters",
                json!({"Content": "\u{1}".repeat(100_000), "MsgId": "1"}),
                "\"MsgId\":\"1\"",
                true,
            ),
            ("letters", json!({"Content": "你".repeat(60_000), "MsgId": "1"}), "\"MsgId\":\"1\"", true),
            ("quotation marks", json!({"Content": "\"".repeat(190_000)}), "\\\"", true),
            (
                "a text deep inside",
                json!({"A": {"B": [{"C": "x".repeat(30_000)}]}, "D": "1"}),
                "\"D\":\"1\"",
                true,
            ),
            (
                "two texts",
                json!({"Title": "t".repeat(30_000), "Url": "u".repeat(30_000)}),
                "\"Url\":\"uuu",
                true,
            ),
            ("many members", many(2_000, "a value"), "\"M0\":\"a value\"", true),
            ("many long members", many(500, &"v".repeat(300)), "\"M0\":\"vvv", true),
            (
                "a name that does not fit",
                json!({"N".repeat(30_000): "1", "MsgId": "1"}),
                "\"MsgId\":\"1\"",
                true,
            ),
        ] {
            let text = bounded_json(&object(&members));
            assert!(text.len() <= MAX_DETAIL_BYTES, "{what}: {} bytes", text.len());
            assert!(text.contains(kept), "{what}: {text}");
            assert_eq!(text.contains(CUT_MARK), cut, "{what}");
            assert!(serde_json::from_str::<Map<String, Value>>(&text).is_ok(), "{what}");
            assert!(!text.contains("[cut]… [cut]"), "{what}: cut twice");
        }
    }
}
