//! Requests at a rate that does not wait for answers, as the world's do: whoever is slow finds more of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Requests without an answer at which it is over: a client's sockets are bounded too.
const TOO_MANY: usize = 2_000;

/// How it went.
pub struct Outcome {
    /// From when each was due to its answer, sorted.
    latencies: Vec<Duration>,
    /// Requests that were due and not sent: too many were open.
    pub dropped: usize,
    /// From the first due to the last answer.
    pub took: Duration,
}

impl Outcome {
    /// That of requests that somebody else made, who waited for each answer.
    pub fn of(mut latencies: Vec<Duration>, took: Duration) -> Self {
        latencies.sort_unstable();
        Self { latencies, dropped: 0, took }
    }

    /// The latency that this part of all requests kept within.
    pub fn quantile(&self, part: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let at = (part * last as f64).round() as usize;
        self.latencies.get(at).copied().unwrap_or(Duration::MAX)
    }

    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// Half, nearly all, and all requests' latencies.
    pub fn shown(&self) -> String {
        let ms = |part| self.quantile(part).as_secs_f64() * 1000.0;
        format!("p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", ms(0.5), ms(0.99), ms(1.0))
    }
}

/// Sends `count` requests, `rate` a second. `request` fails loudly.
pub async fn run<F>(rate: f64, count: usize, mut request: impl FnMut() -> F) -> Outcome
where
    F: Future<Output = ()> + Send + 'static,
{
    let open = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    let mut sent = 0;
    for number in 0..count {
        let due = begun + Duration::from_secs_f64(number as f64 / rate);
        sleep_until(due).await;
        if open.fetch_add(1, Ordering::Relaxed) >= TOO_MANY {
            break;
        }
        sent += 1;
        let (open, request) = (Arc::clone(&open), request());
        tasks.spawn(async move {
            request.await;
            open.fetch_sub(1, Ordering::Relaxed);
            due.elapsed()
        });
    }
    let mut latencies = tasks.join_all().await;
    latencies.sort_unstable();
    Outcome { latencies, dropped: count - sent, took: begun.elapsed() }
}

/// Sends `count` requests, `clients` at a time; answers a second.
pub async fn closed<F>(
    clients: usize,
    count: usize,
    request: impl Fn(usize) -> F + Send + Sync + 'static,
) -> f64
where
    F: Future<Output = ()> + Send,
{
    let (next, request) = (Arc::new(AtomicUsize::new(0)), Arc::new(request));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (next, request) = (Arc::clone(&next), Arc::clone(&request));
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                request(number).await;
            }
        });
    }
    tasks.join_all().await;
    count as f64 / begun.elapsed().as_secs_f64()
}
