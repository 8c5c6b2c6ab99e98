//! WeChat's JSON as it comes: numbers as strings, null for nothing, fields left out, raw control characters.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use crate::secret::Secret;

/// A number, or a string that holds one; `None` for anything else.
pub fn maybe_int<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(truth) => Some(i64::from(truth)),
        _ => None,
    })
}

/// As [`maybe_int`], 0 for anything else.
pub fn int<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    Ok(maybe_int(from)?.unwrap_or(0))
}

/// A string, or a number as its digits; empty for anything else.
pub fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    })
}

/// A token; `None` when null, empty or left out (with `#[serde(default)]`).
pub fn maybe_secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    let text = text(from)?;
    Ok(if text.is_empty() { None } else { Some(Secret::new(text)) })
}

/// The value, its default for null.
pub fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A list of numbers; elements that hold none are left out, anything else is an empty list.
pub fn ints<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<i64>, D::Error> {
    let Value::Array(list) = Value::deserialize(from)? else { return Ok(Vec::new()) };
    Ok(list.into_iter().filter_map(|one| maybe_int(one).ok().flatten()).collect())
}

/// Reads JSON; on failure once more with what people type into names made harmless: control characters
/// become blanks, broken UTF-8 becomes U+FFFD. One odd remark must not stop an import.
///
/// # Errors
/// Where it went wrong. Never serde's own text, which quotes what it found, and that may be a token.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    // An object, as every answer is: serde would fill a struct from an array too, field by field.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(format!("not a JSON object in {} bytes", body.len()));
    }
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let cleaned: Vec<u8> = body.iter().map(|&byte| if byte < b' ' { b' ' } else { byte }).collect();
    serde_json::from_str(&String::from_utf8_lossy(&cleaned))
        .map_err(|why| format!("not the expected JSON at column {} of {} bytes", why.column(), body.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Sample {
        #[serde(default, deserialize_with = "int")]
        number: i64,
        #[serde(default, deserialize_with = "text")]
        text: String,
        #[serde(default, deserialize_with = "ints")]
        list: Vec<i64>,
    }

    #[test]
    fn what_wechat_sends_is_read_as_it_was_meant() {
        let sample =
            |number, text: &str, list: &[i64]| Sample { number, text: text.into(), list: list.into() };
        for (what, body, expected) in [
            ("nothing", "{}".as_bytes(), sample(0, "", &[])),
            ("nulls", br#"{"number":null,"text":null,"list":null}"#, sample(0, "", &[])),
            ("as documented", br#"{"number":7,"text":"a","list":[1,2]}"#, sample(7, "a", &[1, 2])),
            (
                "the other way round",
                br#"{"number":"7","text":7,"list":["1",null,2]}"#,
                sample(7, "7", &[1, 2]),
            ),
            ("an empty string for a number", br#"{"number":""}"#, sample(0, "", &[])),
            ("a raw line break in a name", b"{\"text\":\"a\nb\x01\"}", sample(0, "a b ", &[])),
            ("broken UTF-8 in a name", b"{\"text\":\"a\xff\"}", sample(0, "a\u{fffd}", &[])),
        ] {
            assert_eq!(json::<Sample>(body).as_ref(), Ok(&expected), "{what}");
        }
    }

    #[test]
    fn an_error_does_not_quote_what_it_found() {
        for body in [r#"{"number":"hidden""#, r#""hidden""#, r#"["hidden"]"#, "<html>hidden"] {
            let why = json::<Sample>(body.as_bytes()).unwrap_err();
            assert!(!why.contains("hidden"), "{why}");
        }
    }
}
