//! Jobs that failed. SQS retries them and finally moves them to the dead letters,
//! but records no reason; so the last failed attempt records one for the operator.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;
use tracing::Instrument;

use crate::{
    model::job_failure::JobFailure,
    queue::{JobQueue, batch::FailedJob, operator::job_fingerprint},
    services::Services,
};

/// Most bytes of a reason: an errcode, and the message of WeChat or AWS.
const MAX_REASON_BYTES: usize = 400;
/// How long recording may take: without a response SQS would retry the whole batch.
const RECORD_TIMEOUT: Duration = Duration::from_millis(500);

/// Records why jobs failed for which this was the last attempt; returns the ids of all,
/// for SQS's response. A job whose function ran out of time or memory leaves no reason.
pub async fn batch_item_failures(app: &Services, target: JobQueue, undone: Vec<FailedJob>) -> Vec<String> {
    let last = undone.iter().filter(|one| one.item.receive_count >= target.max_receive_count());
    join_all(last.map(|one| record_failure(app, target, one).instrument(one.item.span.clone()))).await;
    undone.into_iter().map(|one| one.item.message_id).collect()
}

async fn record_failure(app: &Services, target: JobQueue, undone: &FailedJob) {
    let (item, why) = (&undone.item, undone.why.as_str());
    let failure = JobFailure {
        job: job_fingerprint(target.name(), &item.body),
        why: why.get(..why.floor_char_boundary(MAX_REASON_BYTES)).unwrap_or_default().to_owned(),
        at: app.clock.unix(),
        receives: item.receive_count,
    };
    tracing::error!(id = item.message_id, why, "a job is given up: {why}");
    match timeout(RECORD_TIMEOUT, app.store.job_failures().record(&failure)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the log alone says why: {error}"),
        Err(_) => tracing::warn!("the log alone says why: the database did not answer"),
    }
}
