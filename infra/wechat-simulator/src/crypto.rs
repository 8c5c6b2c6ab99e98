//! WeChat's message encryption, written separately from `shared::envelope` on purpose: the hub and this
//! simulator check each other.

use aes::Aes256;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::NoPadding};
use sha1::{Digest, Sha1};
use thiserror::Error;

/// WeChat pads to 32 bytes, not to the cipher's 16.
const PADDING_BLOCK: usize = 32;
/// Length of the random prefix before the message length.
const RANDOM_LEN: usize = 16;

/// The last of a key's 43 symbols carries two bits too many, and they are often set.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a body was refused. For the simulator's own log: WeChat never says.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum CryptoError {
    /// Not 43 letters or digits.
    #[error("the EncodingAESKey is not 43 base64 characters")]
    Key,
    /// Not base64, or not whole blocks.
    #[error("the ciphertext is not base64 of whole blocks")]
    Ciphertext,
    /// The last byte is not 1..=32, or the padding bytes differ.
    #[error("the padding is wrong")]
    Padding,
    /// The encoded message length points outside the plaintext.
    #[error("the inner length is wrong")]
    Length,
    /// Not UTF-8.
    #[error("the plaintext is not UTF-8")]
    Text,
    /// Meant for another recipient.
    #[error("the trailing app id is another one")]
    AppId,
}

/// A decoded EncodingAESKey.
#[derive(Clone)]
pub struct AesKey([u8; 32]);

impl AesKey {
    /// Decodes the console's 43 characters.
    ///
    /// # Errors
    /// [`CryptoError::Key`] for any other shape.
    pub fn decode(encoded: &str) -> Result<Self, CryptoError> {
        if encoded.len() != 43 {
            return Err(CryptoError::Key);
        }
        let bytes = LENIENT.decode(encoded).map_err(|_| CryptoError::Key)?;
        bytes.try_into().map(Self).map_err(|_| CryptoError::Key)
    }

    /// The IV is always the first half of the key.
    fn iv(&self) -> [u8; 16] {
        let mut iv = [0; 16];
        iv.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
        iv
    }

    /// `random[16] | length u32 | msg | app_id | padding`, encrypted, as base64.
    #[must_use]
    pub fn seal(&self, random: [u8; RANDOM_LEN], msg: &str, app_id: &str) -> String {
        let mut buffer = Vec::with_capacity(RANDOM_LEN + 4 + msg.len() + app_id.len() + PADDING_BLOCK);
        buffer.extend_from_slice(&random);
        buffer.extend_from_slice(&u32::try_from(msg.len()).unwrap_or(u32::MAX).to_be_bytes());
        buffer.extend_from_slice(msg.as_bytes());
        buffer.extend_from_slice(app_id.as_bytes());
        let pad = PADDING_BLOCK - buffer.len() % PADDING_BLOCK;
        buffer.resize(buffer.len() + pad, u8::try_from(pad).unwrap_or(0));
        let len = buffer.len();
        let cipher = cbc::Encryptor::<Aes256>::new(&self.0.into(), &self.iv().into());
        // Cannot fail: the buffer is whole blocks already.
        let sealed = cipher.encrypt_padded::<NoPadding>(&mut buffer, len).unwrap_or_default();
        LENIENT.encode(sealed)
    }

    /// The message and the trailing app id of a base64 ciphertext.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn open(&self, ciphertext: &str) -> Result<(String, String), CryptoError> {
        let mut buffer = LENIENT.decode(ciphertext.trim()).map_err(|_| CryptoError::Ciphertext)?;
        if buffer.is_empty() || !buffer.len().is_multiple_of(16) {
            return Err(CryptoError::Ciphertext);
        }
        let cipher = cbc::Decryptor::<Aes256>::new(&self.0.into(), &self.iv().into());
        let plain = cipher.decrypt_padded::<NoPadding>(&mut buffer).map_err(|_| CryptoError::Ciphertext)?;
        let pad = usize::from(plain.last().copied().unwrap_or(0));
        if !(1..=PADDING_BLOCK).contains(&pad) || pad > plain.len() {
            return Err(CryptoError::Padding);
        }
        let (plain, padding) = plain.split_at(plain.len() - pad);
        if padding.iter().any(|byte| usize::from(*byte) != pad) {
            return Err(CryptoError::Padding);
        }
        let rest = plain.get(RANDOM_LEN..).ok_or(CryptoError::Length)?;
        let (length, rest) = rest.split_at_checked(4).ok_or(CryptoError::Length)?;
        let length = length.try_into().map(u32::from_be_bytes).map_err(|_| CryptoError::Length)?;
        let length = usize::try_from(length).map_err(|_| CryptoError::Length)?;
        let (msg, app_id) = rest.split_at_checked(length).ok_or(CryptoError::Length)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| CryptoError::Text);
        Ok((text(msg)?, text(app_id)?))
    }
}

/// SHA-1 (hex) of the parts, sorted bytewise and joined: three for `signature`, four for `msg_signature`.
#[must_use]
pub fn signature(parts: &[&str]) -> String {
    let mut parts = parts.to_vec();
    parts.sort_unstable();
    let mut hash = Sha1::new();
    for part in parts {
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
