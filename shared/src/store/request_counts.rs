//! How many requests a tenant made, counted over all instances.

use serde::Deserialize;

use super::{
    dynamo::{
        conditional_write::ConditionalWrite, database::Database, from_item, n, update::Update,
        writer_id::WRITTEN_BY,
    },
    keys,
};
use crate::error::{Error, StoreError};

/// How long a count is kept after its window, seconds: DynamoDB deletes late.
const COUNT_RETENTION_SECONDS: i64 = 3_600;

#[derive(Deserialize)]
struct RequestCount {
    requests: u64,
}

/// How many requests tenants made.
#[derive(Clone, Copy)]
pub struct RequestCounts<'a> {
    pub(super) db: &'a Database,
}

impl RequestCounts<'_> {
    /// Adds a tenant's requests to the `window`th window of `seconds` since 1970, and returns how many all
    /// instances have added by now. Where an answer is lost and another instance adds meanwhile, some count
    /// twice, at the cost of the tenant's rate in that one window.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn add(
        self,
        tenant: &str,
        class: &str,
        (window, seconds): (i64, i64),
        requests: u64,
    ) -> Result<u64, Error> {
        let forgotten = (window + 1).saturating_mul(seconds).saturating_add(COUNT_RETENTION_SECONDS);
        let owner = self.db.new_writer_id();
        let update = Update::new()
            .add("requests", n(requests))
            .set("ttl", n(forgotten))
            .set(WRITTEN_BY, owner.to_attr())
            .when("attribute_not_exists(written_by) OR written_by <> :me", &[(":me", owner.to_attr())]);
        let key = keys::request_count(tenant, class, window);
        match self.db.update(&self.db.work, &key, update).await?.or_written_by(WRITTEN_BY, owner) {
            ConditionalWrite::Done(now) => Ok(from_item::<RequestCount>(now)?.requests),
            ConditionalWrite::ConditionFailed(_) => {
                Err(StoreError::Unavailable("the count was not answered".into()).into())
            }
        }
    }
}
