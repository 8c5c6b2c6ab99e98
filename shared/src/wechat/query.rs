//! Query strings, percent-encoded as every API of WeChat reads them.

/// `?name=value&…` with percent-encoded values; empty without pairs. Names are our own and need no encoding.
#[must_use]
pub fn encode_query(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        encode(value, &mut out);
    }
    out
}

/// RFC 3986: all but unreserved bytes as `%XX`. A space is `%20`: not every API of WeChat reads `+` as one.
fn encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}
