//! A queue with SQS's worst behaviour: reordered and repeated messages, and workers that die at any `await`.

use std::{collections::BTreeMap, pin::pin, sync::Mutex, task::Poll, time::Duration};

use follower_import::{
    dispatch, new_fans,
    types::{Budget, ImportJobOutcome, JobDelivery, Outbox},
};
use futures::future::{BoxFuture, join_all};
use shared::{
    clock::Clock,
    deadline::Deadline,
    error::Error,
    queue::jobs::{FollowerImportJob, FollowerJob, ImportJob},
    random::{Random, StdRandom},
    services::Services,
    timers::TimerJob,
};

use super::ImportHarness;

/// Visibility timeout of the import queue, seconds.
const VISIBILITY_TIMEOUT_SECONDS: i64 = 360;
/// Jobs that run concurrently.
const CONCURRENT_JOBS: usize = 4;
/// More steps than any of these tests needs.
const MAX_STEPS: usize = 20_000;

#[derive(Clone)]
struct QueuedJob {
    id: String,
    job: FollowerImportJob,
    ready_at: i64,
    receives: u32,
}

pub struct UnreliableQueue<'w> {
    harness: &'w ImportHarness,
    random: StdRandom,
    /// This percentage of deliveries crash and of jobs come twice; an eighth as many sends fail.
    fault_percent: u64,
    /// What each job may do.
    pub budget: Budget,
    /// How long a delivery may go on.
    pub time_limit: Option<Duration>,
    /// Jobs of this type are lost, after the first so many.
    pub lost_jobs: Mutex<Option<(&'static str, usize)>>,
    /// How often jobs of each type were delivered.
    pub delivered: Mutex<BTreeMap<String, usize>>,
    messages: Mutex<Vec<QueuedJob>>,
    sent: Mutex<u64>,
}

impl<'w> UnreliableQueue<'w> {
    pub fn new(harness: &'w ImportHarness, seed: u64, trouble: u64, first: ImportJob) -> Self {
        let queue = Self::empty(harness, seed, trouble);
        queue.push(first, 0);
        queue
    }

    /// With the job of a new fan.
    pub fn with_new_fan(harness: &'w ImportHarness, trouble: u64, job: FollowerJob) -> Self {
        let queue = Self::empty(harness, 1, trouble);
        queue.push_new_fan(job);
        queue
    }

    fn empty(harness: &'w ImportHarness, seed: u64, trouble: u64) -> Self {
        Self {
            harness,
            random: StdRandom::seeded(seed),
            fault_percent: trouble,
            budget: Budget::of(Duration::from_secs(60)),
            time_limit: None,
            lost_jobs: Mutex::default(),
            delivered: Mutex::default(),
            messages: Mutex::default(),
            sent: Mutex::default(),
        }
    }

    pub fn push(&self, job: ImportJob, delay: i64) {
        self.push_any(FollowerImportJob::Import(job), delay);
    }

    pub fn push_new_fan(&self, job: FollowerJob) {
        self.push_any(FollowerImportJob::Follower(job), 0);
    }

    fn push_any(&self, job: FollowerImportJob, delay: i64) {
        if let Some((lost, after)) = self.lost_jobs.lock().unwrap().as_mut()
            && *lost == job_type(&job)
        {
            if *after == 0 {
                return;
            }
            *after -= 1;
        }
        let mut sent = self.sent.lock().unwrap();
        *sent += 1;
        let ready_at = self.harness.clock.unix() + delay;
        let message = QueuedJob { id: format!("m{sent}"), job, ready_at, receives: 0 };
        self.messages.lock().unwrap().push(message);
    }

