//! All instances of a function: an invocation takes an idle one or starts one.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use local::{functions::Handler, lambda::chain::Chain};
use serde_json::Value;
use shared::{deadline::Deadline, function::FunctionError};

use super::{
    instance::{Instance, Launch},
    runtime_api::InvocationOutcome,
};

/// A function whose instances are processes.
#[derive(Clone)]
pub struct InstancePool(Arc<PoolState>);

struct PoolState {
    launch: Launch,
    timeout: Duration,
    idle: Mutex<Vec<Instance>>,
}

impl InstancePool {
    /// Starts nothing yet. `timeout` is the template's.
    #[must_use]
    pub fn new(launch: Launch, timeout: Duration) -> Self {
        Self(Arc::new(PoolState { launch, timeout, idle: Mutex::default() }))
    }

    fn take_idle(&self) -> Option<Instance> {
        let mut idle = self.0.idle.lock().unwrap();
        idle.retain(Instance::is_alive);
        idle.pop()
    }

    /// If the caller drops the future, the instance is killed, as Lambda does at a time-out.
    async fn invoke(self, event: Value) -> Result<Value, FunctionError> {
        let PoolState { launch, timeout, idle } = &*self.0;
        let instance = match self.take_idle() {
            Some(instance) => instance,
            None => Instance::start(launch, true).await,
        };
        let chain = Chain::current().unwrap_or_default();
        let outcome = instance.invoke_in(&chain, event.to_string(), *timeout).await;
        if matches!(outcome, InvocationOutcome::Response(_) | InvocationOutcome::Error { .. }) {
            idle.lock().unwrap().push(instance);
        }
        match outcome {
            InvocationOutcome::Response(answer) => {
                serde_json::from_slice(&answer).map_err(|e| FunctionError(format!("an answer: {e}")))
            }
            InvocationOutcome::Error { kind, message } => Err(FunctionError(format!("{kind}: {message}"))),
            InvocationOutcome::Exited => Err(FunctionError("Runtime.ExitError".into())),
            InvocationOutcome::TimedOut => Err(FunctionError("Sandbox.Timedout".into())),
        }
    }
}

impl Handler for InstancePool {
    fn call(&self, event: Value, _: Deadline) -> BoxFuture<'static, Result<Value, FunctionError>> {
        Box::pin(self.clone().invoke(event))
    }
}
