//! Hands over what is due, in rounds. In the first all have a turn, at most [`TIMERS_PER_TURN`]
//! timers of each FIFO group; later rounds go on with the long groups, a page each. A round skips the
//! rest of a group that had its turn, so that a group of 50,000 costs the others one read. Within a
//! group the order is kept: behind a timer that was not taken the group waits, for the next round or,
//! if the queue refused it, the next sweep. Timers that the queue will never take are skipped.
//!
//! Timers are deleted during the next request: a sweep that dies delivers the last [`MAX_BATCH_MESSAGES`] twice.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use futures::future::{join, join_all};

use crate::{
    deadline::Deadline,
    error::Error,
    queue::{
        JobQueue, MAX_BATCH_MESSAGES,
        send::{OutgoingMessage, SendResults},
    },
    services::Services,
    store::{
        keys::TIMER_SHARDS,
        timers::{DuePage, DueTimer, TimerCursor},
    },
};

/// Timers that are read at a time.
pub const TIMERS_PER_PAGE: i32 = 100;
/// Timers of one FIFO group that are handed over before all others had their turn. Each is a
/// request of its own (some 10 ms), because the second must not be sent if the first was not taken.
pub const TIMERS_PER_TURN: usize = 10;
/// Most pages that a quick sweep reads in a shard until it has handed over [`TIMERS_PER_PAGE`], some
/// 10 ms each; a thorough sweep reads on while it has time, past a hundred thousand timers and more.
pub const MAX_PAGES_QUICK_SWEEP: usize = 10;
/// Most names of unknown queues in a log line.
const MAX_NAMED_QUEUES: usize = 5;
/// [`TIMERS_PER_PAGE`] as a `usize`.
const TIMERS_PER_PAGE_LEN: usize = TIMERS_PER_PAGE.unsigned_abs() as usize;

/// The result of a sweep.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SweepResult {
    /// Timers that were handed over.
    pub handed_over: usize,
    /// Due timers that no sweep of this release can hand over, among those that were read.
    pub stuck: usize,
    /// Shards in which more are due.
    pub more: Vec<u32>,
}

/// Hands over what is due in `shards`: about a page of each, or everything if `thoroughly`; until `until`.
pub async fn sweep(app: &Services, shards: &[u32], thoroughly: bool, until: Deadline) -> SweepResult {
    let owner = app.fresh_id("swp");
    let each = shards.iter().copied().map(|shard| sweep_shard(app, shard, &owner, thoroughly, until));
    let mut all = SweepResult::default();
    for swept in join_all(each).await {
        all.handed_over += swept.handed_over;
        all.stuck += swept.stuck;
        all.more.extend(swept.more);
    }
    all
}

/// The numbers of all shards.
#[must_use]
pub fn all_shards() -> Vec<u32> {
    (0..TIMER_SHARDS).collect()
}

