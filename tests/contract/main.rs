//! Contract tests: the real program, over HTTP, beside a simulated WeChat.

mod api;
mod bind;
mod consent;
mod docs;
mod fair;
mod hostile;
mod import;
mod local;
mod push;
mod refresh;
mod release;
mod reply;
mod send;
mod start;
mod suspended;
mod weather;
