//! Which package is behind which function: the local counterpart of building each into its own bootstrap.

use std::sync::Arc;

use shared::{app::App, function::Function};

/// The function of a `CodeUri`, if this runner has it.
#[must_use]
pub fn of(code_uri: &str, app: &Arc<App>) -> Option<Function> {
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
