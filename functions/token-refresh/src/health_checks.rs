//! Health checks for what no event reports: how old the ticket is, whose token was not refreshed in time, and
//! which import is stuck; such an import is queued again. A check costs the same few reads for a hub of any
//! size. Results are metrics, on which the alarms in `infra/cdk` are based. A failed check is logged and its
//! metric is missing, which for the ticket's age raises the alarm too.

use std::sync::atomic::{AtomicI64, Ordering};

use futures::{StreamExt, stream};
use shared::{error::Error, metrics::Metric, model::token, services::Services, start_import};

/// An account is overdue this many minutes after its refresh was due if its token is still the old one: half
/// of the ten minutes that the wheel leaves a token.
pub const OVERDUE_MINUTES: i64 = 5;
/// Accounts checked in one tick: all of them up to 2,750 accounts, a sample of a larger hub.
const MAX_ACCOUNTS_CHECKED: usize = 25;
/// How often an instance checks imports; a new instance does at once.
const IMPORT_CHECK_INTERVAL_SECONDS: i64 = 600;

/// The last check of imports by this instance.
#[derive(Default)]
pub struct LastImportCheck {
    /// Its time, in unix seconds.
    imports_checked_at: AtomicI64,
}

/// The results of the checks; [`None`] where one failed or was not due.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct HealthReport {
    /// Seconds since the newest ticket; [`None`] before the first.
    pub ticket_age_seconds: Option<i64>,
    /// Overdue accounts.
    pub overdue_accounts: Option<usize>,
    /// Stuck imports.
    pub stuck_imports: Option<usize>,
}

/// Checks, and emits the results as metrics.
pub async fn run(app: &Services, state: &LastImportCheck) {
    let (seen, now) = (check(app, state).await, app.clock.now());
    for (metric, value) in [
        (Metric::ComponentTicketAge, seen.ticket_age_seconds),
        (Metric::OverdueAccounts, seen.overdue_accounts.and_then(|n| i64::try_from(n).ok())),
        (Metric::StuckImports, seen.stuck_imports.and_then(|n| i64::try_from(n).ok())),
    ] {
        if let Some(value) = value {
            app.metrics.record(metric, value, now);
        }
    }
}

/// Checks.
pub async fn check(app: &Services, state: &LastImportCheck) -> HealthReport {
    let now = app.clock.unix();
    let imports_due = now - state.imports_checked_at.load(Ordering::Relaxed) >= IMPORT_CHECK_INTERVAL_SECONDS;
    let stuck = if imports_due {
        log_error("stuck imports", start_import::requeue_quiet_imports(app).await)
    } else {
        None
    };
    if stuck.is_some() {
        state.imports_checked_at.store(now, Ordering::Relaxed);
    }
    HealthReport {
        ticket_age_seconds: log_error("the ticket's age", ticket_age(app, now).await).flatten(),
        overdue_accounts: log_error("overdue accounts", count_overdue(app, now).await),
        stuck_imports: stuck,
    }
}

fn log_error<T>(what: &str, found: Result<T, Error>) -> Option<T> {
    found.inspect_err(|error| tracing::error!(%error, "nothing is known of {what}: {error}")).ok()
}

async fn ticket_age(app: &Services, now: i64) -> Result<Option<i64>, Error> {
    let component = app.store.component().get().await?;
    Ok(component.ticket.is_some().then(|| now.saturating_sub(component.ticket_at).max(0)))
}

async fn count_overdue(app: &Services, now: i64) -> Result<usize, Error> {
    let then = now - OVERDUE_MINUTES * 60;
    let mut accounts = app.store.refresh_wheel().due_in_slot(token::slot_of(then.div_euclid(60))).await?;
    accounts.extend(app.store.refresh_wheel().due_by(then).await?);
    accounts.truncate(MAX_ACCOUNTS_CHECKED);
    let late = stream::iter(accounts)
        .map(|app_id| is_overdue(app, app_id, then))
        .buffer_unordered(MAX_ACCOUNTS_CHECKED);
    late.fold(Ok(0), |sum, late| async move { Ok(sum? + usize::from(late?)) }).await
}

/// Whether the token was due at `then` and is still the same. An unreadable one counts: none refreshes it.
async fn is_overdue(app: &Services, app_id: String, then: i64) -> Result<bool, Error> {
    let found = match app.store.authorizers().get(&app_id).await {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(false),
        Err(error @ Error::Item(_)) => {
            tracing::error!(app_id, %error, "the tokens of {app_id} cannot be read: {error}");
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    let late = found.token.is_none_or(|t| token::is_due(t.issued_at, t.expires_in, then));
    if late {
        tracing::warn!(app_id, "the token of {app_id} was due {OVERDUE_MINUTES} minutes ago");
    }
    Ok(late)
}
