//! "At time T": a job that waits, for whoever waits.
//!
//! A timer is an item in one of 16 shards, in the order of when it is due. The minute's tick hands those that are due
//! to their queues and then deletes them, so a timer is handed over at least once, up to a minute late, and again after
//! a crash in between: whatever its job does, it does once by the job's own id. There is no cursor to miss anything
//! behind: what is due and still there is found by every sweep.
//!
//! Up to 15 minutes a standard queue waits by itself, to the second; then there is no item. A FIFO queue delays no
//! single message.
//!
//! | crash | leaves | what comes of it |
//! |---|---|---|
//! | before the timer is put | the job that wanted to wait, in its queue | it comes again |
//! | after it, before that job is deleted | both | the job twice |
//! | after the hand-over, before the deletion | the timer and its job | the job twice, on a FIFO queue once |
//!
//! Bounds: [`PAGE`] timers at a time, [`MAX_WAIT`] ahead, a sweep ends when its time does; the next goes on.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;

use crate::{
    app::App,
    error::Error,
    queue::{
        self, MAX_DELAY, Parcel, Target,
        jobs::{AuthorizationJob, ImportJob, RefreshJob, SendJob},
    },
    store::{keys::TIMER_SHARDS, timers::StoredTimer},
};

/// Timers handed over at a time.
pub const PAGE: i32 = 100;
/// A timer waits at most for so long: a year and a day. A later one comes then, and its job looks whether it is time.
pub const MAX_WAIT: Duration = Duration::from_hours(24 * 367);

/// The job that waits.
#[derive(Debug, Clone, Copy)]
pub enum Job<'a> {
    /// For `authorization-callback`.
    Authorization(&'a AuthorizationJob),
    /// For `token-refresh`.
    Refresh(&'a RefreshJob),
    /// For `follower-import`: of an import.
    Import(&'a ImportJob),
    /// For `follower-import`: of a single follower.
    Follower(&'a ImportJob),
    /// For `message-send`, in order within the group.
    Send(&'a SendJob, &'a str),
}

impl Job<'_> {
    fn target(self) -> Target {
        match self {
            Self::Authorization(_) => Target::Authorization,
            Self::Refresh(_) => Target::Refresh,
            Self::Import(_) => Target::Import,
            Self::Follower(_) => Target::Follower,
            Self::Send(..) => Target::Send,
        }
    }

    fn stored(self, id: &str, due: i64) -> Result<StoredTimer, Error> {
        let (body, group) = match self {
            Self::Authorization(job) => (queue::body(job)?, ""),
            Self::Refresh(job) => (queue::body(job)?, ""),
            Self::Import(job) | Self::Follower(job) => (queue::body(job)?, job.tenant()),
            Self::Send(job, group) => (queue::body(job)?, group),
        };
        let once = if self.target().is_fifo() {
            crate::ids::fingerprint(&[id, &due.to_string()])
        } else {
            String::new()
        };
        Ok(StoredTimer { queue: self.target().name().into(), body, group: group.into(), once })
    }
}

/// Has `job` come at `due`. The same `id` and time again is the same timer. Jobs of one FIFO group that are due at the
/// same time come in the order of their ids.
///
/// # Errors
/// [`Error::Store`], [`Error::Queue`]: it may be set; the same call again is safe.
pub async fn set(app: &App, id: &str, due: Timestamp, job: Job<'_>) -> Result<(), Error> {
    let now = app.clock.now().as_millisecond();
    let longest = i64::try_from(MAX_WAIT.as_millis()).unwrap_or(i64::MAX);
    let due = due.as_millisecond().clamp(now, now.saturating_add(longest));
    let timer = job.stored(id, due)?;
    // up to the next whole second, so that it never comes before its time
    let wait = Duration::from_secs((due - now).unsigned_abs().div_ceil(1000));
    if !job.target().is_fifo() && wait <= MAX_DELAY {
        let parcel = Parcel { body: &timer.body, group: &timer.group, once: "" };
        return app.queues.hand_over_later(job.target(), &parcel, wait).await;
    }
    let line = if job.target().is_fifo() { &timer.group } else { id };
    app.store.put_timer(line, due, id, &timer).await
}

/// What a sweep did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Timers that were handed over.
    pub handed: usize,
    /// Shards in which more are due.
    pub more: Vec<u32>,
}

/// Hands over what is due in `shards`: one page of each, or, `thoroughly`, all there is until `until` (unix
/// milliseconds).
pub async fn sweep(app: &App, shards: &[u32], thoroughly: bool, until: i64) -> Swept {
    let owner = app.fresh_id("swp");
    let each = shards.iter().copied().map(|shard| one(app, shard, &owner, thoroughly, until));
    let mut all = Swept::default();
    for swept in join_all(each).await {
        all.handed += swept.handed;
        all.more.extend(swept.more);
    }
    all
}

/// All shards there are.
#[must_use]
pub fn shards() -> Vec<u32> {
    (0..TIMER_SHARDS).collect()
}

async fn one(app: &App, shard: u32, owner: &str, thoroughly: bool, until: i64) -> Swept {
    let mut swept = Swept::default();
    match all_due(app, shard, owner, thoroughly, until, &mut swept).await {
        Ok(false) => {}
        Ok(true) => swept.more.push(shard),
        Err(error) => {
            tracing::error!(shard, %error, "timers wait for the next sweep: {error}");
        }
    }
    swept
}

/// Answers whether there are more.
async fn all_due(
    app: &App,
    shard: u32,
    owner: &str,
    thoroughly: bool,
    until: i64,
    swept: &mut Swept,
) -> Result<bool, Error> {
    let mut leased = false;
    let more = loop {
        let now = app.clock.now().as_millisecond();
        let page = app.store.due_timers(shard, now, PAGE).await?;
        if page.timers.is_empty() {
            break false;
        }
        // only where there is something to do, so that an idle shard costs a read
        leased = leased || app.store.lease_timers(shard, owner).await?;
        if !leased {
            return Ok(false); // somebody is at it
        }
        let handed = hand_over(app, &page.timers).await?;
        swept.handed += handed;
        let stuck = handed == 0; // of a later release, all of them, or the queue takes none
        if !page.more || stuck {
            break false;
        }
        if !thoroughly || app.clock.now().as_millisecond() >= until {
            break true;
        }
    };
    if leased {
        app.store.release_timers(shard, owner).await?;
    }
    Ok(more)
}

/// First into the queue, then out of the table.
async fn hand_over(app: &App, due: &[crate::store::timers::DueTimer]) -> Result<usize, Error> {
    let (mut handed, mut failed) = (0, None);
    for target in Target::ALL {
        let of: Vec<_> = due.iter().filter(|d| Target::named(&d.timer.queue) == Some(target)).collect();
        if of.is_empty() {
            continue;
        }
        let parcels: Vec<_> = of
            .iter()
            .map(|d| Parcel { body: &d.timer.body, group: &d.timer.group, once: &d.timer.once })
            .collect();
        let (taken, stopped) = app.queues.hand_over(target, &parcels).await;
        app.store.delete_timers(taken.iter().filter_map(|place| of.get(*place)).copied()).await?;
        handed += taken.len();
        failed = failed.or(stopped);
    }
    match failed {
        Some(error) if handed == 0 => Err(error),
        Some(error) => {
            tracing::warn!(%error, "some timers wait for the next sweep: {error}");
            Ok(handed)
        }
        None => Ok(handed),
    }
}
