//! Runs what Lambda runs: each function's `bootstrap` as a process, with Lambda's Runtime API, API
//! Gateway's, SQS's and Scheduler's events, the embedded DynamoDB and SQS, and a simulated WeChat.
//!
//! `OAHUB_TEST_PROFILE=release` runs binaries built as for a deployment, instead of the tests' profile.

mod end_to_end;
mod functions;
mod limits;
mod malformed_events;
mod metrics;
mod processes;
mod start;
