//! The EncodingAESKey of the console, expanded once.

use std::fmt;

use aes::{Aes256Dec, Aes256Enc};
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeSliceError, Engine};
use cbc::cipher::{InnerIvInit, KeyInit};

/// Characters of an EncodingAESKey.
pub const ENCODED_KEY_LEN: usize = 43;

/// 43 characters carry 258 bits and the key is the first 256. The console draws all of them at random, so most
/// real keys end in non-zero bits, which a strict decoder refuses.
const LENIENT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// An AES-256 key with its round keys: expanding them for each push would cost as much as decrypting it.
#[derive(Clone)]
pub struct AesKey {
    encrypt: Aes256Enc,
    decrypt: Aes256Dec,
    iv: [u8; 16],
}

impl AesKey {
    /// Parses the 43 characters of the console; `None` for anything else.
    ///
    /// The IV is the key's first 16 bytes: WeChat's choice, so equal texts with equal random bytes look alike.
    #[must_use]
    pub fn parse(encoded: &str) -> Option<Self> {
        if encoded.len() != ENCODED_KEY_LEN {
            return None;
        }
        let mut key = [0; 32];
        let decoded: Result<usize, DecodeSliceError> = LENIENT_BASE64.decode_slice(encoded, &mut key);
        if decoded.ok()? != key.len() {
            return None;
        }
        let iv = *key.first_chunk()?;
        Some(Self { encrypt: Aes256Enc::new(&key.into()), decrypt: Aes256Dec::new(&key.into()), iv })
    }

    pub(super) fn encryptor(&self) -> cbc::Encryptor<&Aes256Enc> {
        cbc::Encryptor::inner_iv_init(&self.encrypt, &self.iv.into())
    }

    pub(super) fn decryptor(&self) -> cbc::Decryptor<&Aes256Dec> {
        cbc::Decryptor::inner_iv_init(&self.decrypt, &self.iv.into())
    }
}

impl fmt::Debug for AesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_43_base64_characters_whatever_its_last_two_bits() {
        for (what, encoded, right) in [
            ("trailing bits set", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", true),
            ("no trailing bits", "mNnY5GekpChwqhy2c4NBH90g3hND6GeI4gii2YCvKLY", true),
            ("too short", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEF", false),
            ("padded by hand", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG=", false),
            (
                "43 characters of which one is none of base64",
                "abcdefghijklmnopqrstuvwxyz0123456789ABCDEF!",
                false,
            ),
            ("padding inside", "abcdefghijklmnopqrstuvwxyz0123456789ABCDE==", false),
            ("empty", "", false),
        ] {
            assert_eq!(AesKey::parse(encoded).is_some(), right, "{what}");
        }
        let key = AesKey::parse("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG").unwrap();
        assert_eq!(format!("{key:?}"), "***");
    }
}
