//! `FanV1`: fetches the details of somebody who just followed, those of one account in one call. The push's
//! status wins over WeChat's current answer: details are stored with the push's time, and a status of that
//! time or later is kept.

use std::collections::BTreeMap;

use shared::{
    deadline::Deadline, error::Error, ids, model::account::AccountStatus, queue::jobs::ImportJob,
    services::Services, store::fans::FanDetails,
};

use crate::{
    details,
    dispatch::{ImportIds, ImportJobOutcome, JobDelivery, Outbox},
    failure_policy::{self, FailureDecision},
};

/// A follow older than this is left to the next import.
const MAX_AGE_SECONDS: i64 = 3 * 24 * 3600;
/// Jobs that wait for the same time are spread over this.
const SPREAD_SECONDS: u32 = 600;

/// Who followed, and when, unix seconds.
type NewFan<'a> = (&'a str, i64);

/// Runs the jobs of one account together. Returns each job's result, in their order.
pub async fn run_batch(
    app: &Services,
    jobs: &[(ImportJob, JobDelivery<'_>)],
    outbox: &dyn Outbox,
) -> Vec<ImportJobOutcome> {
    let new_fans: Vec<_> = jobs.iter().filter_map(|(job, _)| new_fan_of_job(job)).collect();
    let Some((first, delivery)) = jobs.first() else { return Vec::new() };
    let ids = crate::dispatch::ids_of_job(first);
    let Err(error) = run(app, ids, &new_fans, delivery.until).await else {
        return jobs.iter().map(|_| ImportJobOutcome::Done).collect();
    };
    tracing::warn!(app_id = ids.app_id, jobs = jobs.len(), "details of new followers failed: {error}");
    let mut outcomes = Vec::with_capacity(jobs.len());
    for (job, delivery) in jobs {
        outcomes.push(apply_failure(app, job, &error, *delivery, outbox).await);
    }
    outcomes
}

fn new_fan_of_job(job: &ImportJob) -> Option<NewFan<'_>> {
    match job {
        ImportJob::FanV1 { open_id, at, .. } => Some((open_id, *at)),
        _ => None,
    }
}

async fn run(
    app: &Services,
    ids: ImportIds<'_>,
    new_fans: &[NewFan<'_>],
    until: Deadline,
) -> Result<(), Error> {
    let account = app.store.account(ids.tenant_id, ids.app_id).await?;
    if account.is_none_or(|account| account.status != AccountStatus::Bound) {
        return Ok(());
    }
    let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
    for (open_id, at) in new_fans {
        let known = newest.entry(open_id).or_insert(*at);
        *known = (*known).max(*at);
    }
    let open_ids: Vec<_> = newest.keys().map(|id| (*id).to_owned()).collect();
    let fetched = details::fetch(app, ids, &open_ids, i64::MIN, until).await?;
    let details = fetched.infos.iter().filter_map(|info| {
        newest.get(info.openid.as_str()).map(|at| FanDetails { info, as_of: *at, import_id: None })
    });
    details::store(app, ids, &details.collect::<Vec<_>>()).await?;
    fetched.failure.map_or(Ok(()), Err)
}

/// The push is stored already, so a permanent failure just ends the job. Waiting is limited by the job's age.
async fn apply_failure(
    app: &Services,
    job: &ImportJob,
    error: &Error,
    delivery: JobDelivery<'_>,
    outbox: &dyn Outbox,
) -> ImportJobOutcome {
    let now = app.clock.unix();
    let (until, spread) = match failure_policy::decide(error, delivery.receive_count, app.clock.now()) {
        FailureDecision::Fail(_) => return ImportJobOutcome::Done,
        FailureDecision::Retry(after) => return ImportJobOutcome::Retry(after, error.to_string()),
        FailureDecision::Requeue(after) => (now + i64::try_from(after.as_secs()).unwrap_or(0), 1),
        FailureDecision::Pause { cause_ends_at: back, .. } => (back, SPREAD_SECONDS),
    };
    let Some((open_id, at)) = new_fan_of_job(job) else { return ImportJobOutcome::Done };
    let app_id = crate::dispatch::ids_of_job(job).app_id;
    if until.saturating_sub(at) > MAX_AGE_SECONDS {
        tracing::info!(app_id, "a new follower of {app_id} gets details with the next import");
        return ImportJobOutcome::Done;
    }
    let due = until + i64::from(ids::shard(open_id, spread));
    match outbox.schedule(app, &format!("fan:{app_id}:{open_id}:{at}"), due, job).await {
        Ok(()) => ImportJobOutcome::Done,
        Err(error) => {
            tracing::warn!(app_id, %error, "a job comes again: {error}");
            ImportJobOutcome::Retry(failure_policy::MIN_RETRY_WAIT, error.to_string())
        }
    }
}
