//! The schedule: what is due by now.

use std::sync::atomic::{AtomicI64, Ordering};

use shared::{
    app::App,
    error::Error,
    function::FunctionError,
    metrics::Metric,
    model::token,
    queue::jobs::{REFRESH_BATCH, RefreshJob},
    tokens::{self, Why},
};

/// WeChat pushes a ticket every 10 minutes; after three that did not come we ask for one, seconds.
const TICKET_LATE_SECONDS: i64 = 30 * 60;
/// How often we ask, at most, seconds.
const ASK_EVERY_SECONDS: i64 = 10 * 60;

/// What an instance remembers.
#[derive(Default)]
pub struct State {
    /// When it asked for a ticket, unix seconds.
    asked_at: AtomicI64,
}

/// One tick.
///
/// # Errors
/// The store or the queue did not answer: the next tick looks at the same minutes again.
pub async fn run(app: &App, state: &State) -> Result<(), FunctionError> {
    let now = app.clock.unix();
    ask_for_ticket(app, state, now).await?;
    match tokens::component(app, Why::Due).await {
        Ok(_) | Err(Error::NoTicket | Error::RefreshRunning) => {}
        // the accounts' tokens may still be good without a new one: go on
        Err(error) => {
            tracing::error!(%error, "the component token could not be refreshed: {error}");
            app.metrics.count(Metric::RefreshFailures, app.clock.now());
        }
    }
    let minute = now.div_euclid(60);
    let last = app.store.refresh_tick().await?.unwrap_or(minute - i64::from(token::WHEEL_SLOTS));
    let mut due = app.store.due_by(now).await?;
    for slot in token::slots_between(last, minute) {
        due.extend(app.store.due_in_slot(slot).await?);
    }
    let jobs: Vec<_> =
        due.chunks(REFRESH_BATCH).map(|ids| RefreshJob::AuthorizersV1 { app_ids: ids.to_vec() }).collect();
    app.queues.refresh(&jobs).await?;
    // after the jobs: a crash in between queues them again, which costs a read each
    if minute > last {
        app.store.keep_refresh_tick(minute).await?;
    }
    if !due.is_empty() {
        tracing::info!(accounts = due.len(), "tokens of {} accounts are due", due.len());
    }
    Ok(())
}

async fn ask_for_ticket(app: &App, state: &State, now: i64) -> Result<(), FunctionError> {
    let component = app.store.component().await?;
    let late = component.ticket.is_none() || component.ticket_at < now - TICKET_LATE_SECONDS;
    if !late || state.asked_at.load(Ordering::Relaxed) > now - ASK_EVERY_SECONDS {
        return Ok(());
    }
    state.asked_at.store(now, Ordering::Relaxed);
    let settings = &app.config.component;
    match app.wechat.start_push_ticket(&settings.app_id, &settings.app_secret).await {
        Ok(()) => tracing::warn!("no fresh component ticket; asked WeChat to push one"),
        Err(error) => {
            tracing::error!(%error, "no fresh component ticket, and WeChat would not push one: {error}")
        }
    }
    Ok(())
}
