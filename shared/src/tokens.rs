//! Tokens in use: read, refreshed when they have expired, replaced when WeChat
//! refuses them. The schedule and all callers of WeChat use this module.
//!
//! A lease allows one refresher at a time; the others wait and read what the winner stored. A caller whose
//! token WeChat refused names it, and it is refreshed only if it is still the current one. What WeChat
//! returns is stored before it is used. No call begins that could outlive the lease or the caller's deadline.

mod authorizer;
mod calls;
mod component;
mod refresh_backoff;
mod refresh_reason;

pub use authorizer::{
    OnBehalfOf, authorizer_token, authorizer_token_if_valid, next_refresh, recover_refresh_token,
    with_authorizer,
};
pub use calls::MAX_TOKEN_WAIT;
pub use component::{component_token, request_ticket_push, with_component, with_component_until};
pub use refresh_reason::RefreshReason;
