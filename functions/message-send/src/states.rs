//! The states of a message, and the types of what leads from one to the next.
//!
//! ```text
//! state    what happens                                       next state               decided in
//! queued   nothing keeps it                                   sending                  admission, lease
//!          another waits before it, its tenant's turn is      waiting, or queued for   admission, park
//!          over, a quota is used up, there is no token        a few seconds
//!          no channel may send it                             sending, then failed     channel_choice
//! waiting  its timer is due                                   queued                   shared::timers
//! sending  WeChat accepts it                                  sent                     send
//!          the window turns out closed, it has a template     sending, as template     retry_policy
//!          WeChat refuses it for good                         failed                   retry_policy
//!          nothing went out: WeChat is busy, a quota,         queued or waiting;       retry_policy, park
//!          no token, no time                                  failed after a day
//!          no answer to a customer-service message            failed: outcome_unknown  retry_policy
//!          no answer to a template message                    queued, to be resent     retry_policy
//!                                                             within nine minutes;
//!                                                             then outcome_unknown
//!          its worker died, no channel was stored             sending, chosen anew     recovery
//!          its worker died, a channel was stored              as without an answer     recovery
//! sent     WeChat reports the delivery of a template message  delivered or failed      template_result
//! ```
//!
//! "Waiting" is stored as `queued`: a timer has the message in place of a job. If a worker cannot store the next
//! state, the message stays `sending` until its lease expires, as if the worker had died.

use std::time::Duration;

use shared::{
    error::Error,
    model::message::{Channel, MessageRecord},
    retry,
    store::{WriterId, messages::EndedMessage},
};

use crate::channel_choice::ChannelChoice;

/// What is to be done with a message next. [`crate::admission`] decides first, [`crate::lease`] replaces what
/// it has done by what follows, [`crate::send`] does the rest.
#[derive(Debug)]
pub enum SendDecision {
    /// Nothing any more.
    Finish(SendResult),
    /// Let it wait in a timer.
    Park(Parked),
    /// Lease it in the round's one request, as it was never leased.
    LeaseFirst(ChannelChoice),
    /// Lease it again, if the rule for crashes allows it.
    Retake {
        /// Its record, if it was read.
        seen: Option<Box<MessageRecord>>,
        /// A send was counted for it just now.
        window_counted: bool,
    },
    /// Release it: whether it is leased is unknown, and nothing was sent.
    Release(WriterId, Error),
    /// Send it, as this worker has leased it.
    Send(MessageLease, ChannelChoice),
}

/// How a message waits.
#[derive(Debug, Clone, Copy)]
pub struct Parked {
    /// The channel that it is to use.
    pub channel: Channel,
    /// Until this unix millisecond.
    pub due: i64,
    /// Whether it leads its waiting line, or waits behind others.
    pub leads: bool,
}

/// A message that this worker has leased.
#[derive(Debug, Clone, Copy)]
pub struct MessageLease {
    /// The id under which it is leased.
    pub owner: WriterId,
    /// An earlier try may have reached the fan.
    pub may_have_happened: bool,
    /// When the first try may have reached them, unix seconds.
    pub first_try_at: i64,
}

/// The result of a message in this round.
#[derive(Debug)]
pub enum SendResult {
    /// It had ended before; its record, if there is one.
    AlreadyEnded(Option<Box<MessageRecord>>),
    /// It ended now: record that.
    Record(Box<EndedMessage>),
    /// It waits in a timer: its job is done.
    Parked,
    /// Not done: deliver its job again after this long, for this reason.
    Retry(Duration, String),
}

impl SendResult {
    /// A try that ended with `error`; its job was received `receive_count` times.
    pub fn retry(error: &Error, receive_count: u32) -> Self {
        Self::Retry(retry::wait(error, receive_count), error.to_string())
    }
}

/// What becomes of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// It is done.
    Done,
    /// It is delivered again after this long, for this reason.
    Again(Duration, String),
    /// No code here handles it: it stays in the queue until it is dead-lettered, where an operator sees it.
    Unknown,
}
