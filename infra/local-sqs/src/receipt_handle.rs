//! Receipt handles: opaque to receivers, and valid for one queue only.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::error::{ErrorCode, SqsError};

/// The content of a receipt handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptHandle {
    pub queue: String,
    pub seq: u64,
    /// Random, new with each receive.
    pub nonce: u64,
}

impl ReceiptHandle {
    /// Decodes a handle of a request for `queue`.
    pub fn parse(handle: &str, queue: &str) -> Result<Self, SqsError> {
        decode(handle).filter(|receipt| receipt.queue == queue).ok_or_else(|| {
            let message = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
            SqsError::new(ErrorCode::ReceiptHandleIsInvalid, message)
        })
    }
}

impl fmt::Display for ReceiptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{} {} {}", self.queue, self.seq, self.nonce);
        f.write_str(&URL_SAFE_NO_PAD.encode(text))
    }
}

fn decode(handle: &str) -> Option<ReceiptHandle> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(handle).ok()?).ok()?;
    let mut parts = text.split(' ');
    let receipt = ReceiptHandle {
        queue: parts.next()?.to_owned(),
        seq: parts.next()?.parse().ok()?,
        nonce: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(receipt)
}
