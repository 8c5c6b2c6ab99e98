//! The contract, from outside: the real program, over HTTP, beside a simulated WeChat.

mod start;
