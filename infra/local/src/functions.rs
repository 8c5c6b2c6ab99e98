//! The code of each function: here the packages themselves, in this process. The tests put processes
//! in their place, as Lambda does.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::BoxFuture;
use serde_json::Value;
use shared::{
    config::Need,
    deadline::Deadline,
    function::{Function, FunctionError},
    services::Services,
};

use crate::template::FunctionSpec;

/// A function's code, wherever it runs.
pub trait Handler: Send + Sync {
    /// Runs one invocation. The caller drops the future at `deadline`, which cancels the invocation.
    fn call(&self, event: Value, deadline: Deadline) -> BoxFuture<'static, Result<Value, FunctionError>>;
}

impl Handler for Function {
    fn call(&self, event: Value, deadline: Deadline) -> BoxFuture<'static, Result<Value, FunctionError>> {
        let function = self.clone();
        Box::pin(async move { Function::call(&function, event, deadline).await })
    }
}

/// Finds the handler of a function of the template, if there is one. Takes what the function sees as
/// its environment, and the same as [`Services`].
pub type Resolve<'a> =
    dyn Fn(&FunctionSpec, &BTreeMap<String, String>, &Arc<Services>) -> Option<Arc<dyn Handler>> + 'a;

/// The settings that the function of a `CodeUri` needs, if this runner has that function.
#[must_use]
pub fn needs(code_uri: &str) -> Option<&'static [Need]> {
    Some(match code_uri {
        "functions/authorization-callback" => authorization_callback::NEEDS,
        "functions/follower-import" => follower_import::NEEDS,
        "functions/message-callback" => message_callback::NEEDS,
        "functions/message-send" => message_send::NEEDS,
        "functions/tenant-api" => tenant_api::NEEDS,
        "functions/token-refresh" => token_refresh::NEEDS,
        _ => return None,
    })
}

/// The function of a `CodeUri`, if this runner has it.
#[must_use]
pub fn function_for(code_uri: &str, app: &Arc<Services>) -> Option<Function> {
    let app = Arc::clone(app);
    Some(match code_uri {
        "functions/authorization-callback" => authorization_callback::function(app),
        "functions/follower-import" => follower_import::function(app),
        "functions/message-callback" => message_callback::function(app),
        "functions/message-send" => message_send::function(app),
        "functions/tenant-api" => tenant_api::function(app),
        "functions/token-refresh" => token_refresh::function(app),
        _ => return None,
    })
}
