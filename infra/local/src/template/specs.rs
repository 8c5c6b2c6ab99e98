//! What the template says of each thing that runs here.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Deserialize;

use crate::iam::permission::Permissions;

/// A route's limits, beyond which it returns 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Throttle {
    /// Requests a second.
    #[serde(rename = "ThrottlingRateLimit")]
    pub rate: u32,
    /// Requests at once.
    #[serde(rename = "ThrottlingBurstLimit")]
    pub burst: u32,
}

/// A function.
#[derive(Debug)]
pub struct FunctionSpec {
    /// Logical id.
    pub name: String,
    /// Folder of its package.
    pub code_uri: String,
    /// The timeout of an invocation.
    pub timeout: Duration,
    /// Memory, MB; the share of a processor is proportional to it.
    pub memory: u32,
    /// `RecursiveLoop: Allow`: chains of invocations through queues are intended and never stopped.
    pub recursive: bool,
    /// `ReservedConcurrentExecutions`: concurrency that no other function can use.
    pub reserved: Option<usize>,
    /// The names of its environment variables.
    pub variables: BTreeSet<String>,
    /// What calls it.
    pub events: Vec<EventSpec>,
    /// Its permissions on tables and queues.
    pub permissions: Permissions,
}

/// What calls a function.
#[derive(Debug, Clone)]
pub enum EventSpec {
    /// A route of the HTTP API.
    Http {
        /// `GET`, …, `ANY`.
        method: String,
        /// With `{parameters}` and `{proxy+}`.
        path: String,
    },
    /// A queue.
    Sqs {
        /// Logical id.
        queue: String,
        /// Messages in one invocation, at most.
        batch_size: i32,
        /// Invocations at once, at most.
        concurrency: usize,
        /// `ReportBatchItemFailures`: only the messages that the function names are delivered again.
        item_failures: bool,
    },
    /// A schedule.
    Schedule {
        /// How often.
        every: Duration,
    },
}

/// A table.
#[derive(Debug)]
pub struct TableSpec {
    /// Logical id, and its name here.
    pub name: String,
    /// Attribute → `S`, `N` or `B`.
    pub attributes: BTreeMap<String, String>,
    /// Attribute and `HASH` or `RANGE`.
    pub key: Vec<(String, String)>,
    /// Indexes.
    pub indexes: Vec<IndexSpec>,
    /// The attribute with the time at which an item expires.
    pub ttl: Option<String>,
}

/// An index.
#[derive(Debug)]
pub struct IndexSpec {
    /// Its name.
    pub name: String,
    /// Whether it is a global one.
    pub global: bool,
    /// Attribute and `HASH` or `RANGE`.
    pub key: Vec<(String, String)>,
    /// `ALL` or `KEYS_ONLY`.
    pub projection: String,
}

/// A queue.
#[derive(Debug)]
pub struct QueueSpec {
    /// Logical id.
    pub logical_id: String,
    /// Its name here: a FIFO queue's ends in `.fifo`.
    pub name: String,
    /// The attributes, as `SetQueueAttributes` expects them.
    pub attributes: BTreeMap<String, String>,
}

impl QueueSpec {
    /// Its visibility timeout.
    #[must_use]
    pub fn visibility_timeout(&self) -> Duration {
        let seconds = self.attributes.get("VisibilityTimeout").and_then(|text| text.parse().ok());
        Duration::from_secs(seconds.unwrap_or(30))
    }
}
