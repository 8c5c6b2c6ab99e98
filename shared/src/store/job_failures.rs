//! Why a job failed when it was last received: for the operator, who finds it among the dead letters. A job
//! is identified by the fingerprint of its queue and body, since its message id may change there.

use std::collections::HashMap;

use super::{
    dynamo::{database::Database, from_item, n, s, update::Update},
    keys,
};
use crate::{error::Error, model::job_failure::JobFailure};

/// How long a failure is remembered, seconds: a day longer than a queue keeps a dead letter.
const JOB_FAILURE_RETENTION_SECONDS: i64 = 15 * 24 * 3600;

/// Why jobs failed.
#[derive(Clone, Copy)]
pub struct JobFailures<'a> {
    pub(super) db: &'a Database,
}

impl JobFailures<'_> {
    /// Stores a job's last failure. It replaces an earlier one of a job with the same body.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn record(self, failure: &JobFailure) -> Result<(), Error> {
        let update = Update::new()
            .set("job", s(&failure.job))
            .set("why", s(&failure.why))
            .set("at", n(failure.at))
            .set("receives", n(failure.receives))
            .set("ttl", n(failure.at + JOB_FAILURE_RETENTION_SECONDS));
        self.db.update(&self.db.work, &keys::job_failure(&failure.job), update).await.map(drop)
    }

    /// The last failures of jobs, by their fingerprints; jobs without a stored failure are left out.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get_many(self, jobs: &[&str]) -> Result<HashMap<String, JobFailure>, Error> {
        let mut keys: Vec<_> = jobs.iter().map(|job| keys::job_failure(job)).collect();
        keys.sort_by(|a, b| a.pk.cmp(&b.pk));
        keys.dedup();
        let found = self.db.get_many(&self.db.work, &keys).await?.into_iter().map(from_item::<JobFailure>);
        found.map(|failure| failure.map(|failure| (failure.job.clone(), failure))).collect()
    }
}
