//! Lambda's entry point. Nothing but wiring lives here. Nothing of this function calls WeChat.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::function::serve_without_wechat(tenant_api::NEEDS, tenant_api::function).await
}
