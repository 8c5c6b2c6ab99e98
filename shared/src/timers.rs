//! "At time T": jobs that wait, for every part of the hub.
//!
//! A timer is an item in one of 16 shards, sorted by due time. The tick of each minute hands
//! due timers to their queues and then deletes them, so a timer is handed over at least
//! once, up to a minute late, and again after a crash in between: a job must be idempotent
//! by its own id. No cursor can skip a timer: every sweep finds what is due and still there.
//!
//! What cannot be handed over stays and blocks nothing: a timer for an unknown queue or with an
//! unreadable item (set by a later release that was rolled back), and what its queue rejects. A sweep
//! reads past it and reports how many there are. Timers of one FIFO group go in order and take turns:
//! [`TIMERS_PER_TURN`] of a group, then the sweep reads on behind it, however many wait ([`sweep()`]).
//!
//! A standard queue delays messages by itself up to 15 minutes, to the
//! second; then no item is stored. A FIFO queue cannot delay single messages.
//!
//! | crash | leaves | effect |
//! |---|---|---|
//! | before the timer is stored | the job that wanted to wait, in its queue | the queue retries it |
//! | after it, before that job is deleted | both | the job twice |
//! | after the hand-over, before the deletion | the timer and its job | the job twice; on a FIFO queue once |
//!
//! Bounds: [`TIMERS_PER_PAGE`] timers at a time, [`TIMERS_PER_TURN`] of a group in the first round,
//! [`MAX_PAGES_QUICK_SWEEP`] pages in a quick sweep, [`MAX_WAIT`] ahead; a sweep ends with its time.

mod sweep;

use std::time::Duration;

use jiff::Timestamp;
pub use sweep::{MAX_PAGES_QUICK_SWEEP, SweepResult, TIMERS_PER_PAGE, TIMERS_PER_TURN, all_shards, sweep};

use crate::{
    error::Error,
    model::timer::StoredTimer,
    queue::{
        self, JobQueue, MAX_DELAY,
        jobs::{FollowerJob, ImportJob, SendJob},
        send::OutgoingMessage,
    },
    services::Services,
};

/// The longest wait: a year and a day. A timer for later fires then, and its job checks whether it is time.
pub const MAX_WAIT: Duration = Duration::from_hours(24 * 367);

/// The job that waits.
#[derive(Debug, Clone, Copy)]
pub enum TimerJob<'a> {
    /// For `follower-import`: a job of an import.
    Import(&'a ImportJob),
    /// For `follower-import`: a job of a single follower.
    Follower(&'a FollowerJob),
    /// For `message-send`, in order within its group.
    Send(&'a SendJob),
}

impl TimerJob<'_> {
    fn target(self) -> JobQueue {
        match self {
            Self::Import(_) => JobQueue::Import,
            Self::Follower(_) => JobQueue::Follower,
            Self::Send(_) => JobQueue::Send,
        }
    }

    fn to_stored(self, id: &str, due: i64) -> Result<StoredTimer, Error> {
        let (body, group) = match self {
            Self::Import(job) => (queue::message_body(job)?, job.tenant().to_owned()),
            Self::Follower(job) => (queue::message_body(job)?, job.tenant().to_owned()),
            Self::Send(job) => (queue::message_body(job)?, job.group()),
        };
        let once = if self.target().is_fifo() {
            crate::ids::fingerprint(&[id, &due.to_string()])
        } else {
            String::new()
        };
        Ok(StoredTimer { queue: self.target().name().into(), body, group, once })
    }
}

/// Delivers `job` at `due`. The same `id` and time is the same timer. Jobs of one
/// FIFO group that are due at the same time are delivered in the order of their ids.
///
/// # Errors
/// [`Error::Store`], [`Error::Queue`]: it may be set; the same call again is safe.
pub async fn set(app: &Services, id: &str, due: Timestamp, job: TimerJob<'_>) -> Result<(), Error> {
    let now = app.clock.now().as_millisecond();
    let longest = i64::try_from(MAX_WAIT.as_millis()).unwrap_or(i64::MAX);
    let due = due.as_millisecond().clamp(now, now.saturating_add(longest));
    let timer = job.to_stored(id, due)?;
    // rounded up to a whole second, so that it is never early
    let wait = Duration::from_secs((due - now).unsigned_abs().div_ceil(1000));
    if !job.target().is_fifo() && wait <= MAX_DELAY {
        let parcel = OutgoingMessage { body: &timer.body, group_id: &timer.group, deduplication_id: "" };
        return app.queues.send_delayed(job.target(), &parcel, wait).await;
    }
    let line = if job.target().is_fifo() { &timer.group } else { id };
    app.store.timers().create(line, due, id, &timer).await
}
