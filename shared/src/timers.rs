//! "At time T": a job that waits, for whoever waits.
//!
//! A timer is an item in one of 16 shards, in the order of when it is due. The minute's tick hands those that are due
//! to their queues and then deletes them, so a timer is handed over at least once, up to a minute late, and again after
//! a crash in between: whatever its job does, it does once by the job's own id. There is no cursor to miss anything
//! behind: what is due and still there is found by every sweep.
//!
//! What cannot be handed over stays, and nothing waits behind it: a timer for a queue that this release does not know or
//! that it cannot read, since a later release set it and this one came back, and what its queue does not take. A sweep
//! reads on past it and tells how many there are.
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
//! Bounds: [`PAGE`] timers at a time, [`PASSED`] pages passed by a quick sweep, [`MAX_WAIT`] ahead, a sweep ends when its
//! time does; the next goes on.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use futures::future::join_all;
use jiff::Timestamp;

use crate::{
    app::App,
    deadline::Deadline,
    error::Error,
    queue::{
        self, MAX_DELAY, Parcel, Target,
        jobs::{AuthorizationJob, ImportJob, RefreshJob, SendJob},
    },
    store::{
        keys::TIMER_SHARDS,
        timers::{DuePage, DueTimer, StoredTimer},
    },
};

/// Timers handed over at a time.
pub const PAGE: i32 = 100;
/// Pages of which nothing could be handed over that a quick sweep reads past in a shard, some 10 ms each; a thorough one
/// reads on for as long as it has time, past a hundred thousand timers and more.
pub const PASSED: usize = 10;
/// Names of unknown queues in a log line.
const NAMED: usize = 5;
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
    /// Timers that are due and can be handed over by no sweep of this release, among those that it came by.
    pub stuck: usize,
    /// Shards in which more are due.
    pub more: Vec<u32>,
}

/// Hands over what is due in `shards`: one page of each, or, `thoroughly`, all there is; until `until`.
pub async fn sweep(app: &App, shards: &[u32], thoroughly: bool, until: Deadline) -> Swept {
    let owner = app.fresh_id("swp");
    let each = shards.iter().copied().map(|shard| one(app, shard, &owner, thoroughly, until));
    let mut all = Swept::default();
    for swept in join_all(each).await {
        all.handed += swept.handed;
        all.stuck += swept.stuck;
        all.more.extend(swept.more);
    }
    all
}

/// All shards there are.
#[must_use]
pub fn shards() -> Vec<u32> {
    (0..TIMER_SHARDS).collect()
}

async fn one(app: &App, shard: u32, owner: &str, thoroughly: bool, until: Deadline) -> Swept {
    let mut sweep = Sweep::default();
    match all_due(app, shard, owner, thoroughly, until, &mut sweep).await {
        Ok(false) => {}
        Ok(true) => sweep.swept.more.push(shard),
        Err(error) => {
            tracing::error!(shard, %error, "timers wait for the next sweep: {error}");
        }
    }
    let Sweep { swept, unknown, .. } = sweep;
    if swept.stuck > 0 {
        let (timers, queues) = (swept.stuck, unknown.into_iter().collect::<Vec<_>>().join(", "));
        tracing::error!(
            shard,
            timers,
            queues,
            "{timers} timers are due, and this release cannot hand them over"
        );
    }
    swept
}

/// A sweep of a shard, and what it met on its way.
#[derive(Default)]
struct Sweep {
    swept: Swept,
    /// Queues that nobody here knows.
    unknown: BTreeSet<String>,
    /// Queues that take no more for now: they are left alone for the rest of the sweep.
    closed: HashSet<Target>,
    /// Groups of FIFO queues of which one was not taken: the later ones must not go before it.
    behind: HashSet<String>,
}

/// Answers whether there are more.
async fn all_due(
    app: &App,
    shard: u32,
    owner: &str,
    thoroughly: bool,
    until: Deadline,
    sweep: &mut Sweep,
) -> Result<bool, Error> {
    let (mut leased, mut passed, mut after) = (false, 0, None);
    let more = loop {
        let now = app.clock.now().as_millisecond();
        let page = app.store.due_timers(shard, now, PAGE, after.take()).await?;
        if page.timers.is_empty() && page.unreadable == 0 {
            break false;
        }
        // only where there is something to do, so that an idle shard costs a read
        leased = leased || app.store.lease_timers(shard, owner).await?;
        if !leased {
            return Ok(false); // somebody is at it
        }
        let handed = hand_over(app, &page, sweep).await?;
        passed += usize::from(handed == 0);
        after = page.next;
        if after.is_none() {
            break false;
        }
        let enough = !thoroughly && (handed > 0 || passed >= PASSED);
        if enough || !until.allows(&*app.clock, Duration::ZERO) {
            break true;
        }
    };
    if leased {
        app.store.release_timers(shard, owner).await?;
    }
    Ok(more)
}

/// First into the queue, then out of the table. Answers how many.
async fn hand_over(app: &App, page: &DuePage, sweep: &mut Sweep) -> Result<usize, Error> {
    let mut handed = 0;
    sweep.swept.stuck += page.unreadable;
    for due in page.timers.iter().filter(|due| Target::named(&due.timer.queue).is_none()) {
        sweep.swept.stuck += 1;
        if sweep.unknown.len() < NAMED {
            sweep.unknown.insert(due.timer.queue.clone());
        }
    }
    for target in Target::ALL.into_iter().filter(|target| !sweep.closed.contains(target)).collect::<Vec<_>>()
    {
        let goes = |due: &&DueTimer| {
            Target::named(&due.timer.queue) == Some(target)
                && !(target.is_fifo() && sweep.behind.contains(&due.timer.group))
        };
        let of: Vec<_> = page.timers.iter().filter(goes).collect();
        if of.is_empty() {
            continue;
        }
        let parcels: Vec<_> = of
            .iter()
            .map(|d| Parcel { body: &d.timer.body, group: &d.timer.group, once: &d.timer.once })
            .collect();
        let over = app.queues.hand_over(target, &parcels).await;
        let taken: HashSet<usize> = over.taken.into_iter().collect();
        let (gone, left): (Vec<_>, Vec<_>) =
            of.iter().enumerate().partition(|(place, _)| taken.contains(place));
        if target.is_fifo() {
            sweep.behind.extend(left.iter().map(|(_, due)| due.timer.group.clone()));
        }
        if over.stopped.is_some() {
            sweep.closed.insert(target);
        } else {
            sweep.swept.stuck += left.len();
        }
        if let Some(error) = over.stopped.or(over.refused) {
            let queue = target.name();
            tracing::warn!(queue, timers = left.len(), %error, "timers wait for the next sweep: {error}");
        }
        handed += gone.len();
        app.store.delete_timers(gone.into_iter().map(|(_, due)| *due)).await?;
    }
    sweep.swept.handed += handed;
    Ok(handed)
}