async fn sweep_shard(
    app: &Services,
    shard: u32,
    owner: &str,
    thoroughly: bool,
    until: Deadline,
) -> SweepResult {
    let mut sweep = Sweep::new(shard);
    match hand_over_all_due(app, owner, thoroughly, until, &mut sweep).await {
        Ok(false) => {}
        Ok(true) => sweep.swept.more.push(shard),
        Err(error) => {
            tracing::error!(shard, %error, "timers wait for the next sweep: {error}");
        }
    }
    let Sweep { swept, unknown_queues: unknown, .. } = sweep;
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

/// Returns whether there are more.
async fn hand_over_all_due(
    app: &Services,
    owner: &str,
    thoroughly: bool,
    until: Deadline,
    sweep: &mut Sweep,
) -> Result<bool, Error> {
    let (mut leased, mut pages, mut from) = (false, 0, None);
    let more = loop {
        let now = app.clock.now().as_millisecond();
        let page = app.store.timers().due(sweep.shard, now, TIMERS_PER_PAGE, from.take()).await?;
        if !page.timers.is_empty() || page.unreadable > 0 {
            // the lease is taken only if something is due, so that an idle shard costs one read
            leased = leased || app.store.timers().lease_shard(sweep.shard, owner).await?;
            if !leased {
                return Ok(false); // another sweep has the lease
            }
            pages += 1;
            if !hand_over(app, &page, until, sweep).await? {
                break true;
            }
        }
        from = sweep.next_start(page);
        if from.is_none() {
            break false;
        }
        let enough =
            !thoroughly && (sweep.swept.handed_over >= TIMERS_PER_PAGE_LEN || pages >= MAX_PAGES_QUICK_SWEEP);
        if enough || !until.allows(&*app.clock, Duration::ZERO) {
            break true;
        }
    };
    if leased {
        app.store.timers().release_shard(sweep.shard, owner).await?;
    }
    Ok(more)
}

/// First into the queue, then out of the table. Returns whether it reached the end of the page in time.
async fn hand_over(
    app: &Services,
    page: &DuePage,
    until: Deadline,
    sweep: &mut Sweep,
) -> Result<bool, Error> {
    let known =
        |due: &DueTimer| JobQueue::from_name(&due.timer.queue).filter(|target| app.queues.has_url(*target));
    let in_time = || until.allows(&*app.clock, Duration::ZERO);
    if !sweep.is_later_round {
        sweep.swept.stuck += page.unreadable;
        for due in page.timers.iter().filter(|due| known(due).is_none()) {
            sweep.swept.stuck += 1;
            if sweep.unknown_queues.len() < MAX_NAMED_QUEUES {
                sweep.unknown_queues.insert(due.timer.queue.clone());
            }
        }
    }
    for target in JobQueue::ALL {
        let mut waiting: Vec<_> = page.timers.iter().filter(|due| known(due) == Some(target)).collect();
        let mut gone: Vec<&DueTimer> = Vec::new();
        loop {
            let batch = if in_time() { sweep.take_batch(target, &mut waiting) } else { Vec::new() };
            if batch.is_empty() && gone.is_empty() {
                break;
            }
            let parcels: Vec<_> = batch.iter().map(|due| parcel(due)).collect();
            let handing = async {
                match parcels.is_empty() {
                    true => SendResults { results: Vec::new(), stopped_by: None },
                    false => app.queues.send_messages(target, &parcels).await,
                }
            };
            let (over, deleted) = join(handing, app.store.timers().delete(std::mem::take(&mut gone))).await;
            gone = sweep.record_hand_over(target, &batch, over);
            deleted?;
        }
        if !waiting.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn parcel(due: &DueTimer) -> OutgoingMessage<'_> {
    OutgoingMessage { body: &due.timer.body, group_id: &due.timer.group, deduplication_id: &due.timer.once }
}

/// The state of one sweep of a shard.
struct Sweep {
    shard: u32,
    swept: SweepResult,
    /// Queues that this release does not know.
    unknown_queues: BTreeSet<String>,
    /// Queues that accept nothing at the moment: they are skipped for the rest of the sweep.
    closed_queues: HashSet<JobQueue>,
    /// FIFO groups with a timer that was not taken: the later ones must not overtake it.
    blocked_groups: HashSet<String>,
    /// FIFO groups with a timer that will never be taken: they get one turn, so that it is not tried twice.
    faulty_groups: HashSet<String>,
    /// FIFO groups of which more are due than a turn takes.
    long_groups: HashSet<String>,
    /// How many timers of each group were handed over in this round.
    handed_over_by_group: HashMap<String, usize>,
    /// Whether this is a later round than the first.
    is_later_round: bool,
    /// Where the next round begins to read.
    next_round_start: Option<TimerCursor>,
}

/// What happens to a timer.
#[derive(PartialEq, Eq)]
enum TimerAction {
    HandOver,
    /// In the next round.
    WaitForNextRound,
    /// In another sweep.
    WaitForNextSweep,
}

impl Sweep {
    fn new(shard: u32) -> Self {
        Self {
            shard,
            swept: SweepResult::default(),
            unknown_queues: BTreeSet::new(),
            closed_queues: HashSet::new(),
            blocked_groups: HashSet::new(),
            faulty_groups: HashSet::new(),
            long_groups: HashSet::new(),
            handed_over_by_group: HashMap::new(),
            is_later_round: false,
            next_round_start: None,
        }
    }

    fn action(&self, target: JobQueue, due: &DueTimer) -> TimerAction {
        let group = &due.timer.group;
        if self.closed_queues.contains(&target) {
            return TimerAction::WaitForNextSweep;
        }
        if !target.is_fifo() {
            // everything had its turn in the first round; a read may still show deleted items
            return if self.is_later_round { TimerAction::WaitForNextSweep } else { TimerAction::HandOver };
        }
        let faulty = self.faulty_groups.contains(group);
        if self.blocked_groups.contains(group)
            || (self.is_later_round && (faulty || !self.long_groups.contains(group)))
        {
            return TimerAction::WaitForNextSweep;
        }
        let turn = if self.is_later_round { TIMERS_PER_PAGE_LEN } else { TIMERS_PER_TURN };
        match self.handed_over_by_group.get(group).is_some_and(|went| *went >= turn) {
            false => TimerAction::HandOver,
            true if faulty => TimerAction::WaitForNextSweep,
            true => TimerAction::WaitForNextRound,
        }
    }

    /// Takes the timers of the next request out of `waiting`, in order; at most one
    /// of each FIFO group. Timers that have to wait are removed from `waiting` too.
    fn take_batch<'a>(&mut self, target: JobQueue, waiting: &mut Vec<&'a DueTimer>) -> Vec<&'a DueTimer> {
        let (mut batch, mut groups) = (Vec::with_capacity(MAX_BATCH_MESSAGES), HashSet::new());
        waiting.retain(|due| match self.action(target, due) {
            TimerAction::WaitForNextSweep => false,
            TimerAction::WaitForNextRound => {
                self.defer_group(due, due.cursor());
                false
            }
            TimerAction::HandOver => {
                let goes = batch.len() < MAX_BATCH_MESSAGES
                    && (!target.is_fifo() || groups.insert(&due.timer.group));
                if goes {
                    batch.push(*due);
                }
                !goes
            }
        });
        if target.is_fifo() {
            for due in &batch {
                *self.handed_over_by_group.entry(due.timer.group.clone()).or_default() += 1;
            }
        }
        batch
    }

    /// The rest of a group, from `from` on, waits for the next round.
    fn defer_group(&mut self, due: &DueTimer, from: TimerCursor) {
        if !self.long_groups.contains(&due.timer.group) {
            self.long_groups.insert(due.timer.group.clone());
        }
        if self.next_round_start.as_ref().is_none_or(|rest| from < *rest) {
            self.next_round_start = Some(from);
        }
    }

    /// Records the result of a batch. Returns the timers that the queue has taken.
    fn record_hand_over<'a>(
        &mut self,
        target: JobQueue,
        batch: &[&'a DueTimer],
        over: SendResults,
    ) -> Vec<&'a DueTimer> {
        let (mut gone, mut refused) = (Vec::with_capacity(batch.len()), None);
        for (due, became) in batch.iter().zip(over.results) {
            match became {
                None => {}
                Some(Ok(())) => gone.push(*due),
                Some(Err(why)) => {
                    let groups =
                        if why.is_permanent { &mut self.faulty_groups } else { &mut self.blocked_groups };
                    if target.is_fifo() {
                        groups.insert(due.timer.group.clone());
                    }
                    self.swept.stuck += usize::from(why.is_permanent);
                    refused = Some(Error::Queue(why.code));
                }
            }
        }
        self.swept.handed_over += gone.len();
        let left = batch.len() - gone.len();
        if over.stopped_by.is_some() {
            self.closed_queues.insert(target);
        }
        if let Some(error) = over.stopped_by.or(refused) {
            let queue = target.name();
            tracing::warn!(queue, timers = left, %error, "timers wait for the next sweep: {error}");
        }
        gone
    }

    /// Where to read next: behind a group of which nothing can go in this round,
    /// otherwise behind the page; after the last page, where the next round begins.
    fn next_start(&mut self, page: DuePage) -> Option<TimerCursor> {
        let last =
            page.last_readable().and_then(|last| Some((last, JobQueue::from_name(&last.timer.queue)?)));
        let line = last.filter(|(_, target)| target.is_fifo());
        let fate = line.map(|(last, target)| (last, self.action(target, last)));
        let jump = match (fate, &page.next) {
            (Some((last, TimerAction::WaitForNextSweep)), _) => Some(last.cursor_after_ordering_key()),
            (Some((last, TimerAction::WaitForNextRound)), Some(next)) => {
                self.defer_group(last, next.clone());
                Some(last.cursor_after_ordering_key())
            }
            _ => None,
        };
        let next = jump.or(page.next);
        if next.is_some() || self.next_round_start.is_none() {
            return next;
        }
        self.handed_over_by_group.clear();
        self.is_later_round = true;
        self.next_round_start.take()
    }
}
