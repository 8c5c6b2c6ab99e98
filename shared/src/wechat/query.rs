//! The query of a URL, percent-encoded as WeChat reads it everywhere.

/// `?name=value&…` with percent-encoded values; empty without pairs. Names are ours and need no encoding.
#[must_use]
pub fn query(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        encode(value, &mut out);
    }
    out
}

/// RFC 3986: all but unreserved bytes as `%XX`. A blank is `%20`: WeChat does not read `+` as one everywhere.
fn encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}
