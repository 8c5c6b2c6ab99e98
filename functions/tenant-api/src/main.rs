//! The Lambda of `tenant-api`.

use shared::{app::App, telemetry};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "the log filter, needed before the settings")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    telemetry::init(true, std::env::var("RUST_LOG").ok().as_deref());
    tenant_api::function(App::from_env()?).run().await
}
