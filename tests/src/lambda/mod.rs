//! What Lambda does around a function's binary: gives it its environment and the Runtime API, one invocation at a
//! time; starts as many as are called at once; ends one whose time is over; replaces one that died.
//!
//! | room | what it is |
//! |---|---|
//! | [`runtime_api`] | the HTTP that a runtime speaks with Lambda |
//! | [`instance`] | one process of a function, with a Runtime API of its own |
//! | [`pool`] | all instances of a function, called like the function itself |
//! | [`share`] | the part of a processor that goes with a function's memory |
//! | [`events`] | events as AWS's services write them |

pub mod events;
pub mod instance;
pub mod pool;
pub mod runtime_api;
pub mod share;
