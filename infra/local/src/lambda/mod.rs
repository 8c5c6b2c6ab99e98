//! What Lambda does around a function's code, whatever invokes it.
//!
//! | module | what it is |
//! |---|---|
//! | [`concurrency`] | how many invocations may run at once |
//! | [`chain`] | the trace that a chain of invocations carries, and where it ends |

pub mod chain;
pub mod concurrency;

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use shared::{clock::Clock, deadline::Deadline};
use thiserror::Error;

use crate::functions::Code;
use chain::Chain;
use concurrency::Room;

/// A function that can be called.
#[derive(Clone)]
pub struct Target {
    /// Logical id, for logs.
    pub name: String,
    /// Its code.
    pub code: Arc<dyn Code>,
    /// The function's timeout. The function sees it as its deadline, and is cancelled then.
    pub timeout: Duration,
    /// The clock of its deadline.
    pub clock: Arc<dyn Clock>,
    /// Whether it may call itself through queues (`RecursiveLoop: Allow`).
    pub recursive: bool,
    /// How many invocations it may have at once.
    pub room: Room,
}

/// Why an invocation has no result.
#[derive(Debug, Error)]
pub enum Failure {
    /// It did not begin: the concurrency limit is reached.
    #[error("throttled")]
    Throttled,
    /// It ran into its timeout. Effects until then remain.
    #[error("timed out")]
    TimedOut,
    /// It failed, or panicked.
    #[error("failed: {0}")]
    Failed(String),
}

impl Target {
    /// Runs one invocation in its own task, so that a panic or a caller that hangs up affects nothing else.
    ///
    /// # Errors
    /// [`InvocationError`].
    pub async fn invoke(&self, event: Value, chain: &Chain) -> Result<Value, Failure> {
        let permit = self.room.enter().ok_or(Failure::Throttled)?;
        let (code, timeout, chain) = (Arc::clone(&self.code), self.timeout, chain.enter(&self.name));
        let ends = Deadline::after(&*self.clock, timeout);
        let call = tokio::spawn(async move {
            let work = chain.around(async { code.call(event, ends).await });
            let answer = tokio::time::timeout(timeout, work).await;
            drop(permit);
            answer
        });
        match call.await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => Err(Failure::Failed(error.to_string())),
            Ok(Err(_)) => Err(Failure::TimedOut),
            Err(panic) => Err(Failure::Failed(panic.to_string())),
        }
    }

    /// Whether Lambda would stop this chain instead of invoking the function once more.
    #[must_use]
    pub fn ends(&self, chain: &Chain) -> bool {
        !self.recursive && chain.count(&self.name) >= chain::MOST
    }
}
