//! Why a callback is rejected.

use thiserror::Error;

/// All that a sender learns: no reason reveals anything about a key or a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CallbackError {
    /// `signature` or `msg_signature` is missing or wrong.
    #[error("the signature does not match")]
    Signature,
    /// No key decrypts it: wrong base64, key, padding, length or app id, not told apart.
    #[error("the body cannot be decrypted")]
    Undecryptable,
    /// Not the XML or JSON that it should be.
    #[error("the body is malformed")]
    Malformed,
    /// More bytes, levels or elements than any push has.
    #[error("the body is too large")]
    TooLarge,
    /// The timestamp is too far from now; only with `OAHUB_REJECT_STALE_CALLBACKS`.
    #[error("the timestamp is too far from now")]
    Stale,
}

impl CallbackError {
    /// The HTTP status, always 4xx.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Signature => 403,
            Self::Undecryptable | Self::Malformed | Self::Stale => 400,
            Self::TooLarge => 413,
        }
    }
}
