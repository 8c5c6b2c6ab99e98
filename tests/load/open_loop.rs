//! An open-loop load generator: requests start at a fixed rate and do not wait for responses.

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

/// Maximum open requests, at which the run ends: the client's sockets are limited too.
const MAX_OPEN_REQUESTS: usize = 2_000;

/// The result of a run.
pub struct LoadResult {
    /// From each request's due time to its response, sorted.
    latencies: Vec<Duration>,
    /// Requests that were due and not sent: too many were open.
    pub dropped: usize,
    /// From the first due time to the last response.
    pub took: Duration,
}

impl LoadResult {
    /// The result of requests made elsewhere, one after the other.
    pub fn of(mut latencies: Vec<Duration>, took: Duration) -> Self {
        latencies.sort_unstable();
        Self { latencies, dropped: 0, took }
    }

    /// The latency that this fraction of requests did not exceed.
    pub fn quantile(&self, part: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let at = (part * last as f64).round() as usize;
        self.latencies.get(at).copied().unwrap_or(Duration::MAX)
    }

    /// Responses per second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// Median, 99th percentile and maximum latency, as text.
    pub fn summary(&self) -> String {
        let ms = |part| self.quantile(part).as_secs_f64() * 1000.0;
        format!("p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", ms(0.5), ms(0.99), ms(1.0))
    }
}

/// Sends `count` requests at `rate` per second. `request` panics on failure.
pub async fn run_open<F>(rate: f64, count: usize, mut request: impl FnMut() -> F) -> LoadResult
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
        if open.fetch_add(1, Ordering::Relaxed) >= MAX_OPEN_REQUESTS {
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
    LoadResult { latencies, dropped: count - sent, took: begun.elapsed() }
}

/// Sends `count` requests, `clients` at a time; returns responses per second.
pub async fn run_closed<F>(
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
