//! Hands over what is due, in rounds. In the first all have a turn, at most [`TIMERS_PER_TURN`]
//! timers of each FIFO group; later rounds go on with the long groups, a page each. A round skips the
//! rest of a group that had its turn, so that a group of 50,000 costs the others one read. Within a
//! group the order is kept: behind a timer that was not taken the group waits, for the next round or,
//! if the queue refused it, the next sweep. Timers that the queue will never take are skipped.
//!
//! Timers are deleted during the next request: a sweep that dies delivers the last [`BATCH`] twice.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use futures::future::{join, join_all};

use super::{PAGE, PASSED, TURN};
use crate::{
    app::App,
    deadline::Deadline,
    error::Error,
    queue::{BATCH, HandedOver, Parcel, Target},
    store::{
        keys::TIMER_SHARDS,
        timers::{Begin, DuePage, DueTimer},
    },
};

/// Most names of unknown queues in a log line.
const NAMED: usize = 5;
/// [`TIMERS_PER_PAGE`] as a `usize`.
const A_PAGE: usize = PAGE.unsigned_abs() as usize;

/// The result of a sweep.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Timers that were handed over.
    pub handed: usize,
    /// Due timers that no sweep of this release can hand over, among those that were read.
    pub stuck: usize,
    /// Shards in which more are due.
    pub more: Vec<u32>,
}

/// Hands over what is due in `shards`: about a page of each, or everything if `thoroughly`; until `until`.
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

/// The numbers of all shards.
#[must_use]
pub fn shards() -> Vec<u32> {
    (0..TIMER_SHARDS).collect()
}

