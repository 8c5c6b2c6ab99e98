//! Delivers due timers: the tick takes a page of each shard, and jobs take the rest at the same time. They
//! share the queue of token refreshes but get only `OAHUB_SWEEPERS` of its concurrent invocations (four of
//! ten, in a small account one of two), so that no flood of timers delays a token. Each delivers some
//! hundreds a second.

use std::time::Duration;

use shared::{
    deadline::Deadline,
    metrics::Metric,
    queue::jobs::RefreshJob,
    services::Services,
    timers::{self, SweepResult},
};

/// The longest sweep; shorter than its lease of a shard.
const MAX_SWEEP_TIME: Duration = Duration::from_secs(20);
/// How long one page may take that is begun at the end of that time.
const MAX_PAGE_TIME: Duration = Duration::from_secs(2);

/// Sweeps as part of the tick, and queues jobs for shards that have more.
pub async fn sweep_on_tick(app: &Services, until: Deadline) {
    let swept = timers::sweep(app, &timers::all_shards(), false, page_deadline(app, until)).await;
    report(app, &swept);
    let share = swept.more.len().div_ceil(app.config.sweepers.max(1)).max(1);
    let jobs: Vec<_> =
        swept.more.chunks(share).map(|shards| RefreshJob::TimersV1 { shards: shards.to_vec() }).collect();
    if !jobs.is_empty()
        && let Err(error) = app.queues.refresh(&jobs, Duration::ZERO).await
    {
        tracing::warn!(%error, "many timers are due, and wait for the next tick: {error}");
    }
}

/// Sweeps as a job. The next tick finds what is left when the time is over.
pub async fn sweep_shards(app: &Services, shards: &[u32], until: Deadline) {
    report(app, &timers::sweep(app, shards, true, page_deadline(app, until)).await);
}

/// Until when another page may be begun.
fn page_deadline(app: &Services, until: Deadline) -> Deadline {
    until.earlier_by(MAX_PAGE_TIME).min(Deadline::after(&*app.clock, MAX_SWEEP_TIME))
}

fn report(app: &Services, swept: &SweepResult) {
    if swept.stuck > 0 {
        let stuck = i64::try_from(swept.stuck).unwrap_or(i64::MAX);
        app.metrics.record(Metric::StuckTimers, stuck, app.clock.now());
    }
    if swept.handed_over > 0 {
        tracing::info!(timers = swept.handed_over, "{} timers were due", swept.handed_over);
    }
}
