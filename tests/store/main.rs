//! What every write of the store does ([`operations`]): the same where its answer is lost and the SDK asks again, the same
//! where DynamoDB refuses it for a moment ([`lost`]), and the same over another DynamoDB than the embedded one
//! ([`second`]). And a connection that is dead without a sign is given up in time
//! ([`hanging`]), listings have an end ([`listing`]), and tokens are replaced by newer ones alone ([`tokens`]).
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../deploy/emulator.rs"]
#[expect(dead_code, reason = "only the tables are used")]
mod emulator;
mod hanging;
mod listing;
mod lost;
mod operations;
mod second;
mod tokens;
#[path = "../src/world/mod.rs"]
#[expect(dead_code, reason = "the simulation and the examples look at the rest of it")]
mod world;

fn on_paused_time<T>(what: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(what)
}