async fn one(app: &App, shard: u32, owner: &str, thoroughly: bool, until: Deadline) -> Swept {
    let mut sweep = Sweep::new(shard);
    match all_due(app, owner, thoroughly, until, &mut sweep).await {
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

/// Returns whether there are more.
async fn all_due(
    app: &App,
    owner: &str,
    thoroughly: bool,
    until: Deadline,
    sweep: &mut Sweep,
) -> Result<bool, Error> {
    let (mut leased, mut pages, mut from) = (false, 0, None);
    let more = loop {
        let now = app.clock.now().as_millisecond();
        let page = app.store.due_timers(sweep.shard, now, PAGE, from.take()).await?;
        if !page.timers.is_empty() || page.unreadable > 0 {
            // the lease is taken only if something is due, so that an idle shard costs one read
            leased = leased || app.store.lease_timers(sweep.shard, owner).await?;
            if !leased {
                return Ok(false); // another sweep has the lease
            }
            pages += 1;
            if !hand_over(app, &page, until, sweep).await? {
                break true;
            }
        }
        from = sweep.next(page);
        if from.is_none() {
            break false;
        }
        let enough = !thoroughly && (sweep.swept.handed >= A_PAGE || pages >= PASSED);
        if enough || !until.allows(&*app.clock, Duration::ZERO) {
            break true;
        }
    };
    if leased {
        app.store.release_timers(sweep.shard, owner).await?;
    }
    Ok(more)
}

/// First into the queue, then out of the table. Returns whether it reached the end of the page in time.
async fn hand_over(app: &App, page: &DuePage, until: Deadline, sweep: &mut Sweep) -> Result<bool, Error> {
    let known = |due: &DueTimer| Target::named(&due.timer.queue).filter(|target| app.queues.reaches(*target));
    let in_time = || until.allows(&*app.clock, Duration::ZERO);
    if !sweep.is_again {
        sweep.swept.stuck += page.unreadable;
        for due in page.timers.iter().filter(|due| known(due).is_none()) {
            sweep.swept.stuck += 1;
            if sweep.unknown.len() < NAMED {
                sweep.unknown.insert(due.timer.queue.clone());
            }
        }
    }
    for target in Target::ALL {
        let mut waiting: Vec<_> = page.timers.iter().filter(|due| known(due) == Some(target)).collect();
        let mut gone: Vec<&DueTimer> = Vec::new();
        loop {
            let batch = if in_time() { sweep.batch(target, &mut waiting) } else { Vec::new() };
            if batch.is_empty() && gone.is_empty() {
                break;
            }
            let parcels: Vec<_> = batch.iter().map(|due| parcel(due)).collect();
            let handing = async {
                match parcels.is_empty() {
                    true => HandedOver { each: Vec::new(), stopped: None },
                    false => app.queues.hand_over(target, &parcels).await,
                }
            };
            let (over, deleted) = join(handing, app.store.delete_timers(std::mem::take(&mut gone))).await;
            gone = sweep.note(target, &batch, over);
            deleted?;
        }
        if !waiting.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn parcel(due: &DueTimer) -> Parcel<'_> {
    Parcel { body: &due.timer.body, group: &due.timer.group, once: &due.timer.once }
}

/// The state of one sweep of a shard.
struct Sweep {
    shard: u32,
    swept: Swept,
    /// Queues that this release does not know.
    unknown: BTreeSet<String>,
    /// Queues that accept nothing at the moment: they are skipped for the rest of the sweep.
    closed: HashSet<Target>,
    /// FIFO groups with a timer that was not taken: the later ones must not overtake it.
    behind: HashSet<String>,
    /// FIFO groups with a timer that will never be taken: they get one turn, so that it is not tried twice.
    faulty: HashSet<String>,
    /// FIFO groups of which more are due than a turn takes.
    long: HashSet<String>,
    /// How many timers of each group were handed over in this round.
    turns: HashMap<String, usize>,
    /// Whether this is a later round than the first.
    is_again: bool,
    /// Where the next round begins to read.
    rest: Option<Begin>,
}

/// What happens to a timer.
#[derive(PartialEq, Eq)]
enum Fate {
    Goes,
    /// In the next round.
    Waits,
    /// In another sweep.
    Stays,
}

impl Sweep {
    fn new(shard: u32) -> Self {
        Self {
            shard,
            swept: Swept::default(),
            unknown: BTreeSet::new(),
            closed: HashSet::new(),
            behind: HashSet::new(),
            faulty: HashSet::new(),
            long: HashSet::new(),
            turns: HashMap::new(),
            is_again: false,
            rest: None,
        }
    }

    fn fate(&self, target: Target, due: &DueTimer) -> Fate {
        let group = &due.timer.group;
        if self.closed.contains(&target) {
            return Fate::Stays;
        }
        if !target.is_fifo() {
            // everything had its turn in the first round; a read may still show deleted items
            return if self.is_again { Fate::Stays } else { Fate::Goes };
        }
        let faulty = self.faulty.contains(group);
        if self.behind.contains(group) || (self.is_again && (faulty || !self.long.contains(group))) {
            return Fate::Stays;
        }
        let turn = if self.is_again { A_PAGE } else { TURN };
        match self.turns.get(group).is_some_and(|went| *went >= turn) {
            false => Fate::Goes,
            true if faulty => Fate::Stays,
            true => Fate::Waits,
        }
    }

    /// Takes the timers of the next request out of `waiting`, in order; at most one
    /// of each FIFO group. Timers that have to wait are removed from `waiting` too.
    fn batch<'a>(&mut self, target: Target, waiting: &mut Vec<&'a DueTimer>) -> Vec<&'a DueTimer> {
        let (mut batch, mut groups) = (Vec::with_capacity(BATCH), HashSet::new());
        waiting.retain(|due| match self.fate(target, due) {
            Fate::Stays => false,
            Fate::Waits => {
                self.leave(due, due.here());
                false
            }
            Fate::Goes => {
                let goes = batch.len() < BATCH && (!target.is_fifo() || groups.insert(&due.timer.group));
                if goes {
                    batch.push(*due);
                }
                !goes
            }
        });
        if target.is_fifo() {
            for due in &batch {
                *self.turns.entry(due.timer.group.clone()).or_default() += 1;
            }
        }
        batch
    }

    /// The rest of a group, from `from` on, waits for the next round.
    fn leave(&mut self, due: &DueTimer, from: Begin) {
        if !self.long.contains(&due.timer.group) {
            self.long.insert(due.timer.group.clone());
        }
        if self.rest.as_ref().is_none_or(|rest| from < *rest) {
            self.rest = Some(from);
        }
    }

    /// Records the result of a batch. Returns the timers that the queue has taken.
    fn note<'a>(&mut self, target: Target, batch: &[&'a DueTimer], over: HandedOver) -> Vec<&'a DueTimer> {
        let (mut gone, mut refused) = (Vec::with_capacity(batch.len()), None);
        for (due, became) in batch.iter().zip(over.each) {
            match became {
                None => {}
                Some(Ok(())) => gone.push(*due),
                Some(Err(why)) => {
                    let groups = if why.for_good { &mut self.faulty } else { &mut self.behind };
                    if target.is_fifo() {
                        groups.insert(due.timer.group.clone());
                    }
                    self.swept.stuck += usize::from(why.for_good);
                    refused = Some(Error::Queue(why.why));
                }
            }
        }
        self.swept.handed += gone.len();
        let left = batch.len() - gone.len();
        if over.stopped.is_some() {
            self.closed.insert(target);
        }
        if let Some(error) = over.stopped.or(refused) {
            let queue = target.name();
            tracing::warn!(queue, timers = left, %error, "timers wait for the next sweep: {error}");
        }
        gone
    }

    /// Where to read next: behind a group of which nothing can go in this round,
    /// otherwise behind the page; after the last page, where the next round begins.
    fn next(&mut self, page: DuePage) -> Option<Begin> {
        let last = page.last().and_then(|last| Some((last, Target::named(&last.timer.queue)?)));
        let line = last.filter(|(_, target)| target.is_fifo());
        let fate = line.map(|(last, target)| (last, self.fate(target, last)));
        let jump = match (fate, &page.next) {
            (Some((last, Fate::Stays)), _) => Some(last.behind_line()),
            (Some((last, Fate::Waits)), Some(next)) => {
                self.leave(last, next.clone());
                Some(last.behind_line())
            }
            _ => None,
        };
        let next = jump.or(page.next);
        if next.is_some() || self.rest.is_none() {
            return next;
        }
        self.turns.clear();
        self.is_again = true;
        self.rest.take()
    }
}
