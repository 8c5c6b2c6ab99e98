//! Lambda's entry point. Nothing but wiring lives here.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::function::serve_without_wechat(message_callback::NEEDS, message_callback::function).await
}
