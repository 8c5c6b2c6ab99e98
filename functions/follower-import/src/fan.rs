//! `FanV1`: fetches the details of somebody who just followed, those of one account in one call. The push's
//! status wins over WeChat's current answer: details are stored with the push's time, and a status of that
//! time or later is kept.

use std::collections::BTreeMap;

use shared::{
    app::App, deadline::Deadline, error::Error, ids, model::account::AccountStatus, queue::jobs::ImportJob,
    store::fans::Details,
};

use crate::{
    details,
    job::{Delivery, Ids, Outbox, Outcome},
    trouble::{self, Decision},
};

/// A follow older than this is left to the next import.
const PATIENCE: i64 = 3 * 24 * 3600;
/// Jobs that wait for the same time are spread over this.
const SPREAD: u32 = 600;

/// Who followed, and when, unix seconds.
type Follow<'a> = (&'a str, i64);

/// Runs the jobs of one account together. Returns each job's result, in their order.
pub async fn deliver(app: &App, jobs: &[(ImportJob, Delivery<'_>)], outbox: &dyn Outbox) -> Vec<Outcome> {
    let follows: Vec<_> = jobs.iter().filter_map(|(job, _)| follow(job)).collect();
    let Some((first, delivery)) = jobs.first() else { return Vec::new() };
    let ids = crate::job::ids(first);
    let Err(error) = run(app, ids, &follows, delivery.until).await else {
        return jobs.iter().map(|_| Outcome::Done).collect();
    };
    tracing::warn!(app_id = ids.app, jobs = jobs.len(), "details of new followers failed: {error}");
    let mut outcomes = Vec::with_capacity(jobs.len());
    for (job, delivery) in jobs {
        outcomes.push(settle(app, job, &error, *delivery, outbox).await);
    }
    outcomes
}

fn follow(job: &ImportJob) -> Option<Follow<'_>> {
    match job {
        ImportJob::FanV1 { open_id, at, .. } => Some((open_id, *at)),
        _ => None,
    }
}

async fn run(app: &App, ids: Ids<'_>, follows: &[Follow<'_>], until: Deadline) -> Result<(), Error> {
    let account = app.store.account(ids.tenant, ids.app).await?;
    if account.is_none_or(|account| account.status != AccountStatus::Bound) {
        return Ok(());
    }
    let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
    for (open_id, at) in follows {
        let known = newest.entry(open_id).or_insert(*at);
        *known = (*known).max(*at);
    }
    let open_ids: Vec<_> = newest.keys().map(|id| (*id).to_owned()).collect();
    let told = details::fetch(app, ids, &open_ids, i64::MIN, until).await?;
    let details = told.infos.iter().filter_map(|info| {
        newest.get(info.openid.as_str()).map(|at| Details { info, as_of: *at, import_id: None })
    });
    details::store(app, ids, &details.collect::<Vec<_>>()).await?;
    told.left.map_or(Ok(()), Err)
}

/// The push is stored already, so a permanent failure just ends the job. Waiting is limited by the job's age.
async fn settle(
    app: &App,
    job: &ImportJob,
    error: &Error,
    delivery: Delivery<'_>,
    outbox: &dyn Outbox,
) -> Outcome {
    let now = app.clock.unix();
    let (until, spread) = match trouble::decide(error, delivery.receive_count, app.clock.now()) {
        Decision::Fail(_) => return Outcome::Done,
        Decision::Again(after) => return Outcome::Again(after, error.to_string()),
        Decision::Later(after) => (now + i64::try_from(after.as_secs()).unwrap_or(0), 1),
        Decision::Pause { back, .. } => (back, SPREAD),
    };
    let Some((open_id, at)) = follow(job) else { return Outcome::Done };
    let app_id = crate::job::ids(job).app;
    if until.saturating_sub(at) > PATIENCE {
        tracing::info!(app_id, "a new follower of {app_id} gets details with the next import");
        return Outcome::Done;
    }
    let due = until + i64::from(ids::shard(open_id, spread));
    match outbox.at(app, &format!("fan:{app_id}:{open_id}:{at}"), due, job).await {
        Ok(()) => Outcome::Done,
        Err(error) => {
            tracing::warn!(app_id, %error, "a job comes again: {error}");
            Outcome::Again(trouble::SHORT_WAIT, error.to_string())
        }
    }
}
