//! The two pages of a binding: before WeChat's authorization page ([`bind`]) and after it ([`callback`]).
//! They are public and share the function's concurrency with WeChat's tickets, so that no page may wait for
//! long: a browser that has to wait reloads ([`waiting`]).

pub(crate) mod bind;
pub(crate) mod callback;
mod cookie;
mod layout;
mod link;
mod result;
mod time_limit;
mod waiting;
