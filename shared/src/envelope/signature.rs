//! WeChat's signatures: SHA-1 over the sorted parts.
//!
//! # Source
//! WeChat "Message encryption and decryption, technical plan": bytewise order, no separator, lower-case hex.

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// SHA-1 of the sorted parts, as 40 lower-case hex digits.
#[must_use]
pub fn sign(parts: &[&str]) -> String {
    let mut parts = parts.to_vec();
    parts.sort_unstable();
    let mut hash = Sha1::new();
    for part in parts {
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize())
}

/// Whether `given` is the signature of `parts`, in a time that does not depend on where they differ.
#[must_use]
pub fn matches(parts: &[&str], given: &str) -> bool {
    sign(parts).as_bytes().ct_eq(given.as_bytes()).into()
}

/// Lower-case hex digits, two a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(DIGITS.get(usize::from(value)).copied().unwrap_or(b'0'));
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(byte & 15));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_sorted_before_they_are_hashed() {
        let abc = "a9993e364706816aba3e25717850c26c9cd0d89d";
        for (what, parts, given, right) in [
            ("in order", ["a", "b", "c"], abc, true),
            ("out of order", ["c", "a", "b"], abc, true),
            ("upper case letters sort before lower case ones", ["a", "b", "C"], abc, false),
            ("one digit off", ["a", "b", "c"], "a9993e364706816aba3e25717850c26c9cd0d89e", false),
            ("cut", ["a", "b", "c"], "a9993e36", false),
            ("empty", ["a", "b", "c"], "", false),
        ] {
            assert_eq!(matches(&parts, given), right, "{what}");
        }
    }
}
