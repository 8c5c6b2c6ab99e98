//! What Lambda runs, run: each function's `bootstrap` as a process of its own, with Lambda's Runtime API, API
//! Gateway's, SQS's and Scheduler's events, the embedded DynamoDB and SQS, and a simulated WeChat.
//!
//! `OAHUB_TEST_PROFILE=release` runs binaries built as those that are deployed; without it those of the tests' profile.

mod end_to_end;
mod functions;
mod limits;
mod metrics;
mod processes;
mod start;
mod strange;
