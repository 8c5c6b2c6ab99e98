//! Logs of API calls and pushes, for tests and for the simulator's page.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize, Serializer};

/// Older entries are dropped; the counters keep counting.
const MAX_ENTRIES: usize = 2000;
/// Entries that a snapshot keeps: as many as the page shows.
const SNAPSHOT_ENTRIES: usize = 100;

fn serialize_last<S: Serializer, T: Serialize>(entries: &VecDeque<T>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(entries.iter().skip(entries.len().saturating_sub(SNAPSHOT_ENTRIES)))
}

/// One API call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoggedCall {
    /// Unix seconds.
    pub at: i64,
    /// `GET` or `POST`.
    pub method: String,
    /// Without the query, which contains the token.
    pub path: String,
    /// The account whose token was used, if any.
    pub app_id: Option<String>,
    /// 0 for success.
    pub errcode: i64,
    /// The fault that applied.
    pub fault: Option<String>,
}

/// Call counts of one path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CallCounter {
    /// All calls.
    pub calls: u64,
    /// Those without an error code and without a fault.
    pub ok: u64,
    /// The others, by error code.
    pub errors: BTreeMap<i64, u64>,
}

/// Calls and counters since the start or the last reset.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CallLog {
    #[serde(serialize_with = "serialize_last")]
    pub(crate) entries: VecDeque<LoggedCall>,
    #[serde(skip)]
    pub(crate) counters: BTreeMap<String, CallCounter>,
}

impl CallLog {
    pub(crate) fn add(&mut self, call: LoggedCall) {
        let counter = self.counters.entry(call.path.clone()).or_default();
        counter.calls += 1;
        if call.errcode == 0 && call.fault.is_none() {
            counter.ok += 1;
        } else {
            *counter.errors.entry(call.errcode).or_default() += 1;
        }
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(call);
    }
}

/// How one push ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushOutcome {
    /// The hub returned `success` or an empty body.
    Accepted,
    /// The hub returned a passive reply for the follower.
    Replied,
    /// The hub returned something that WeChat cannot use: the follower sees an error notice.
    Malformed,
    /// No attempt got a 2xx response in time.
    Failed,
    /// Not sent: the account is not bound, message management was not granted, or a fault dropped it.
    NotSent,
}

/// One attempt of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushAttempt {
    /// Unix seconds.
    pub at: i64,
    /// The HTTP status, if there was a response.
    pub status: Option<u16>,
    /// Why there was no response, or what was wrong with it.
    pub error: Option<String>,
}

/// One push and its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushDelivery {
    /// Increases with every push.
    pub id: u64,
    /// Unix seconds.
    pub at: i64,
    /// `component` or `message`.
    pub target: String,
    /// The `InfoType`, `MsgType` or `Event`.
    pub kind: String,
    /// The account, for messages.
    pub app_id: Option<String>,
    /// The follower, for messages.
    pub openid: Option<String>,
    /// What was pushed, before encryption.
    pub plaintext: String,
    /// One to three attempts.
    pub attempts: Vec<PushAttempt>,
    /// How it ended.
    pub outcome: PushOutcome,
    /// The passive reply, decrypted.
    pub reply: Option<String>,
    /// The reason, for `malformed` and `not_sent`.
    pub note: Option<String>,
}

/// The last pushes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PushLog(#[serde(serialize_with = "serialize_last")] pub(crate) VecDeque<PushDelivery>);

impl PushLog {
    pub(crate) fn add(&mut self, delivery: PushDelivery) {
        if self.0.len() >= MAX_ENTRIES {
            self.0.pop_front();
        }
        self.0.push_back(delivery);
    }
}
