//! The whole of oahub on one machine. Each room stands for one thing that AWS does around the functions.
//!
//! | room | stands for |
//! |---|---|
//! | [`template`] | CloudFormation: reads template.yaml |
//! | [`database`] | DynamoDB |
//! | [`sqs`] | SQS |
//! | [`wire`] | the network between functions and these two |
//! | [`routes`], [`gateway`] | API Gateway |
//! | [`bucket`] | rates, as AWS limits them |
//! | [`lambda`] | Lambda around a function's code: concurrency, time, chains of invocations |
//! | [`mapping`] | Lambda's event source mappings |
//! | [`schedule`] | EventBridge Scheduler |
//! | [`functions`] | which package is behind which function |
//! | [`rights`] | IAM |
//! | [`folder`] | whose the folder of `--data` is |
//! | [`options`], [`settings`] | the command line, and the environment that functions see |
//! | [`system`] | all of it, started and stopped |
//! | [`listen`] | where it listens |

pub mod bucket;
pub mod database;
pub mod folder;
pub mod functions;
pub mod gateway;
pub mod lambda;
pub mod listen;
pub mod mapping;
pub mod options;
pub mod rights;
pub mod routes;
pub mod schedule;
pub mod settings;
pub mod sqs;
pub mod system;
pub mod template;
pub mod wire;
