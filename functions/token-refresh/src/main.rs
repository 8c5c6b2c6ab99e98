//! Lambda's entry point. Nothing but wiring lives here.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::function::serve(token_refresh::NEEDS, token_refresh::function).await
}
