//! Stored random values that can be read only with the API key they were sealed with.

use shared::{ids, secret::Secret, services::Services};

use crate::caller::random_hex;

/// Hex digits of a value of 256 bits.
const HEX_DIGITS: usize = 64;

/// A new random value, sealed with the key `bearer` for storage: a nonce, then the value XORed with a pad
/// derived from key and nonce.
pub fn seal_random(app: &Services, bearer: &Secret) -> Secret {
    let nonce = random_hex(app);
    let sealed = xor_hex(&random_hex(app), &pad(bearer, &nonce));
    Secret::new(format!("{nonce}{sealed}"))
}

/// Unseals a value. Another key gives a different value; what is not sealed is returned as it is.
pub fn unseal(bearer: &Secret, sealed: &Secret) -> Secret {
    match sealed.expose().split_at_checked(HEX_DIGITS) {
        Some((nonce, value)) if value.len() == HEX_DIGITS => Secret::new(xor_hex(value, &pad(bearer, nonce))),
        _ => sealed.clone(),
    }
}

/// 256 bits that need the key to compute. Parts are hashed with their lengths; the stored hash of a key
/// has other parts, so it does not reveal the pad.
fn pad(bearer: &Secret, nonce: &str) -> String {
    ids::fingerprint(&["seal of", bearer.expose(), nonce])
}

/// XORs the hex digits of `value` and `pad`; doing it twice gives `value` back.
fn xor_hex(value: &str, pad: &str) -> String {
    let digits = value.chars().zip(pad.chars());
    let xor = |(a, b): (char, char)| Some(a.to_digit(16)? ^ b.to_digit(16)?);
    digits.filter_map(xor).filter_map(|digit| char::from_digit(digit, 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_with_its_own_key_alone() {
        let (ours, other) = (Secret::new("oak_1"), Secret::new("oak_2"));
        let (nonce, value) = ("1".repeat(HEX_DIGITS), "0123456789abcdef".repeat(4));
        let sealed = Secret::new(format!("{nonce}{}", xor_hex(&value, &pad(&ours, &nonce))));
        assert!(!sealed.expose().contains(&value));
        assert_eq!(unseal(&ours, &sealed).expose(), value);
        assert_ne!(unseal(&other, &sealed).expose(), value);
        for plain in ["", "salt of an older release", "é".repeat(HEX_DIGITS + 1).as_str()] {
            assert_eq!(unseal(&ours, &Secret::new(plain)).expose(), plain, "{plain}");
        }
    }
}
