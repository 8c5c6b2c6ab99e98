//! The nouns as they are stored, other values, and the decisions that the hub takes on them. Pure: no clock, no
//! table, no `async`.

pub mod account;
pub mod api_key;
pub mod audit;
pub mod authorization;
pub mod binding;
pub mod binding_refusal;
pub mod capability;
pub mod component_event;
pub mod consent;
pub mod content;
pub mod credentials;
pub mod customer;
pub mod detail;
pub mod event;
pub mod event_type;
pub mod failure_code;
pub mod fan;
pub mod import;
pub mod job_failure;
pub mod listed_page;
pub mod message;
pub mod passive_reply;
pub mod permission;
pub mod platform_status;
pub mod push;
pub mod push_decision;
pub mod push_kind;
pub mod quota;
pub mod release_check;
pub mod reply_rules;
pub mod scope;
pub mod tenant;
#[cfg(test)]
mod test_push;
pub mod timer;
pub mod token;
pub mod waiting_line;
pub mod window;
