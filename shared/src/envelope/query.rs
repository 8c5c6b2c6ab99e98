//! The query string of a callback.

use serde::{Deserialize, Serialize};

/// How far a timestamp may be from now if `OAHUB_REJECT_STALE_CALLBACKS` is
/// set: 10 minutes. WeChat itself documents no limit.
pub const STALE_AFTER_SECONDS: u64 = 600;

/// The parameters that WeChat sends. All are optional here: a missing one fails as a wrong signature does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallbackQuery {
    /// Over token, timestamp and nonce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Random digits or letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// `aes`; a component is never called in clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypt_type: Option<String>,
    /// Over token, timestamp, nonce and ciphertext.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg_signature: Option<String>,
    /// The sender. Not signed: the plaintext's `FromUserName` is the truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openid: Option<String>,
    /// The text of a URL verification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echostr: Option<String>,
}

impl CallbackQuery {
    /// Its members as pairs, for a client that escapes them into a URL.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, &str)> {
        [
            ("signature", &self.signature),
            ("timestamp", &self.timestamp),
            ("nonce", &self.nonce),
            ("openid", &self.openid),
            ("encrypt_type", &self.encrypt_type),
            ("msg_signature", &self.msg_signature),
            ("echostr", &self.echostr),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
        .collect()
    }
}

/// Whether a callback's timestamp is more than 10 minutes from now, or not a number.
#[must_use]
pub fn is_stale(timestamp: &str, now_unix: i64) -> bool {
    timestamp.parse::<i64>().map_or(true, |at| at.abs_diff(now_unix) > STALE_AFTER_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_stale_beyond_ten_minutes() {
        for (what, timestamp, stale) in [
            ("now", "1735689600", false),
            ("ten minutes ago", "1735689000", false),
            ("a second more", "1735688999", true),
            ("ten minutes ahead", "1735690200", false),
            ("a second more ahead", "1735690201", true),
            ("the least number", "-9223372036854775808", true),
            ("no number", "soon", true),
            ("nothing", "", true),
        ] {
            assert_eq!(is_stale(timestamp, 1_735_689_600), stale, "{what}");
        }
    }
}
