//! The one library crate of oahub, in the order in which data meets it.
//!
//! | room | what it is | must not know |
//! |---|---|---|
//! | [`config`], [`clock`], [`deadline`], [`random`], [`ids`], [`secret`], [`problem`], [`telemetry`], [`metrics`] | basics, used by all | any other room |
//! | [`envelope`] | bytes from WeChat to values, and back | clock, tables, `async` |
//! | [`model`] | the nouns, other values, and the hub's decisions | clock, tables, `async` |
//! | [`texts`] | what pages say, in Chinese and English side by side | clock, tables, `async` |
//! | [`wechat`] | the only HTTP to WeChat | tables, queues |
//! | [`error`], [`retry`] | what failed, and whether to try again | tables, queues |
//! | [`store`] | the only place that spells a table's key | HTTP |
//! | [`queue`] | job types, SQS | tables |
//! | [`tokens`], [`start_import`], [`timers`], [`quota`], [`job_failures`] | what several functions do: tokens in use, starting an import, "at time T", quotas that WeChat has refused, why a job failed for good | which function asks |
//! | [`aws`], [`services`] | the SDK's clients, and all that a handler may use | what a function does |
//! | [`function`], [`html`] | how a Lambda is wired: one value that takes any event; security headers of its responses | what a function does |

pub mod aws;
pub mod clock;
pub mod config;
pub mod deadline;
pub mod envelope;
pub mod error;
pub mod function;
pub mod html;
pub mod ids;
pub mod job_failures;
pub mod metrics;
pub mod model;
pub mod problem;
pub mod queue;
pub mod quota;
pub mod random;
pub mod retry;
pub mod secret;
pub mod services;
pub mod start_import;
pub mod store;
pub mod telemetry;
pub mod texts;
pub mod timers;
pub mod tokens;
pub mod wechat;
