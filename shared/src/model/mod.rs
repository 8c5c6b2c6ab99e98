//! Values and the decisions that the hub takes on them. Pure: no clock, no table, no `async`.

pub mod account;
pub mod token;
pub mod window;
