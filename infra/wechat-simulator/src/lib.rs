//! A simulated WeChat, the counterpart of the hub: for people (a page with a phone) and for tests.
//!
//! | module | what it is |
//! |---|---|
//! | [`Simulator`] | the handle: everything is done through it |
//! | [`state`] | accounts, followers, chats and windows, quotas, tokens: plain data, serialized as it is |
//! | [`api`] | the server API, callable over HTTP and in-process |
//! | [`push`], `run` | encrypted pushes to the hub: tickets, events, messages, and the passive reply |
//! | [`owner_actions`], [`follower_actions`], [`test_controls`] | what owners, followers and tests do |
//! | [`faults`] | injected faults |
//! | `pages`, `control_api`, `server` | the authorization page, the simulator's page, `/_sim/…`, the router |
//!
//! It shares only the clock, the randomness and the settings with the hub: the protocol is implemented twice
//! so that each implementation checks the other.

pub mod acts;
pub mod api;
pub mod authorize;
mod control;
pub mod crypto;
pub mod error;
pub mod faults;
pub mod hosts;
pub mod levers;
pub mod log;
mod pages;
mod persist;
pub mod push;
mod run;
mod server;
mod simulator;
pub mod state;
pub mod xml;

pub use acts::{Act, Stamp};
pub use api::{Answer, NoAnswer};
pub use authorize::{Grant, Granted};
pub use error::ApiError;
pub use faults::{Fault, FaultKind};
pub use log::{Attempt, Call, Counter, Delivery, Outcome};
pub use push::{HttpHub, HubAnswer, HubFuture, HubTransport, NoHub, Target};
pub use server::{router, serve};
pub use simulator::{Parts, Simulator};
pub use state::Settings;
pub use state::account::{Account, Kind, NewAccount};
pub use state::chat::{ChatItem, Side};
pub use state::follower::Follower;
