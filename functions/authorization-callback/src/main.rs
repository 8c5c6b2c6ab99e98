//! Lambda's entry point. Nothing but wiring lives here.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::function::serve(authorization_callback::NEEDS, authorization_callback::function).await
}
