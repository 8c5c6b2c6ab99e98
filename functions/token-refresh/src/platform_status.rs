//! Stores the platform's state for the operator's route, which may not read tokens.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicI64, Ordering},
};

use futures::future::try_join_all;
use shared::{error::Error, model::token, services::Services};

/// A token that is due within this many minutes counts as expiring.
const EXPIRING_WITHIN_MINUTES: i64 = 10;
/// Expiring tokens are counted only this often, because that reads eleven slots of the wheel.
const COUNT_INTERVAL_MINUTES: i64 = 5;

/// The minute in which this instance last counted expiring tokens; 0 for never.
#[derive(Default)]
pub struct LastExpiringCount(AtomicI64);

/// Reads and stores the state, with one write a minute.
pub async fn run(app: &Services, state: &LastExpiringCount) {
    if let Err(error) = store_status(app, state).await {
        tracing::error!(%error, "how the platform stands could not be noted: {error}");
    }
}

async fn store_status(app: &Services, state: &LastExpiringCount) -> Result<(), Error> {
    let minute = app.clock.unix().div_euclid(60);
    let component = app.store.component().get().await?;
    let counted_at = state.0.load(Ordering::Relaxed);
    let expiring = if counted_at == 0 || minute - counted_at >= COUNT_INTERVAL_MINUTES {
        Some(count_expiring(app, minute).await?)
    } else {
        None
    };
    app.store.platform_status().store(&component, expiring).await?;
    if expiring.is_some() {
        state.0.store(minute, Ordering::Relaxed);
    }
    Ok(())
}

async fn count_expiring(app: &Services, minute: i64) -> Result<u64, Error> {
    let slots = (minute..=minute + EXPIRING_WITHIN_MINUTES)
        .map(|m| app.store.refresh_wheel().due_in_slot(token::slot_of(m)));
    let on_wheel = try_join_all(slots).await?;
    let others = app.store.refresh_wheel().due_by((minute + EXPIRING_WITHIN_MINUTES) * 60).await?;
    let accounts: HashSet<String> = on_wheel.into_iter().flatten().chain(others).collect();
    Ok(accounts.len() as u64)
}
