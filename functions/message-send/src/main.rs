//! Wires `message-send` to Lambda.

use shared::{app::App, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::init(true, None);
    message_send::function(App::from_env()?).run().await
}
