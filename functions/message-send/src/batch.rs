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
        batch::{FailedJob, ReceivedJob, UNKNOWN_JOB},
        jobs::SendJob,
    },
    services::Services,
};

use crate::{fair_share::FairShare, release_check, send, template_result, work::Work};

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
            if let Some((wait, why)) = end {
                undone.push((FailedJob { item, why }, wait));
                let rest = groups.get_mut(group).map(std::mem::take).unwrap_or_default();
                undone.extend(
                    rest.into_iter().map(|later| (FailedJob::blocked_in_group(later.split().1), wait)),
                );
            }
        }
        if !until.allows(&*app.clock, send::ROUND_TIME) {
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
            Some(SendJob::MessageV1 { app_id, to, .. } | SendJob::WaitedV1 { app_id, to, .. }) => {
                Some((app_id.clone(), to.clone()))
            }
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

/// [`None`] for a job that is done. Otherwise the wait, where the queue does not decide it, and the reason.
type JobDisposition = Option<(Option<Duration>, String)>;

async fn run_round(
    app: &Services,
    shares: &FairShare,
    heads: Vec<(usize, ReceivedJob<SendJob>)>,
    until: Deadline,
) -> Vec<(usize, ReceivedJob<()>, JobDisposition)> {
    let received_at = app.clock.now().as_millisecond();
    let (mut works, mut messages, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (group, item) in heads {
        let (job, item) = item.split();
        let lag_ms = item.sent_at.map_or(0, |at| received_at - at);
        match job {
            Some(SendJob::MessageV1 { message_id, tenant_id, app_id, to, content, template, created_at }) => {
                works.push(Work {
                    id: message_id,
                    tenant_id,
                    app_id,
                    to,
                    content: content.filter(|c| !c.is_null()),
                    template: template.filter(|t| !t.is_null()),
                    created_at,
                    receive_count: item.receive_count,
                    waited: false,
                    queue_message_id: item.message_id.clone(),
                    lag_ms,
                });
                messages.push((group, item));
            }
            Some(SendJob::WaitedV1 { message_id, tenant_id, app_id, to, created_at }) => {
                works.push(Work {
                    id: message_id,
                    tenant_id,
                    app_id,
                    to,
                    content: None,
                    template: None,
                    created_at,
                    receive_count: item.receive_count,
                    waited: true,
                    queue_message_id: item.message_id.clone(),
                    lag_ms,
                });
                messages.push((group, item));
            }
            other => others.push((group, item, other)),
        }
    }
    let rest = others.into_iter().map(|(group, item, job)| async move {
        let end = run_other_job(app, job, item.receive_count, until).await;
        (group, item, end)
    });
    let (ends, mut all) = join(send::send_round(app, shares, works, until), join_all(rest)).await;
    all.extend(
        messages
            .into_iter()
            .zip(ends)
            .map(|((group, item), end)| (group, item, end.map(|(wait, why)| (Some(wait), why)))),
    );
    all
}

/// Handles a job that sends no message.
async fn run_other_job(
    app: &Services,
    job: Option<SendJob>,
    receives: u32,
    until: Deadline,
) -> JobDisposition {
    match job {
        Some(SendJob::TemplateResultV1 { tenant_id, app_id, wechat_msg_id, status }) => {
            template_result::record_delivery_status(
                app,
                &tenant_id,
                &app_id,
                &wechat_msg_id,
                &status,
                receives,
            )
            .await
            .map(at_set_time)
        }
        Some(SendJob::ReleaseCheckV1 { app_id, code, open_id }) => {
            release_check::answer(app, &app_id, &code, &open_id, receives, until).await.map(at_set_time)
        }
        // Stays in the queue until it is dead-lettered, where an operator sees it.
        Some(SendJob::MessageV1 { .. } | SendJob::WaitedV1 { .. }) | None => {
            Some((None, UNKNOWN_JOB.to_owned()))
        }
    }
}

fn at_set_time((wait, why): (Duration, String)) -> (Option<Duration>, String) {
    (Some(wait), why)
}

async fn postpone(app: &Services, item: &ReceivedJob<()>, wait: Option<Duration>) {
    let Some(wait) = wait else { return };
    // jobs without a group come from a standard queue
    let postponed = match item.group.is_empty() {
        false => app.queues.postpone_send(&item.receipt_handle, wait).await,
        true => app.queues.postpone_result(&item.receipt_handle, wait).await,
    };
    if let Err(error) = postponed {
        tracing::warn!(%error, "a job could not be postponed and comes when the queue says: {error}");
    }
}
