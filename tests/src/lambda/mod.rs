//! What Lambda does around a function's binary: sets the environment, serves the Runtime API one call at a
//! time; starts an instance per concurrent call; kills one that timed out; replaces one that died.
//!
//! | room | what it is |
//! |---|---|
//! | [`runtime_api`] | Lambda's Runtime API over HTTP |
//! | [`instance`] | one process of a function, with a Runtime API of its own |
//! | [`pool`] | all instances of a function, called as one function |
//! | [`cpu_share`] | the share of a processor that comes with a function's memory |
//! | [`events`] | events as AWS's services write them |

pub mod cpu_share;
pub mod events;
pub mod instance;
pub mod pool;
pub mod runtime_api;
