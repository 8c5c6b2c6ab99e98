//! WeChat's signatures: SHA-1 over the sorted parts.
//!
//! # Source
//! WeChat "Message encryption and decryption, technical plan": bytewise order, no separator, lower-case hex.

use sha1::{Digest, Sha1};
use subtle::{Choice, ConstantTimeEq};

/// Hex digits of a SHA-1.
const SIGNATURE_LEN: usize = 40;

/// SHA-1 of the sorted parts, as 40 lower-case hex digits.
#[must_use]
pub fn sign(parts: &[&str]) -> String {
    as_str(&hex_digest(&mut parts.to_vec())).to_owned()
}

/// Whether `given` is the signature of `parts`, in a time that does not depend on where they differ.
#[must_use]
pub fn matches<const N: usize>(parts: &[&str; N], given: &str) -> bool {
    let digits = hex_digest(&mut { *parts });
    let (ours, theirs) = (digits.as_chunks().0, given.as_bytes().as_chunks().0);
    // Compares words instead of bytes: the result is the same, and just as constant in time.
    let words = ours.iter().zip(theirs).map(|(a, b)| u64::from_ne_bytes(*a).ct_eq(&u64::from_ne_bytes(*b)));
    given.len() == SIGNATURE_LEN && words.fold(Choice::from(1), |same, word| same & word).into()
}

fn as_str(digits: &[u8; SIGNATURE_LEN]) -> &str {
    // Hex digits are always UTF-8.
    std::str::from_utf8(digits).unwrap_or_default()
}

/// Sorts in place and hashes part after part: neither a copy of the parts nor one of the digits is allocated.
fn hex_digest(parts: &mut [&str]) -> [u8; SIGNATURE_LEN] {
    parts.sort_unstable();
    let mut hash = Sha1::new();
    for part in parts {
        hash.update(part.as_bytes());
    }
    let mut digits = [0; SIGNATURE_LEN];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(hash.finalize()) {
        pair.copy_from_slice(&hex_pair(byte));
    }
    digits
}

/// Lower-case hex digits, two a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| hex_pair(*byte)).map(char::from).collect()
}

/// Arithmetic instead of a table, so that the compiler can vectorize it.
fn hex_pair(byte: u8) -> [u8; 2] {
    let digit = |value: u8| value + if value < 10 { b'0' } else { b'a' - 10 };
    [digit(byte >> 4), digit(byte & 15)]
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
