//! Values and the decisions that the hub takes on them. Pure: no clock, no table, no `async`.

pub mod account;
pub mod binding_refusal;
pub mod component_event;
pub mod consent;
pub mod content;
pub mod detail;
pub mod event_type;
pub mod failure_code;
pub mod passive_reply;
pub mod push;
pub mod push_decision;
pub mod push_kind;
pub mod release_check;
pub mod reply_rules;
pub mod scope;
#[cfg(test)]
mod test_push;
pub mod token;
pub mod window;
