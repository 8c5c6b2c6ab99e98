//! Receipt handles: opaque to receivers, and valid for one queue only.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::fault::{Code, Fault};

/// The content of a receipt handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub queue: String,
    pub seq: u64,
    /// Random, new with each receive.
    pub stamp: u64,
}

impl Receipt {
    /// Decodes a handle of a request for `queue`.
    pub fn parse(handle: &str, queue: &str) -> Result<Self, Fault> {
        read(handle).filter(|receipt| receipt.queue == queue).ok_or_else(|| {
            let message = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
            Fault::new(Code::ReceiptHandleIsInvalid, message)
        })
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{} {} {}", self.queue, self.seq, self.stamp);
        f.write_str(&URL_SAFE_NO_PAD.encode(text))
    }
}

fn read(handle: &str) -> Option<Receipt> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(handle).ok()?).ok()?;
    let mut parts = text.split(' ');
    let receipt = Receipt {
        queue: parts.next()?.to_owned(),
        seq: parts.next()?.parse().ok()?,
        stamp: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(receipt)
}
