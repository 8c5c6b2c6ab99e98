//! Contract tests: the real program, over HTTP, beside a simulated WeChat.

mod api;
mod aws_faults;
mod bind;
mod consent;
mod docs;
mod fairness;
mod hostile_input;
mod import;
mod local;
mod logs;
mod push;
mod refresh;
mod release;
mod reply;
mod send;
mod start;
mod suspended;
