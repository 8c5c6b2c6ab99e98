//! Waiting lines: messages to one fan are sent in the order in which they were accepted, by each channel.

use serde::Deserialize;

use super::{fan::FanId, message::Channel};

/// Messages that wait to reach one fan by one channel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WaitingLine {
    /// Messages behind the first one are not sent before this unix millisecond.
    pub until: i64,
    /// The first message, which set `until`.
    pub first: String,
    /// The position of the newest message in the line. When that message ends, the line ends.
    pub newest: String,
}

/// A message's position among those to one fan: positions sort by `created_at`, in unix milliseconds.
#[must_use]
pub fn position(created_at: i64, message: &str) -> String {
    format!("{:013}#{message}", created_at.max(0))
}

/// A message that is to wait.
#[derive(Debug, Clone, Copy)]
pub struct WaitingMessage<'a> {
    /// The fan it goes to.
    pub fan: FanId<'a>,
    /// The channel.
    pub channel: Channel,
    /// Its id.
    pub message: &'a str,
    /// When it was accepted, unix milliseconds.
    pub created_at: i64,
}
