//! `oahub`: the whole system on this machine.

use std::process::ExitCode;

use clap::Parser;
use local::{
    options::{Log, Options},
    system::System,
};
use tokio::signal::unix::{SignalKind, signal};

/// All services live in one process here and allocate from many threads: a fifth of the time went to the system's
/// allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The embedded DynamoDB warns of every condition that does not hold, which is how the store works.
const LOG_FILTER: &str = "info,dynoxide=error";

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let env = |name: &str| {
        #[expect(
            clippy::disallowed_methods,
            reason = "the local runner stands where Lambda would: it hands settings on"
        )]
        std::env::var(name).ok()
    };
    let filter = env("RUST_LOG");
    shared::telemetry::init(options.log == Log::Json, Some(filter.as_deref().unwrap_or(LOG_FILTER)));
    match run(&options, env).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oahub did not start: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(
    options: &Options,
    env: impl Fn(&str) -> Option<String>,
) -> Result<(), Box<dyn std::error::Error>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let system = System::start(options, env).await?;
    println!("oahub ready on http://{}", system.gateway);
    eprintln!("  API            http://{}/docs", system.gateway);
    if let Some(wechat) = system.wechat {
        eprintln!("  Simulated WeChat: owners, followers, a phone   http://{wechat}/");
    }
    if let Some(key) = &system.admin_key {
        eprintln!("  Admin key      {key}");
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: finishing what is in flight");
    system.stop().await;
    Ok(())
}
