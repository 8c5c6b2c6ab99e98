//! How many requests a tenant makes, over all instances, at the cost of a write for every fiftieth part of its limit.
//!
//! Each instance counts in windows of [`WINDOW_SECONDS`], a costly list as several requests (`access`). Whenever it has
//! counted a fiftieth of what the window allows, it adds that to the tenant's counter and learns what all have counted; above
//! the limit it refuses until the window ends. What instances have not added yet is the error: with fifty of them at once a tenant gets at most twice its
//! limit, with a few a few hundredths more. A tenant that makes few requests costs nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use shared::{app::App, problem::Problem};

/// Length of a window: so long may a burst be.
const WINDOW_SECONDS: i64 = 5;
/// Into how many parts a window's limit is cut.
const PARTS: u64 = 50;
/// Windows remembered at most; beyond it those that ended are forgotten.
const REMEMBERED: usize = 10_000;

/// Kinds of requests with a limit of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// GET.
    Read,
    /// What sends or changes.
    Write,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// Requests a second; [`None`] without a limit.
    fn limit(self, app: &App) -> Option<u32> {
        match self {
            Self::Read => app.config.tenant_rates.read,
            Self::Write => app.config.tenant_rates.write,
        }
    }
}

/// What one instance has counted.
#[derive(Default)]
pub struct Rates(Mutex<HashMap<(String, Class), Window>>);

#[derive(Default)]
struct Window {
    /// The how manieth since 1970.
    number: i64,
    /// What this instance has counted and not added yet.
    own: u64,
    /// Above the limit.
    closed: bool,
}

/// What is to be done with a request.
enum Verdict {
    Pass,
    /// Add so many and look.
    Add(u64),
    Refuse,
}

impl Rates {
    /// Takes one request of a tenant's limit, which counts as `weight`.
    ///
    /// # Errors
    /// 429 above it.
    pub async fn take(&self, app: &App, tenant: &str, class: Class, weight: u64) -> Result<(), Problem> {
        let Some(limit) = class.limit(app) else { return Ok(()) };
        let now = app.clock.unix();
        let number = now.div_euclid(WINDOW_SECONDS);
        let ends_in = (number + 1) * WINDOW_SECONDS - now;
        let allowed = u64::from(limit) * WINDOW_SECONDS.unsigned_abs();
        // a list alone is within any limit
        match self.count(tenant, class, number, (weight.min(allowed), allowed)) {
            Verdict::Pass => Ok(()),
            Verdict::Refuse => Err(Problem::rate_limited(ends_in)),
            Verdict::Add(part) => {
                let window = (number, WINDOW_SECONDS);
                match app.store.count_requests(tenant, class.name(), window, part).await {
                    Ok(all) if all >= allowed => {
                        self.close(tenant, class, number);
                        // the one that reaches the limit is the last that passes
                        if all > allowed { Err(Problem::rate_limited(ends_in)) } else { Ok(()) }
                    }
                    Ok(_) => Ok(()),
                    Err(error) => {
                        tracing::warn!(%error, "a tenant's requests could not be counted: {error}");
                        Ok(())
                    }
                }
            }
        }
    }

    fn count(&self, tenant: &str, class: Class, number: i64, (weight, allowed): (u64, u64)) -> Verdict {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= REMEMBERED {
            windows.retain(|_, window| window.number == number);
        }
        let window = windows.entry((tenant.to_owned(), class)).or_default();
        if window.number != number {
            *window = Window { number, ..Window::default() };
        }
        if window.closed {
            return Verdict::Refuse;
        }
        window.own += weight;
        if window.own < (allowed / PARTS).max(1) {
            return Verdict::Pass;
        }
        Verdict::Add(std::mem::take(&mut window.own))
    }

    fn close(&self, tenant: &str, class: Class, number: i64) {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = windows.get_mut(&(tenant.to_owned(), class)).filter(|w| w.number == number) {
            window.closed = true;
        }
    }
}
