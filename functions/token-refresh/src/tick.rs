//! The tick: finds the tokens that are due, and queues their refresh.

use std::time::Duration;

use shared::{
    deadline::Deadline,
    error::Error,
    function::FunctionError,
    metrics::Metric,
    model::token,
    queue::jobs::{MAX_REFRESH_ACCOUNTS, RefreshJob},
    services::Services,
    tokens::{self, RefreshReason},
};

/// WeChat pushes a ticket every 10 minutes; after three missing ones the hub requests one.
const TICKET_LATE_SECONDS: i64 = 30 * 60;
/// The longest wait for the component token, since the tick has more to do.
const MAX_TOKEN_WAIT: Duration = Duration::from_secs(12);

/// One tick.
///
/// # Errors
/// The store or the queue did not answer; the next tick covers the same minutes again.
pub async fn run(app: &Services, until: Deadline) -> Result<(), FunctionError> {
    let now = app.clock.unix();
    let component = app.store.component().get().await?;
    if component.ticket.is_none() || component.ticket_at < now - TICKET_LATE_SECONDS {
        tokens::request_ticket_push(app).await?;
    }
    let patience = Deadline::after(&*app.clock, MAX_TOKEN_WAIT).min(until);
    match tokens::component_token(app, RefreshReason::Due, patience).await {
        Ok(_) | Err(Error::NoTicket | Error::RefreshRunning) => {}
        // the accounts' refreshes may still succeed with the old component token
        Err(error) => {
            tracing::error!(%error, "the component token could not be refreshed: {error}");
            app.metrics.count(Metric::RefreshFailures, app.clock.now());
        }
    }
    let minute = now.div_euclid(60);
    let last = app.store.refresh_wheel().last_tick().await?.unwrap_or(minute - i64::from(token::WHEEL_SLOTS));
    let mut due = app.store.refresh_wheel().due_by(now).await?;
    for slot in token::slots_between(last, minute) {
        due.extend(app.store.refresh_wheel().due_in_slot(slot).await?);
    }
    let jobs: Vec<_> = due
        .chunks(MAX_REFRESH_ACCOUNTS)
        .map(|ids| RefreshJob::AuthorizersV1 { app_ids: ids.to_vec() })
        .collect();
    app.queues.refresh(&jobs, Duration::ZERO).await?;
    // stored after the jobs are queued: a crash in between only queues them twice, a read each
    if minute > last {
        app.store.refresh_wheel().store_tick(minute).await?;
    }
    if !due.is_empty() {
        tracing::info!(accounts = due.len(), "tokens of {} accounts are due", due.len());
    }
    Ok(())
}
