//! A whole deployment in one process: the hub's functions, DynamoDB, SQS and WeChat, on one thread and one
//! clock, without sockets. Everything that happens in it follows from a seed.
//!
//! | module | what it is |
//! |---|---|
//! | [`deployment`] | the functions, in instances that live and die |
//! | [`backends`] | what all instances share |
//! | [`settings`] | what an operator and CloudFormation would give them |
//! | [`faults`] | draws what goes wrong |
//! | [`faulty_transport`] | how a function reaches DynamoDB, SQS and WeChat, with faults, counted |
//! | [`dynamo`] | DynamoDB without a server |
//! | [`transient_errors`] | transient errors of DynamoDB |
//! | [`hub`] | pushes on their way from WeChat to the hub |
//! | [`queues`] | event source mappings: between a queue and a function |
//! | [`time`] | time that passes, with the schedule |
//! | [`api`] | what a tenant's program and a browser do |
//! | [`http_event`] | what API Gateway makes of a request |
//! | [`records`] | what happened, for the checks |
//! | [`rare_states`] | which rare states were reached |
//! | [`refresh_monitor`] | token refreshes, which must never overlap |
//! | [`iam_monitor`] | IAM: refuses what the template does not allow, and records what is used |

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's tools: what does not hold ends the test"
)]

pub mod api;
pub mod backends;
pub mod deployment;
pub mod dynamo;
pub mod faults;
pub mod faulty_transport;
pub mod http_event;
pub mod hub;
pub mod iam_monitor;
pub mod queues;
pub mod rare_states;
pub mod records;
pub mod refresh_monitor;
pub mod settings;
pub mod time;
pub mod transient_errors;