    fn chance(&self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    fn receive(&self) -> Vec<QueuedJob> {
        let mut messages = self.messages.lock().unwrap();
        let Some(soonest) = messages.iter().map(|m| m.ready_at).min() else { return Vec::new() };
        self.harness.clock.advance(soonest - self.harness.clock.unix());
        let now = self.harness.clock.unix();
        let mut taken = Vec::new();
        for _ in 0..CONCURRENT_JOBS {
            let ready: Vec<_> = (0..messages.len()).filter(|n| messages[*n].ready_at <= now).collect();
            let Some(n) = ready.get(self.random.below(ready.len() as u64) as usize) else { break };
            let mut message = messages.swap_remove(*n);
            message.receives += 1;
            if self.chance(self.fault_percent) {
                messages.push(QueuedJob { ready_at: now + self.random.below(900) as i64, ..message.clone() });
            }
            *self.delivered.lock().unwrap().entry(job_type(&message.job)).or_default() += 1;
            taken.push(message);
        }
        taken
    }

    /// Delivers some jobs together; `false` when there are none.
    pub async fn step(&self) -> bool {
        let taken = self.receive();
        let work = taken.into_iter().map(|message| async move {
            let delivery = JobDelivery {
                message_id: &message.id,
                receive_count: message.receives,
                budget: self.budget,
                until: self
                    .time_limit
                    .map_or(Deadline::NEVER, |time| Deadline::after(&self.harness.clock, time)),
            };
            let polls = if self.chance(self.fault_percent) { self.random.below(60) } else { u64::MAX };
            let done = crash_after(polls, self.run(&message.job, delivery)).await;
            let again = match done {
                Some(ImportJobOutcome::Done) => return 1,
                Some(ImportJobOutcome::Retry(after, _)) => after.as_secs() as i64,
                None => VISIBILITY_TIMEOUT_SECONDS,
            };
            let ready_at = self.harness.clock.unix() + again;
            self.messages.lock().unwrap().push(QueuedJob { ready_at, ..message.clone() });
            1
        });
        !join_all(work).await.is_empty()
    }

    async fn run(&self, job: &FollowerImportJob, delivery: JobDelivery<'_>) -> ImportJobOutcome {
        let app = &self.harness.app;
        match job {
            FollowerImportJob::Import(job) => Box::pin(dispatch::run_job(app, job, delivery, self)).await,
            FollowerImportJob::Follower(job) => {
                let batch = [(job.clone(), delivery)];
                Box::pin(new_fans::run_batch(app, &batch, self)).await.pop().unwrap()
            }
        }
    }

    /// Fails for the rest of a batch, or queues the job.
    async fn enqueue_one(&self, job: FollowerImportJob, delay: i64) -> Result<(), Error> {
        if self.chance(self.fault_percent / 8) {
            return Err(Error::Queue("the rest of the batch".into()));
        }
        tokio::task::yield_now().await;
        self.push_any(job, delay);
        Ok(())
    }

    /// Runs until the queue is empty, and calls `meanwhile` after each step.
    pub async fn drain(&self, mut meanwhile: impl AsyncFnMut(usize)) {
        for step in 0..MAX_STEPS {
            if !self.step().await {
                return;
            }
            self.harness.clock.advance(1);
            meanwhile(step).await;
        }
        panic!("it never ends: {:?}", self.messages.lock().unwrap().first().map(|m| &m.job));
    }
}

impl Outbox for UnreliableQueue<'_> {
    fn enqueue(&self, jobs: Vec<ImportJob>, delay: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            for job in jobs {
                self.enqueue_one(FollowerImportJob::Import(job), delay.as_secs() as i64).await?;
            }
            Ok(())
        })
    }

    fn schedule<'a>(
        &'a self,
        app: &'a Services,
        _: &'a str,
        due: i64,
        job: TimerJob<'a>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let job = match job {
            TimerJob::Import(job) => FollowerImportJob::Import(job.clone()),
            TimerJob::Follower(job) => FollowerImportJob::Follower(job.clone()),
            TimerJob::Send(_) => panic!("an import sends nothing"),
        };
        Box::pin(self.enqueue_one(job, (due - app.clock.unix()).max(0)))
    }
}

/// The job's `type`.
fn job_type(job: &FollowerImportJob) -> String {
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
