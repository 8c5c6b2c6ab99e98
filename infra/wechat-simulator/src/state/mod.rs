//! The simulator's state. Plain data, serialized as it is.

pub mod account;
pub mod chat;
pub mod follower;
pub mod outgoing_push;
pub mod quota;
pub mod tokens;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::faults::InjectedFault;
use crate::log::{CallLog, PushLog};
use account::SimulatedAccount;
use outgoing_push::OutgoingPush;
use quota::Quotas;
use tokens::Tokens;

/// Lifetimes and habits that tests change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `expires_in` of `component_access_token`, seconds.
    pub component_token_lifetime: i64,
    /// `expires_in` of `authorizer_access_token`, seconds.
    pub authorizer_token_lifetime: i64,
    /// How long a replaced token is still taken, seconds.
    pub token_grace: i64,
    /// Whether each refresh gives a new refresh token (the old one is taken for `token_grace` more).
    pub rotate_refresh_tokens: bool,
    /// Whether `api_get_authorizer_info` leaves out the refresh token. WeChat documents it as present only for an
    /// account with API permission, of whom `api_get_authorizer_list` has it all the same.
    pub details_without_refresh_token: bool,
    /// `expires_in` of a `pre_auth_code`, seconds.
    pub pre_auth_code_lifetime: i64,
    /// `expires_in` of an authorization code, seconds.
    pub auth_code_lifetime: i64,
    /// Between two ticket pushes, seconds.
    pub ticket_interval: u64,
    /// How long a ticket is taken, seconds.
    pub ticket_lifetime: i64,
    /// Latency of every API response, milliseconds.
    pub latency_ms: u64,
    /// The same for single APIs, by their paths.
    pub latencies_ms: BTreeMap<String, u64>,
    /// How long the hub has to respond to a push, milliseconds.
    pub push_timeout_ms: u64,
    /// Between two attempts of one push, milliseconds.
    pub push_pause_ms: u64,
    /// Attempts of one push.
    pub push_attempts: u32,
    /// Before the result of a template message is pushed, milliseconds.
    pub result_delay_ms: u64,
    /// `openid`s in a page of `user/get`.
    pub followers_page: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            component_token_lifetime: 7200,
            authorizer_token_lifetime: 7200,
            token_grace: 300,
            rotate_refresh_tokens: false,
            details_without_refresh_token: false,
            pre_auth_code_lifetime: 600,
            auth_code_lifetime: 600,
            ticket_interval: 600,
            ticket_lifetime: 12 * 3600,
            latency_ms: 0,
            latencies_ms: BTreeMap::new(),
            push_timeout_ms: 5000,
            push_pause_ms: 200,
            push_attempts: 3,
            result_delay_ms: 1000,
            followers_page: 10_000,
        }
    }
}

/// Whether a map of so many entries is due for throwing old ones out: now and then, so that adding many costs
/// linear time.
pub(crate) fn is_cleanup_due(entries: usize) -> bool {
    entries.is_multiple_of(512)
}

/// A code that leads a browser to the authorization page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PreAuthCode {
    pub expires_at: i64,
    pub used: bool,
}

/// An authorization code, exchangeable once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AuthCode {
    pub app_id: String,
    pub expires_at: i64,
    pub used: bool,
    #[serde(default)]
    pub without_refresh_token: bool,
}

/// The platform.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WeChatState {
    pub settings: Settings,
    /// Tickets and when they were made, newest last.
    pub tickets: VecDeque<(String, i64)>,
    /// Whether `api_start_push_ticket` was called, or the first ticket sent.
    pub pushing: bool,
    pub tokens: Tokens,
    pub pre_auth_codes: BTreeMap<String, PreAuthCode>,
    pub auth_codes: BTreeMap<String, AuthCode>,
    pub accounts: BTreeMap<String, SimulatedAccount>,
    pub quotas: Quotas,
    pub outbox: VecDeque<OutgoingPush>,
    /// Rises: message ids, chat lines, accounts.
    pub counter: u64,
    #[serde(skip)]
    pub faults: Vec<InjectedFault>,
    pub calls: CallLog,
    pub deliveries: PushLog,
    /// Set by every change that a restart must not lose.
    #[serde(skip)]
    pub dirty: bool,
}

impl WeChatState {
    pub fn next_id(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// A 64-bit id as WeChat's `MsgId`. It holds the time: a platform that was restarted without its file must
    /// not repeat ids that the hub remembers.
    pub fn next_msg_id(&mut self, now_ms: u64) -> u64 {
        now_ms.saturating_mul(10_000) + self.next_id() % 10_000
    }

    /// Queues a push.
    pub fn enqueue(&mut self, push: OutgoingPush) {
        self.outbox.push_back(push);
        self.dirty = true;
    }

    pub fn account(&self, app_id: &str) -> Result<&SimulatedAccount, ApiError> {
        self.accounts.get(app_id).ok_or_else(|| ApiError::new(40013))
    }

    pub fn account_mut(&mut self, app_id: &str) -> Result<&mut SimulatedAccount, ApiError> {
        self.accounts.get_mut(app_id).ok_or_else(|| ApiError::new(40013))
    }

    /// Accounts in the order in which they were made.
    pub fn accounts_in_order(&self) -> Vec<&SimulatedAccount> {
        let mut accounts: Vec<_> = self.accounts.values().collect();
        accounts.sort_by_key(|account| account.order);
        accounts
    }
}
