//! Runs a batch in rounds, and postpones the jobs that are not done.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use futures::future::{join, join_all};
use shared::{
    deadline::Deadline,
    job_failures,
    queue::{
        JobQueue,
        batch::{FailedJob, ReceivedJob},
        jobs::SendJob,
    },
    services::Services,
};
use tracing::Instrument;

use crate::{call, fair_share::FairShare, release_check, round, states::JobEnd, template_result, work::Work};

/// The wait of jobs that were not reached in time.
const UNREACHED_WAIT: Duration = Duration::from_secs(1);
const UNREACHED: &str = "the batch ended before its turn";

type JobGroup = VecDeque<ReceivedJob<SendJob>>;

/// Handles a batch. Returns the ids of jobs that are not done. Begins a round only if it can end by `until`.
pub async fn run(
    app: &Services,
    shares: &FairShare,
    items: Vec<ReceivedJob<SendJob>>,
    until: Deadline,
) -> Vec<String> {
    let mut groups = group_jobs(items);
    let mut undone: Vec<(FailedJob, Option<Duration>)> = Vec::new();
    loop {
        let heads = take_heads(&mut groups);
        if heads.is_empty() {
            break;
        }
        for (group, item, end) in run_round(app, shares, heads, until).await {
            let (failed, wait) = match end {
                JobEnd::Done => continue,
                JobEnd::Again(wait, why) => (FailedJob { item, why }, Some(wait)),
                JobEnd::Unknown => (FailedJob::unknown(item), None),
            };
            undone.push((failed, wait));
            let rest = groups.get_mut(group).map(std::mem::take).unwrap_or_default();
            undone.extend(rest.into_iter().map(|later| (FailedJob::blocked_in_group(later.split().1), wait)));
        }
        if !until.allows(&*app.clock, call::ROUND_TIME) {
            let rest = groups.iter_mut().flat_map(std::mem::take);
            let late =
                |later: ReceivedJob<SendJob>| FailedJob { item: later.split().1, why: UNREACHED.to_owned() };
            undone.extend(rest.map(|later| (late(later), Some(UNREACHED_WAIT))));
        }
    }
    join_all(undone.iter().map(|(one, wait)| postpone(app, &one.item, *wait))).await;
    let (results, messages): (Vec<_>, Vec<_>) =
        undone.into_iter().map(|(one, _)| one).partition(|one| one.item.group.is_empty());
    let mut ids = job_failures::batch_item_failures(app, JobQueue::Send, messages).await;
    ids.extend(job_failures::batch_item_failures(app, JobQueue::Result, results).await);
    ids
}

/// The jobs by group, in the order of the batch. A job without a group forms one of its own.
fn group_jobs(items: Vec<ReceivedJob<SendJob>>) -> Vec<JobGroup> {
    let mut names: Vec<String> = Vec::new();
    let mut groups: Vec<JobGroup> = Vec::new();
    for item in items {
        let known = names.iter().position(|name| !name.is_empty() && *name == item.group);
        match known.and_then(|n| groups.get_mut(n)) {
            Some(group) => group.push_back(item),
            None => {
                names.push(item.group.clone());
                groups.push(VecDeque::from([item]));
            }
        }
    }
    groups
}

/// The first of every group, at most one for each fan.
fn take_heads(groups: &mut [JobGroup]) -> Vec<(usize, ReceivedJob<SendJob>)> {
    let mut fans = HashSet::new();
    let mut heads = Vec::new();
    for (n, group) in groups.iter_mut().enumerate() {
        let fan = match group.front().and_then(|item| item.job.as_ref()) {
            Some(job @ (SendJob::MessageV1 { .. } | SendJob::WaitedV1 { .. })) => Some(job.group()),
            _ => None,
        };
        if fan.is_none_or(|fan| fans.insert(fan))
            && let Some(item) = group.pop_front()
        {
            heads.push((n, item));
        }
    }
    heads
}

async fn run_round(
    app: &Services,
    shares: &FairShare,
    heads: Vec<(usize, ReceivedJob<SendJob>)>,
    until: Deadline,
) -> Vec<(usize, ReceivedJob<()>, JobEnd)> {
    let received_at = app.clock.now().as_millisecond();
    let (mut works, mut messages, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (group, item) in heads {
        let (job, item) = item.split();
        match job.map(|job| Work::from_job(job, &item, received_at)) {
            Some(Ok(work)) => {
                works.push(work);
                messages.push((group, item));
            }
            Some(Err(job)) => others.push((group, item, Some(*job))),
            None => others.push((group, item, None)),
        }
    }
    let others = others.into_iter().map(|(group, item, job)| async move {
        let end = run_other_job(app, job, item.receive_count, until).instrument(item.span.clone()).await;
        (group, item, end)
    });
    let (ends, mut all) = join(round::send_round(app, shares, works, until), join_all(others)).await;
    all.extend(messages.into_iter().zip(ends).map(|((group, item), end)| (group, item, end)));
    all
}

/// Handles a job that sends no message.
async fn run_other_job(app: &Services, job: Option<SendJob>, receives: u32, until: Deadline) -> JobEnd {
    match job {
        Some(SendJob::TemplateResultV1 { tenant_id, app_id, wechat_msg_id, status }) => {
            let record = template_result::record_delivery_status;
            record(app, &tenant_id, &app_id, &wechat_msg_id, &status, receives).await
        }
        Some(SendJob::ReleaseCheckV1 { app_id, code, open_id }) => {
            release_check::answer(app, &app_id, &code, &open_id, receives, until).await
        }
        Some(SendJob::MessageV1 { .. } | SendJob::WaitedV1 { .. }) | None => JobEnd::Unknown,
    }
}

async fn postpone(app: &Services, item: &ReceivedJob<()>, wait: Option<Duration>) {
    let Some(wait) = wait else { return };
    // jobs without a group come from a standard queue
    let postponed = match item.group.is_empty() {
        false => app.queues.postpone_send(&item.receipt_handle, wait).await,
        true => app.queues.postpone_result(&item.receipt_handle, wait).await,
    };
    if let Err(error) = postponed {
        let span = &item.span;
        tracing::warn!(parent: span, %error, "a job could not be postponed and comes when the queue says: {error}");
    }
}
