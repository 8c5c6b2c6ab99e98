//! Rate limit per tenant over all instances, at the cost of one write per 1/50 of the limit.
//!
//! Each instance counts in windows of [`WINDOW_SECONDS`]; costly lists count more (`route_policy`). Once it
//! has counted 1/50 of the window's limit, it adds that to the tenant's counter and reads the total; above
//! the limit it refuses until the window's end. The error is what is not added yet: 50 instances allow twice
//! the limit, with a few instances some percent more. A tenant with few requests costs no write.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use shared::{problem::Problem, services::Services};

/// Length of a window, and so of the longest burst.
const WINDOW_SECONDS: i64 = 5;
/// An instance writes after each such part of a window's limit.
const PARTS_PER_WINDOW: u64 = 50;
/// Maximum windows in memory; beyond it, ended windows are dropped.
const MAX_WINDOWS: usize = 10_000;

/// Kinds of requests with a limit of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestClass {
    /// GET.
    Read,
    /// All other methods.
    Write,
}

impl RequestClass {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// Requests per second; [`None`] without a limit.
    fn limit(self, app: &Services) -> Option<u32> {
        match self {
            Self::Read => app.config.tenant_rates.read,
            Self::Write => app.config.tenant_rates.write,
        }
    }
}

/// The counts of one instance.
#[derive(Default)]
pub struct RateLimiter(Mutex<HashMap<(String, RequestClass), RateWindow>>);

#[derive(Default)]
struct RateWindow {
    /// The window's index since 1970.
    number: i64,
    /// Counted by this instance and not yet added to the tenant's counter.
    uncounted: u64,
    /// The limit is reached: refuse until the window ends.
    exhausted: bool,
}

/// The decision about one request.
enum RateDecision {
    Pass,
    /// Add this count to the tenant's counter and compare the total.
    Add(u64),
    Refuse,
}

impl RateLimiter {
    /// Counts one request of weight `weight` against the tenant's limit.
    ///
    /// # Errors
    /// 429 above it.
    pub async fn take(
        &self,
        app: &Services,
        tenant: &str,
        class: RequestClass,
        weight: u64,
    ) -> Result<(), Problem> {
        let Some(limit) = class.limit(app) else { return Ok(()) };
        let now = app.clock.unix();
        let number = now.div_euclid(WINDOW_SECONDS);
        let ends_in = (number + 1) * WINDOW_SECONDS - now;
        let allowed = u64::from(limit) * WINDOW_SECONDS.unsigned_abs();
        // a weight above the whole limit would never pass
        match self.count(tenant, class, number, (weight.min(allowed), allowed)) {
            RateDecision::Pass => Ok(()),
            RateDecision::Refuse => Err(Problem::rate_limited(ends_in)),
            RateDecision::Add(part) => {
                let window = (number, WINDOW_SECONDS);
                match app.store.request_counts().add(tenant, class.name(), window, part).await {
                    Ok(all) if all >= allowed => {
                        self.mark_exhausted(tenant, class, number);
                        // the request that reaches the limit still passes
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

    fn count(
        &self,
        tenant: &str,
        class: RequestClass,
        number: i64,
        (weight, allowed): (u64, u64),
    ) -> RateDecision {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MAX_WINDOWS {
            windows.retain(|_, window| window.number == number);
        }
        let window = windows.entry((tenant.to_owned(), class)).or_default();
        if window.number != number {
            *window = RateWindow { number, ..RateWindow::default() };
        }
        if window.exhausted {
            return RateDecision::Refuse;
        }
        window.uncounted += weight;
        if window.uncounted < (allowed / PARTS_PER_WINDOW).max(1) {
            return RateDecision::Pass;
        }
        RateDecision::Add(std::mem::take(&mut window.uncounted))
    }

    fn mark_exhausted(&self, tenant: &str, class: RequestClass, number: i64) {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = windows.get_mut(&(tenant.to_owned(), class)).filter(|w| w.number == number) {
            window.exhausted = true;
        }
    }
}
