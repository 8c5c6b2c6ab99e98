//! The tables, and what every request to them needs. Waits before a retry of what DynamoDB refused for a moment:
//! members that a batch left unprocessed, requests that were throttled as a whole, and writes that conflicted with a
//! transaction. The SDK itself retries throttled requests and those without an answer, within 150 ms (`crate::aws`).

use std::{sync::Arc, time::Duration};

use super::writer_id::WriterId;
use crate::{clock::Clock, config::Resources, random::Random};

/// Attempts in all. The waits add up to at most 1.55 s, which leaves every function time to finish.
const MAX_ATTEMPTS: u32 = 6;
/// Upper bound of the first wait; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The five tables and their client, with time and randomness.
pub struct Database {
    pub(super) client: aws_sdk_dynamodb::Client,
    pub(crate) platform: String,
    pub(crate) credentials: String,
    pub(crate) customers: String,
    pub(crate) timeline: String,
    pub(crate) work: String,
    pub(crate) clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Database {
    /// Uses `client`, with the table names of `resources`.
    pub(crate) fn new(
        client: aws_sdk_dynamodb::Client,
        resources: &Resources,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            client,
            platform: resources.platform_table.clone(),
            credentials: resources.credentials_table.clone(),
            customers: resources.customers_table.clone(),
            timeline: resources.timeline_table.clone(),
            work: resources.work_table.clone(),
            clock,
            random,
        }
    }

    /// A new random id, for one write or for all writes of one request.
    pub(crate) fn new_writer_id(&self) -> WriterId {
        WriterId::random(&*self.random)
    }

    /// Waits after `failures` failures; returns `false` at once after the last attempt. Half of each wait is
    /// random, so that writers which collided once do not collide again.
    pub(super) async fn back_off(&self, failures: u32) -> bool {
        if failures >= MAX_ATTEMPTS {
            return false;
        }
        let most = FIRST_WAIT * (1 << failures.saturating_sub(1).min(MAX_ATTEMPTS));
        let half = most / 2;
        let drawn = self.random.below(u64::try_from(half.as_micros()).unwrap_or(u64::MAX));
        tokio::time::sleep(half + Duration::from_micros(drawn)).await;
        true
    }
}
