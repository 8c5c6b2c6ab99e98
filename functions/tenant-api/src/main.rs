//! Lambda entry point. Nothing but wiring lives here.

use shared::{app::App, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    telemetry::init(true, None);
    tenant_api::function(App::from_env()?).run().await
}
