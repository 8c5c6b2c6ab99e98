//! Timers that are due: the tick hands over a page of each shard, and where there are more, jobs hand over the rest at
//! the same time. They ride the queue of the refreshes, of which they never take more than a part, so that no flood of
//! timers keeps a token waiting: `OAHUB_SWEEPERS`, which is four of the ten that the queue lets run, and in a small
//! account one of two. Each hands over some hundreds a second.

use std::time::Duration;

use shared::{
    app::App,
    deadline::Deadline,
    metrics::Metric,
    queue::jobs::RefreshJob,
    timers::{self, Swept},
};

/// How long a sweep goes on at most: less than its lease of a shard lasts.
const SWEEP: Duration = Duration::from_secs(20);
/// What a page may take, which is begun by the end of that time.
const PAGE: Duration = Duration::from_secs(2);

/// The tick's part.
pub async fn tick(app: &App, until: Deadline) {
    let swept = timers::sweep(app, &timers::shards(), false, time(app, until)).await;
    told(app, &swept);
    let share = swept.more.len().div_ceil(app.config.sweepers.max(1)).max(1);
    let jobs: Vec<_> =
        swept.more.chunks(share).map(|shards| RefreshJob::TimersV1 { shards: shards.to_vec() }).collect();
    if !jobs.is_empty()
        && let Err(error) = app.queues.refresh(&jobs, Duration::ZERO).await
    {
        tracing::warn!(%error, "many timers are due, and wait for the next tick: {error}");
    }
}

/// A job's part. What is left when its time is over is found by the next tick.
pub async fn job(app: &App, shards: &[u32], until: Deadline) {
    told(app, &timers::sweep(app, shards, true, time(app, until)).await);
}

/// Until when a page may be begun.
fn time(app: &App, until: Deadline) -> Deadline {
    until.less(PAGE).min(Deadline::after(&*app.clock, SWEEP))
}

fn told(app: &App, swept: &Swept) {
    if swept.stuck > 0 {
        let stuck = i64::try_from(swept.stuck).unwrap_or(i64::MAX);
        app.metrics.put(Metric::StuckTimers, stuck, app.clock.now());
    }
    if swept.handed > 0 {
        tracing::info!(timers = swept.handed, "{} timers were due", swept.handed);
    }
}
