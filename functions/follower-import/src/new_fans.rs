//! `FanV1`: fetches the details of somebody who just followed, those of one account in one call. The push's
//! status wins over WeChat's current answer: details are stored with the push's time, and a status of that
//! time or later is kept.

use std::collections::BTreeMap;

use shared::{
    deadline::Deadline, error::Error, ids, model::account::AccountStatus, queue::jobs::FollowerJob, retry,
    services::Services, store::fans::FanDetails, timers::TimerJob, wechat::errcode,
};

use crate::{
    details,
    failure_policy::{self, FailureDecision},
    types::{AccountRef, ImportJobOutcome, JobDelivery, Outbox},
};

/// A follow older than this is left to the next import.
const MAX_AGE_SECONDS: i64 = 3 * 24 * 3600;
/// How often a job comes again by the queue while the event may be on its way that the account was authorized.
const UNAUTHORIZED_RECEIVES: u32 = 4;
/// How long it waits after that, each time: whether an event was lost or the account is gone, the next refresh of its
/// token finds out, within two hours.
const UNAUTHORIZED_WAIT_SECONDS: i64 = 1800;
/// Jobs that wait for the same time are spread over this.
const SPREAD_SECONDS: u32 = 600;

/// Runs the jobs of one account together. Returns each job's result, in their order.
pub async fn run_batch(
    app: &Services,
    jobs: &[(FollowerJob, JobDelivery<'_>)],
    outbox: &dyn Outbox,
) -> Vec<ImportJobOutcome> {
    let Some((FollowerJob::FanV1 { app_id, tenant_id, .. }, delivery)) = jobs.first() else {
        return Vec::new();
    };
    let mut followed_at: BTreeMap<&str, i64> = BTreeMap::new();
    for (FollowerJob::FanV1 { open_id, at, .. }, _) in jobs {
        let newest = followed_at.entry(open_id).or_insert(*at);
        *newest = (*newest).max(*at);
    }
    let account = AccountRef { app_id, tenant_id };
    let Err(error) = run(app, account, &followed_at, delivery.until).await else {
        return jobs.iter().map(|_| ImportJobOutcome::Done).collect();
    };
    tracing::warn!(app_id, jobs = jobs.len(), "details of new followers failed: {error}");
    let mut outcomes = Vec::with_capacity(jobs.len());
    for (job, delivery) in jobs {
        outcomes.push(apply_failure(app, job, &error, *delivery, outbox).await);
    }
    outcomes
}

/// Fetches and stores the details of those who followed, each at its time in unix seconds.
async fn run(
    app: &Services,
    account: AccountRef<'_>,
    followed_at: &BTreeMap<&str, i64>,
    until: Deadline,
) -> Result<(), Error> {
    let stored = app.store.accounts().get(account.tenant_id, account.app_id).await?;
    if stored.is_none_or(|stored| stored.status != AccountStatus::Bound) {
        return Ok(());
    }
    let open_ids: Vec<_> = followed_at.keys().map(|id| (*id).to_owned()).collect();
    let fetched = details::fetch(app, account, &open_ids, i64::MIN, until).await?;
    let details = fetched.infos.iter().filter_map(|info| {
        followed_at.get(info.openid.as_str()).map(|at| FanDetails { info, as_of: *at, import_id: None })
    });
    details::store(app, account, &details.collect::<Vec<_>>()).await?;
    fetched.failure.map_or(Ok(()), Err)
}

/// The push is stored already, so a permanent failure just ends the job. Waiting is limited by the job's age.
async fn apply_failure(
    app: &Services,
    job: &FollowerJob,
    error: &Error,
    delivery: JobDelivery<'_>,
    outbox: &dyn Outbox,
) -> ImportJobOutcome {
    let FollowerJob::FanV1 { app_id, open_id, at, .. } = job;
    let now = app.clock.unix();
    let (until, spread) = match failure_policy::decide(error, delivery.receive_count, app.clock.now()) {
        // the account was bound when the job began: it was authorized again and the hub learns of it in seconds, or
        // it is unbound soon, and the next attempt ends the job
        FailureDecision::Fail(_)
            if is_unauthorized(error) && delivery.receive_count <= UNAUTHORIZED_RECEIVES =>
        {
            return ImportJobOutcome::Retry(retry::backoff(delivery.receive_count), error.to_string());
        }
        FailureDecision::Fail(_) if is_unauthorized(error) => {
            (now + UNAUTHORIZED_WAIT_SECONDS, SPREAD_SECONDS)
        }
        FailureDecision::Fail(_) => return ImportJobOutcome::Done,
        FailureDecision::Retry(after) => return ImportJobOutcome::Retry(after, error.to_string()),
        FailureDecision::Requeue(after) => (now + i64::try_from(after.as_secs()).unwrap_or(0), 1),
        FailureDecision::Pause { cause_ends_at, .. } => (cause_ends_at, SPREAD_SECONDS),
    };
    if until.saturating_sub(*at) > MAX_AGE_SECONDS {
        tracing::info!(app_id, "a new follower of {app_id} gets details with the next import");
        return ImportJobOutcome::Done;
    }
    let due = until + i64::from(ids::shard(open_id, spread));
    let timer_id = format!("fan:{app_id}:{open_id}:{at}");
    match outbox.schedule(app, &timer_id, due, TimerJob::Follower(job)).await {
        Ok(()) => ImportJobOutcome::Done,
        Err(error) => {
            tracing::warn!(app_id, %error, "a job comes again: {error}");
            ImportJobOutcome::Retry(retry::wait(&error, delivery.receive_count), error.to_string())
        }
    }
}

/// Whether WeChat does not let the hub act for the account any more.
fn is_unauthorized(error: &Error) -> bool {
    match error {
        Error::NotAuthorized(_) => true,
        Error::WeChat(refused) => refused.errcode().is_some_and(errcode::is_unauthorized),
        _ => false,
    }
}
