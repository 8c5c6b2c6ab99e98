//! WeChat's message encryption: AES-256-CBC over `random[16] | len[4] | message | app id | padding`.
//!
//! # Source
//! WeChat "Message encryption and decryption, technical plan"; the layout is held to the public vectors of seven
//! SDKs in `tests/known_answers.rs`.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::Simd;
use base64::engine::general_purpose::PAD;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt};

use super::aes_key::AesKey;
use super::callback_error::CallbackError;

/// The standard alphabet with padding, using AVX2 or NEON
/// where available: table look-ups cost as much as decrypting.
static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));

/// PKCS#7 pads to blocks of 32, not to AES's 16.
const PAD_BLOCK: usize = 32;
const RANDOM_LEN: usize = 16;
/// Random bytes and the message's length, before the message.
const HEAD_LEN: usize = RANDOM_LEN + 4;

/// Encrypts `message` for `app_id` and encodes it as base64.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "the buffer's length is a multiple of the block, and the padding 32 at most"
)]
pub fn seal(key: &AesKey, random: [u8; 16], message: &[u8], app_id: &str) -> String {
    let length = HEAD_LEN + message.len() + app_id.len();
    let pad = PAD_BLOCK - length % PAD_BLOCK; // 1 to 32: a full block when nothing is missing
    let mut buffer = Vec::with_capacity(length + pad);
    buffer.extend_from_slice(&random);
    buffer.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    buffer.extend_from_slice(message);
    buffer.extend_from_slice(app_id.as_bytes());
    buffer.resize(length + pad, u8::try_from(pad).expect("at most 32"));
    let whole = buffer.len();
    key.encryptor().encrypt_padded::<NoPadding>(&mut buffer, whole).expect("whole blocks");
    BASE64.encode(buffer)
}

/// Decrypts what [`seal`] made for `app_id`.
///
/// # Errors
/// [`CallbackError::Undecryptable`] for everything: telling wrong base64,
/// padding, length and app id apart would reveal something about the key.
pub fn open(key: &AesKey, encoded: &str, app_id: &str) -> Result<Vec<u8>, CallbackError> {
    let mut buffer = BASE64.decode(encoded).map_err(|_| CallbackError::Undecryptable)?;
    key.decryptor().decrypt_padded::<NoPadding>(&mut buffer).map_err(|_| CallbackError::Undecryptable)?;
    let message = message_range(&buffer, app_id).ok_or(CallbackError::Undecryptable)?;
    buffer.truncate(message.end);
    buffer.drain(..message.start);
    Ok(buffer)
}

/// Where the message lies in one decrypted buffer.
fn message_range(plain: &[u8], app_id: &str) -> Option<std::ops::Range<usize>> {
    let pad = usize::from(*plain.last()?);
    if !(1..=PAD_BLOCK).contains(&pad) {
        return None;
    }
    let (content, padding) = plain.split_at_checked(plain.len().checked_sub(pad)?)?;
    if padding.iter().any(|byte| usize::from(*byte) != pad) {
        return None;
    }
    let length = content.get(RANDOM_LEN..HEAD_LEN)?.first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let end = HEAD_LEN.checked_add(length)?;
    (content.get(end..)? == app_id.as_bytes()).then_some(HEAD_LEN..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plaintext_of_another_shape_has_no_message() {
        let plain = |length: u32, tail: &[u8]| [&[7; 16][..], &length.to_be_bytes(), tail].concat();
        for (what, plain, found) in [
            ("a message and its app id", plain(2, b"hiwx1\x01"), Some(20..22)),
            ("an empty message", plain(0, b"wx1\x02\x02"), Some(20..20)),
            ("padding of zero", plain(2, b"hiwx1\x00"), None),
            ("padding of 33", [plain(2, b"hiwx1"), vec![33; 33]].concat(), None),
            ("padding that differs inside", plain(2, b"hiwx1\x09\x03\x03"), None),
            ("padding longer than everything", vec![32; 31], None),
            ("a length past the end", plain(200, b"hiwx1\x01"), None),
            ("the greatest length", plain(u32::MAX, b"hiwx1\x01"), None),
            ("another app id", plain(2, b"hiwx2\x01"), None),
            ("an app id that goes on", plain(2, b"hiwx11\x01"), None),
            ("no app id", plain(2, b"hi\x01"), None),
            ("only a head", vec![1; 16], None),
            ("nothing", vec![], None),
        ] {
            assert_eq!(message_range(&plain, "wx1"), found, "{what}");
        }
    }
}
