//! "At time T": a job that waits, for whoever waits.
//!
//! A timer is an item in one of 16 shards, in the order of when it is due. The minute's tick hands those that are due
//! to their queues and then deletes them, so a timer is handed over at least once, up to a minute late, and again after
//! a crash in between: whatever its job does, it does once by the job's own id. There is no cursor to miss anything
//! behind: what is due and still there is found by every sweep.
//!
//! What cannot be handed over stays, and nothing waits behind it: a timer for a queue that this release does not know or
//! that it cannot read, since a later release set it and this one came back, and what its queue does not take. A sweep
//! reads on past it and tells how many there are. A line of a FIFO queue, of which one goes after the other, has turns:
//! [`TURN`] of each line go, and the sweep reads on behind it, however long it is ([`sweep()`]).
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
//! Bounds: [`PAGE`] timers at a time, [`TURN`] of a line before everybody else had a turn, [`PASSED`] pages read by a quick
//! sweep, [`MAX_WAIT`] ahead, a sweep ends when its time does; the next goes on.

mod sweep;

use std::time::Duration;

use jiff::Timestamp;
pub use sweep::{Swept, shards, sweep};

use crate::{
    app::App,
    error::Error,
    queue::{
        self, MAX_DELAY, Parcel, Target,
        jobs::{ImportJob, SendJob},
    },
    store::timers::StoredTimer,
};

/// Timers handed over at a time.
pub const PAGE: i32 = 100;
/// Timers of one line that go before all others had their turn. Each takes a request, because the second must not be
/// taken where the first was not: some 10 ms.
pub const TURN: usize = 10;
/// Pages that a quick sweep reads in a shard until it has handed over [`PAGE`], some 10 ms each; a thorough one reads on
/// for as long as it has time, past a hundred thousand timers and more.
pub const PASSED: usize = 10;
/// A timer waits at most for so long: a year and a day. A later one comes then, and its job looks whether it is time.
pub const MAX_WAIT: Duration = Duration::from_hours(24 * 367);

/// The job that waits.
#[derive(Debug, Clone, Copy)]
pub enum Job<'a> {
    /// For `follower-import`: of an import.
    Import(&'a ImportJob),
    /// For `follower-import`: of a single follower.
    Follower(&'a ImportJob),
    /// For `message-send`, in order within its group.
    Send(&'a SendJob),
}

impl Job<'_> {
    fn target(self) -> Target {
        match self {
            Self::Import(_) => Target::Import,
            Self::Follower(_) => Target::Follower,
            Self::Send(_) => Target::Send,
        }
    }

    fn stored(self, id: &str, due: i64) -> Result<StoredTimer, Error> {
        let (body, group) = match self {
            Self::Import(job) | Self::Follower(job) => (queue::body(job)?, job.tenant().to_owned()),
            Self::Send(job) => (queue::body(job)?, job.group()),
        };
        let once = if self.target().is_fifo() {
            crate::ids::fingerprint(&[id, &due.to_string()])
        } else {
            String::new()
        };
        Ok(StoredTimer { queue: self.target().name().into(), body, group, once })
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
