//! Lambda's entry point. Nothing but wiring.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::telemetry::init(true, None);
    follower_import::function(shared::app::App::from_env()?).run().await
}
