//! A simulated WeChat, the counterpart of the hub: for people (a page with a phone) and for tests.
//!
//! | module | what it is |
//! |---|---|
//! | [`Simulator`] | the handle: everything is done through it; it locks, delivers and saves |
//! | `world` | WeChat at one moment: its state, the clock and the randomness; rules are its methods |
//! | [`state`] | accounts, followers, chats and windows, quotas, tokens: plain data, serialized as it is |
//! | [`api`] | the server API, callable over HTTP and in-process |
//! | `push`, `run` | encrypted pushes to the hub: tickets, events, messages |
//! | [`hub_transport`], `passive_reply` | how they reach the hub, and what it replies |
//! | [`owner_actions`], [`follower_actions`], [`test_controls`] | what owners, followers and tests do |
//! | [`faults`] | injected faults |
//! | `pages`, `control_api`, `server` | the authorization page, the simulator's page, `/_sim/…`, the router |
//!
//! It shares only the clock, the randomness and the settings with the hub: the protocol is implemented twice
//! so that each implementation checks the other.

pub mod api;
mod control_api;
pub mod crypto;
pub mod error;
pub mod faults;
pub mod follower_actions;
pub mod hosts;
pub mod hub_transport;
pub mod log;
pub mod owner_actions;
mod pages;
mod passive_reply;
mod persist;
mod push;
mod run;
mod server;
mod simulator;
pub mod state;
pub mod test_controls;
mod world;
pub mod xml;

pub use api::{NoResponse, SimulatedResponse};
pub use error::ApiError;
pub use faults::{FaultKind, InjectedFault};
pub use follower_actions::{FollowerAction, PushOverrides};
pub use hub_transport::{HttpHub, HubFuture, HubResponse, HubTransport, NoHub};
pub use log::{CallCounter, LoggedCall, PushAttempt, PushDelivery, PushOutcome};
pub use owner_actions::{IssuedAuthCode, OwnerConsent};
pub use server::{router, serve};
pub use simulator::{Simulator, SimulatorDependencies};
pub use state::Settings;
pub use state::account::{AccountKind, NewAccount, SimulatedAccount};
pub use state::chat::{ChatItem, Sender};
pub use state::follower::Follower;
pub use state::outgoing_push::CallbackUrl;
