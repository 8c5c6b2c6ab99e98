//! The whole of oahub on one machine. Each module stands for one thing that AWS does around the functions.
//!
//! | module | stands for |
//! |---|---|
//! | [`template`] | CloudFormation: reads template.yaml |
//! | [`database`] | DynamoDB; SQS is a crate of its own, `oahub-local-sqs` |
//! | [`in_process_http`] | the network between functions and these two |
//! | [`routes`], [`gateway`] | API Gateway |
//! | [`token_bucket`] | rates, as AWS limits them |
//! | [`lambda`] | Lambda around a function's code: concurrency, time, chains of invocations |
//! | [`event_source_mapping`] | Lambda's event source mappings |
//! | [`schedule`] | EventBridge Scheduler |
//! | [`functions`] | the code of each function |
//! | [`iam`] | IAM |
//! | [`data_folder`] | which WeChat and which platform the folder of `--data` belongs to |
//! | [`options`], [`environment`] | the command line, and the environment that functions see |
//! | [`system`] | all of it, started and stopped |
//! | [`listen`] | where it listens |

pub mod data_folder;
pub mod database;
pub mod environment;
pub mod event_source_mapping;
pub mod functions;
pub mod gateway;
pub mod iam;
pub mod in_process_http;
pub mod lambda;
pub mod listen;
pub mod options;
pub mod routes;
pub mod schedule;
pub mod system;
pub mod template;
pub mod token_bucket;
