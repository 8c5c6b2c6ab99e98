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
use tracing::Instrument;

use crate::functions::Handler;
use chain::Chain;
use concurrency::ConcurrencyPool;

/// A function that can be called.
#[derive(Clone)]
pub struct FunctionTarget {
    /// Logical id, for logs.
    pub name: String,
    /// Its code.
    pub handler: Arc<dyn Handler>,
    /// The function's timeout. The function sees it as its deadline, and is cancelled then.
    pub timeout: Duration,
    /// The clock of its deadline.
    pub clock: Arc<dyn Clock>,
    /// Whether it may call itself through queues (`RecursiveLoop: Allow`).
    pub recursive: bool,
    /// How many invocations it may have at once.
    pub concurrency: ConcurrencyPool,
}

/// Why an invocation has no result.
#[derive(Debug, Error)]
pub enum InvocationError {
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

impl FunctionTarget {
    /// Runs one invocation in its own task, so that a panic or a caller that hangs up affects nothing else.
    ///
    /// # Errors
    /// [`InvocationError`].
    pub async fn invoke(&self, event: Value, chain: &Chain) -> Result<Value, InvocationError> {
        let permit = self.concurrency.try_acquire().ok_or(InvocationError::Throttled)?;
        let (code, timeout, chain) = (Arc::clone(&self.handler), self.timeout, chain.enter(&self.name));
        let ends = Deadline::after(&*self.clock, timeout);
        let span = tracing::error_span!("invocation", function = self.name);
        let call = tokio::spawn(async move {
            let work = chain.scope(async { code.call(event, ends).await }).instrument(span);
            let answer = tokio::time::timeout(timeout, work).await;
            drop(permit);
            answer
        });
        match call.await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => Err(InvocationError::Failed(error.to_string())),
            Ok(Err(_)) => Err(InvocationError::TimedOut),
            Err(panic) => Err(InvocationError::Failed(panic.to_string())),
        }
    }

    /// Whether Lambda would stop this chain instead of invoking the function once more.
    #[must_use]
    pub fn stops_chain(&self, chain: &Chain) -> bool {
        !self.recursive && chain.count(&self.name) >= chain::MAX_INVOCATIONS_IN_CHAIN
    }
}
