//! A queue with SQS's worst behaviour: reordered and repeated messages, and workers that die at any `await`.

use std::{collections::BTreeMap, pin::pin, sync::Mutex, task::Poll, time::Duration};

use follower_import::job::{Budget, Delivery, Outbox, Outcome, deliver};
use futures::future::{BoxFuture, join_all};
use shared::{
    app::App,
    clock::Clock,
    deadline::Deadline,
    error::Error,
    queue::jobs::ImportJob,
    random::{Rand, Random},
};

use super::World;

/// Visibility timeout of the import queue, seconds.
const VISIBILITY: i64 = 360;
/// Jobs that run concurrently.
const TOGETHER: usize = 4;
/// More steps than any of these tests needs.
const DELIVERIES: usize = 20_000;

#[derive(Clone)]
struct Message {
    id: String,
    job: ImportJob,
    ready_at: i64,
    receives: u32,
}

pub struct Queue<'w> {
    world: &'w World,
    random: Rand,
    /// This percentage of deliveries crash and of jobs come twice; an eighth as many sends fail.
    trouble: u64,
    /// What each job may do.
    pub budget: Budget,
    /// How long a delivery may go on.
    pub patience: Option<Duration>,
    /// Jobs of this type are lost, after the first so many.
    pub lose: Mutex<Option<(&'static str, usize)>>,
    /// How often jobs of each type were delivered.
    pub delivered: Mutex<BTreeMap<String, usize>>,
    messages: Mutex<Vec<Message>>,
    sent: Mutex<u64>,
}

impl<'w> Queue<'w> {
    pub fn new(world: &'w World, seed: u64, trouble: u64, first: ImportJob) -> Self {
        let queue = Self {
            world,
            random: Rand::seeded(seed),
            trouble,
            budget: Budget::of(Duration::from_secs(60)),
            patience: None,
            lose: Mutex::default(),
            delivered: Mutex::default(),
            messages: Mutex::default(),
            sent: Mutex::default(),
        };
        queue.push(first, 0);
        queue
    }

    pub fn push(&self, job: ImportJob, delay: i64) {
        if let Some((lost, after)) = self.lose.lock().unwrap().as_mut()
            && *lost == kind(&job)
        {
            if *after == 0 {
                return;
            }
            *after -= 1;
        }
        let mut sent = self.sent.lock().unwrap();
        *sent += 1;
        let ready_at = self.world.clock.unix() + delay;
        let message = Message { id: format!("m{sent}"), job, ready_at, receives: 0 };
        self.messages.lock().unwrap().push(message);
    }

    fn chance(&self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    fn take(&self) -> Vec<Message> {
        let mut messages = self.messages.lock().unwrap();
        let Some(soonest) = messages.iter().map(|m| m.ready_at).min() else { return Vec::new() };
        self.world.clock.advance(soonest - self.world.clock.unix());
        let now = self.world.clock.unix();
        let mut taken = Vec::new();
        for _ in 0..TOGETHER {
            let ready: Vec<_> = (0..messages.len()).filter(|n| messages[*n].ready_at <= now).collect();
            let Some(n) = ready.get(self.random.below(ready.len() as u64) as usize) else { break };
            let mut message = messages.swap_remove(*n);
            message.receives += 1;
            if self.chance(self.trouble) {
                messages.push(Message { ready_at: now + self.random.below(900) as i64, ..message.clone() });
            }
            *self.delivered.lock().unwrap().entry(kind(&message.job)).or_default() += 1;
            taken.push(message);
        }
        taken
    }

    /// Delivers some jobs together; `false` when there are none.
    pub async fn step(&self) -> bool {
        let taken = self.take();
        let work = taken.into_iter().map(|message| async move {
            let delivery = Delivery {
                message_id: &message.id,
                receive_count: message.receives,
                budget: self.budget,
                until: self.patience.map_or(Deadline::NEVER, |time| Deadline::after(&self.world.clock, time)),
            };
            let polls = if self.chance(self.trouble) { self.random.below(60) } else { u64::MAX };
            let done = crash_after(polls, deliver(&self.world.app, &message.job, delivery, self)).await;
            let again = match done {
                Some(Outcome::Done) => return 1,
                Some(Outcome::Again(after, _)) => after.as_secs() as i64,
                None => VISIBILITY,
            };
            let ready_at = self.world.clock.unix() + again;
            self.messages.lock().unwrap().push(Message { ready_at, ..message.clone() });
            1
        });
        !join_all(work).await.is_empty()
    }

    /// Runs until the queue is empty, and calls `meanwhile` after each step.
    pub async fn drain(&self, mut meanwhile: impl AsyncFnMut(usize)) {
        for step in 0..DELIVERIES {
            if !self.step().await {
                return;
            }
            self.world.clock.advance(1);
            meanwhile(step).await;
        }
        panic!("it never ends: {:?}", self.messages.lock().unwrap().first().map(|m| &m.job));
    }
}

impl Outbox for Queue<'_> {
    fn put(&self, jobs: Vec<ImportJob>, delay: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            for job in jobs {
                if self.chance(self.trouble / 8) {
                    return Err(Error::Queue("the rest of the batch".into()));
                }
                tokio::task::yield_now().await;
                self.push(job, delay.as_secs() as i64);
            }
            Ok(())
        })
    }

    fn at<'a>(
        &'a self,
        app: &'a App,
        _: &'a str,
        due: i64,
        job: &'a ImportJob,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.put(vec![job.clone()], Duration::from_secs((due - app.clock.unix()).max(0).unsigned_abs()))
    }
}

/// The job's `type`.
fn kind(job: &ImportJob) -> String {
    serde_json::to_value(job).unwrap()["type"].as_str().unwrap().to_owned()
}

/// Polls `work` at most `polls` times, then drops it where it stands.
async fn crash_after<F: Future>(polls: u64, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut left = polls;
    std::future::poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(cx).map(Some)
    })
    .await
}
