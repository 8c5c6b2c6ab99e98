//! Stores the platform's state for the operator's route, which may not read tokens.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicI64, Ordering},
};

use futures::future::try_join_all;
use shared::{app::App, error::Error, model::token};

/// A token that is due within this many minutes counts as expiring.
const AHEAD_MINUTES: i64 = 10;
/// Expiring tokens are counted only this often, because that reads eleven slots of the wheel.
const COUNTED_EVERY_MINUTES: i64 = 5;

/// The minute in which this instance last counted expiring tokens; 0 for never.
#[derive(Default)]
pub struct State(AtomicI64);

/// Reads and stores the state, with one write a minute.
pub async fn run(app: &App, state: &State) {
    if let Err(error) = note(app, state).await {
        tracing::error!(%error, "how the platform stands could not be noted: {error}");
    }
}

async fn note(app: &App, state: &State) -> Result<(), Error> {
    let minute = app.clock.unix().div_euclid(60);
    let component = app.store.component().await?;
    let counted_at = state.0.load(Ordering::Relaxed);
    let expiring = if counted_at == 0 || minute - counted_at >= COUNTED_EVERY_MINUTES {
        Some(expiring(app, minute).await?)
    } else {
        None
    };
    app.store.note_status(&component, expiring).await?;
    if expiring.is_some() {
        state.0.store(minute, Ordering::Relaxed);
    }
    Ok(())
}

async fn expiring(app: &App, minute: i64) -> Result<u64, Error> {
    let slots = (minute..=minute + AHEAD_MINUTES).map(|m| app.store.due_in_slot(token::slot_of(m)));
    let on_wheel = try_join_all(slots).await?;
    let others = app.store.due_by((minute + AHEAD_MINUTES) * 60).await?;
    let accounts: HashSet<String> = on_wheel.into_iter().flatten().chain(others).collect();
    Ok(accounts.len() as u64)
}
