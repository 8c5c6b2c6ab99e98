//! What the integration tests share: the real `oahub` beside a simulated WeChat, driven over HTTP.
//!
//! | room | what it is |
//! |---|---|
//! | [`binary`] | where the programs are, built if they are missing or stale |
//! | [`lambda`] | what Lambda does around a function's binary |
//! | [`process`] | one run of it: its ready line, its log, its end by `kill -9` or SIGTERM |
//! | [`hub`] | hub and simulated WeChat together, with one data directory and port across restarts |
//! | [`api`] | an HTTP client of the API, and its responses |
//! | [`tenant`] | actions of a tenant and of its accounts' owners |
//! | [`push`] | hand-made pushes, valid or not |
//! | [`fixtures`] | records as the store holds them |
//! | [`relay`] | a TCP relay whose connections can be cut |
//! | [`wait`] | waiting for a condition, with a time limit |

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's tools: what does not hold ends the test"
)]

pub mod api;
pub mod binary;
pub mod fixtures;
pub mod hub;
pub mod lambda;
pub mod process;
pub mod push;
pub mod relay;
pub mod tenant;
pub mod wait;

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

/// One runtime for all tests of a binary: shared connections and servers live on it.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// Runs a test.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    RUNTIME.block_on(test)
}
