//! `oahub`: the whole system on this machine.

use std::process::ExitCode;

use clap::Parser;
use local::{
    options::{LogFormat, Options},
    system::System,
};
use tokio::signal::unix::{SignalKind, signal};

/// All services share one process and allocate from many threads: a fifth of the time went to the system's
/// allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The embedded DynamoDB warns of every failed condition, which is normal for the store.
const LOG_FILTER: &str = "info,dynoxide=error";

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => return report_usage_error(&error),
    };
    let env = |name: &str| {
        #[expect(
            clippy::disallowed_methods,
            reason = "the local runner stands where Lambda would: it hands settings on"
        )]
        std::env::var(name).ok()
    };
    let filter = env("RUST_LOG");
    shared::telemetry::init(options.log == LogFormat::Json, Some(filter.as_deref().unwrap_or(LOG_FILTER)));
    match run(&options, env).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match options.log {
                LogFormat::Text => eprintln!("oahub did not start: {error}"),
                LogFormat::Json => tracing::error!("oahub did not start: {error}"),
            }
            ExitCode::FAILURE
        }
    }
}

/// Reports a wrong command line, or prints the help: in the log format that the arguments ask for, if any.
fn report_usage_error(error: &clap::Error) -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments.iter().any(|argument| argument == "--log=json")
        || arguments.windows(2).any(|two| two == ["--log", "json"]);
    if error.use_stderr() && json {
        shared::telemetry::init(true, None);
        let text = error.to_string();
        let text = text.trim();
        tracing::error!("oahub did not start: {text}");
    } else if let Err(error) = error.print() {
        tracing::error!(%error, "the help could not be written: {error}");
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

async fn run(
    options: &Options,
    env: impl Fn(&str) -> Option<String>,
) -> Result<(), Box<dyn std::error::Error>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let system = System::start(options, env).await?;
    println!("oahub ready on http://{}", system.gateway);
    for (what, value) in next_steps(&system) {
        match options.log {
            LogFormat::Text => eprintln!("  {what:<34} {value}"),
            LogFormat::Json => tracing::info!(what, value, "{what}: {value}"),
        }
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: finishing what is in flight");
    system.stop().await;
    Ok(())
}

/// The addresses and the key that a user needs after the start.
fn next_steps(system: &System) -> Vec<(&'static str, String)> {
    let mut all = vec![("API", format!("http://{}/docs", system.gateway))];
    match system.wechat {
        Some(wechat) => all.push(("Simulated WeChat, with a phone", format!("http://{wechat}/"))),
        None => {
            let url = system.public_url.trim_end_matches('/');
            all.push(("For WeChat: authorization events", format!("{url}/wechat/component")));
            all.push(("For WeChat: messages and events", format!("{url}/wechat/accounts/$APPID$")));
        }
    }
    all.extend(system.admin_key.clone().map(|key| ("Operator's key, known to everybody", key)));
    all
}
