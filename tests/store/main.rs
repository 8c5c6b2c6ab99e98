//! Every store write ([`operations`]) has the same effect when its response is lost and the SDK retries,
//! when DynamoDB refuses it for a moment ([`transient_faults`]), and on a DynamoDB other than the embedded
//! ([`second_dynamodb`]). A connection that has died silently is given up in time
//! ([`stalled_connections`]), listings end ([`listing`]), only newer tokens replace tokens ([`tokens`]), and what
//! expired counts as gone though DynamoDB still has it ([`expiry`]).
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../deploy/emulator.rs"]
#[expect(dead_code, reason = "only the tables are used")]
mod emulator;
mod expiry;
mod listing;
mod operations;
mod second_dynamodb;
mod stalled_connections;
mod tokens;
mod transient_faults;

fn on_paused_time<T>(what: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(what)
}
