//! What the hub needs of SQS, called by the real SDK client over TCP.
//!
//! `OAHUB_SQS_ENDPOINT=http://127.0.0.1:4570` tests another endpoint. The waits of a second are real.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as the tests do")]

mod endpoint;
mod long_polls;
mod messages;
mod requests;
