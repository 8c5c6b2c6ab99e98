//! Timers that are due: the tick hands over a page of each shard, and where there are more, jobs hand over the rest at
//! the same time. They ride the queue of the refreshes, of which they never take more than a part.

use std::time::Duration;

use shared::{
    app::App,
    queue::jobs::RefreshJob,
    timers::{self, Swept},
};

/// Jobs that sweep at once, at most: four of the ten that the queue lets run, so that no flood of timers keeps a token
/// waiting. Each hands over some hundreds a second.
const SWEEPERS: usize = 4;
/// How long such a job goes on, milliseconds. The function has 30 s, and one page takes less than two.
const SWEEP_MS: i64 = 20_000;

/// The tick's part.
pub async fn tick(app: &App) {
    let swept = timers::sweep(app, &timers::shards(), false, 0).await;
    told(&swept);
    let share = swept.more.len().div_ceil(SWEEPERS).max(1);
    let jobs: Vec<_> =
        swept.more.chunks(share).map(|shards| RefreshJob::TimersV1 { shards: shards.to_vec() }).collect();
    if !jobs.is_empty()
        && let Err(error) = app.queues.refresh(&jobs, Duration::ZERO).await
    {
        tracing::warn!(%error, "many timers are due, and wait for the next tick: {error}");
    }
}

/// A job's part. What is left when its time is over is found by the next tick.
pub async fn job(app: &App, shards: &[u32]) {
    let until = app.clock.now().as_millisecond() + SWEEP_MS;
    told(&timers::sweep(app, shards, true, until).await);
}

fn told(swept: &Swept) {
    if swept.handed > 0 {
        tracing::info!(timers = swept.handed, "{} timers were due", swept.handed);
    }
}
