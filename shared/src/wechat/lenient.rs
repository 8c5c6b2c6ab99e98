//! WeChat's JSON as it really comes: numbers as strings, null for nothing,
//! missing fields, raw control characters, a leading byte order mark.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use crate::secret::Secret;

/// Some gateways put it before a response.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A number, or a string that holds one; `None` for anything else.
pub fn optional_int<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(truth) => Some(i64::from(truth)),
        _ => None,
    })
}

/// As [`optional_int`], 0 for anything else.
pub fn int<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    Ok(optional_int(from)?.unwrap_or(0))
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
pub fn optional_secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    let text = text(from)?;
    Ok(if text.is_empty() { None } else { Some(Secret::new(text)) })
}

/// The value, its default for null.
pub fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A list; elements of another type (null, a bare number) are skipped, anything else is an empty list.
pub fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let Value::Array(list) = Value::deserialize(from)? else { return Ok(Vec::new()) };
    Ok(list.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect())
}

/// The value; its default for null and for any other type.
pub fn or_default_if_invalid<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(from)?).unwrap_or_default())
}

/// A list of numbers; elements without one are skipped, anything else is an empty list.
pub fn ints<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<i64>, D::Error> {
    let Value::Array(list) = Value::deserialize(from)? else { return Ok(Vec::new()) };
    Ok(list.into_iter().filter_map(|one| optional_int(one).ok().flatten()).collect())
}

/// A list of objects; elements that are not such objects are skipped, anything else is an empty list.
pub fn objects<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let Value::Array(list) = Value::deserialize(from)? else { return Ok(Vec::new()) };
    Ok(list.into_iter().filter(Value::is_object).filter_map(|one| serde_json::from_value(one).ok()).collect())
}

/// A list of strings; other elements are skipped, anything else is an empty list.
pub fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let Value::Array(list) = Value::deserialize(from)? else { return Ok(Vec::new()) };
    let texts = list.into_iter().filter_map(|one| match one {
        Value::String(text) => Some(text),
        _ => None,
    });
    Ok(texts.collect())
}

/// The body after a byte order mark and whitespace.
fn skip_byte_order_mark(body: &[u8]) -> &[u8] {
    let body = body.trim_ascii_start();
    body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body).trim_ascii_start()
}

/// Whether a body begins like every response of WeChat: serde
/// would also fill a struct from an array, field by field.
pub fn is_object(body: &[u8]) -> bool {
    skip_byte_order_mark(body).first() == Some(&b'{')
}

/// Reads JSON; on failure once more with user-typed oddities made harmless: control characters
/// become spaces, broken UTF-8 becomes U+FFFD. One odd remark must not stop an import.
///
/// # Errors
/// Where it went wrong. Never serde's own text, which quotes the value, perhaps a token.
pub fn from_json_slice<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    if !is_object(body) {
        return Err(format!("not a JSON object in {} bytes", body.len()));
    }
    let body = skip_byte_order_mark(body);
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
    struct TestObject {
        #[serde(default, deserialize_with = "int")]
        number: i64,
        #[serde(default, deserialize_with = "text")]
        text: String,
        #[serde(default, deserialize_with = "ints")]
        list: Vec<i64>,
    }

    #[derive(Debug, Deserialize, PartialEq, Default)]
    struct TestLists {
        #[serde(default, deserialize_with = "texts")]
        texts: Vec<String>,
        #[serde(default, deserialize_with = "objects")]
        objects: Vec<TestObject>,
    }

    #[test]
    fn what_wechat_sends_is_read_as_it_was_meant() {
        let sample =
            |number, text: &str, list: &[i64]| TestObject { number, text: text.into(), list: list.into() };
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
            ("half a pair of surrogates as bytes", b"{\"text\":\"\xed\xa0\xbd\"}", {
                sample(0, "\u{fffd}\u{fffd}\u{fffd}", &[])
            }),
            ("a byte order mark", b"\xef\xbb\xbf{\"number\":7}", sample(7, "", &[])),
            ("one between blanks", b"\r\n\xef\xbb\xbf {\"number\":7}", sample(7, "", &[])),
            ("one and a raw line break", b"\xef\xbb\xbf{\"text\":\"a\nb\"}", sample(0, "a b", &[])),
        ] {
            assert_eq!(from_json_slice::<TestObject>(body).as_ref(), Ok(&expected), "{what}");
        }
    }

    #[test]
    fn one_odd_element_does_not_spoil_a_list() {
        let one = || vec![TestObject { number: 1, text: String::new(), list: Vec::new() }];
        for (what, body, texts, objects) in [
            ("no list", "{}", vec![], vec![]),
            ("null", r#"{"texts":null,"objects":null}"#, vec![], vec![]),
            ("no list but an object", r#"{"texts":{},"objects":{}}"#, vec![], vec![]),
            ("null among texts", r#"{"texts":["a",null,7,["b"],"c"]}"#, vec!["a", "c"], vec![]),
            ("null among objects", r#"{"objects":[null,{"number":1},"x",[1]]}"#, vec![], one()),
        ] {
            let read = from_json_slice::<TestLists>(body.as_bytes()).unwrap();
            assert_eq!(
                (read.texts, read.objects),
                (texts.into_iter().map(str::to_owned).collect(), objects),
                "{what}"
            );
        }
    }

    #[test]
    fn an_error_does_not_quote_what_it_found() {
        for body in [r#"{"number":"hidden""#, r#""hidden""#, r#"["hidden"]"#, "<html>hidden"] {
            let why = from_json_slice::<TestObject>(body.as_bytes()).unwrap_err();
            assert!(!why.contains("hidden"), "{why}");
        }
    }
}
