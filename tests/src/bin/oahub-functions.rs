//! `oahub` with each function as processes, started and killed as Lambda does. Takes the same flags.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use local::{
    functions::Handler,
    options::{LogFormat, Options},
    system::System,
    template::{self, FunctionSpec},
};
use oahub_tests::{
    binary,
    lambda::{
        instance::{Launch, MAX_DESCRIPTORS},
        pool::InstancePool,
    },
};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Where the functions' programs are: this program builds nothing, since it may run without a toolchain.
    #[arg(long, value_name = "DIRECTORY")]
    functions: PathBuf,
    /// Limits each process to the share of a processor that Lambda gives for its memory.
    #[arg(long)]
    shares: bool,
    /// How long a message stays hidden after a function failed, instead of as template.yaml says.
    #[arg(long, value_name = "SECONDS")]
    visibility: Option<u32>,
    /// How long an invocation of message-send may take, instead of as template.yaml says.
    #[arg(long, value_name = "SECONDS")]
    send_timeout: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    arguments.options.aws.endpoints = true; // processes reach DynamoDB and SQS over HTTP
    shared::telemetry::init(arguments.options.log == LogFormat::Json, Some("info,dynoxide=error"));
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oahub-functions did not start: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut template = template::for_account(arguments.options.aws.concurrency)?;
    if let Some(seconds) = arguments.visibility {
        for queue in &mut template.queues {
            queue.attributes.insert("VisibilityTimeout".into(), seconds.to_string());
        }
    }
    let sends = |function: &&mut FunctionSpec| function.code_uri == "functions/message-send";
    if let (Some(seconds), Some(function)) =
        (arguments.send_timeout, template.functions.iter_mut().find(sends))
    {
        function.timeout = Duration::from_secs(seconds);
    }
    #[expect(clippy::disallowed_methods, reason = "the settings that the functions get")]
    let get = |name: &str| std::env::var(name).ok();
    let system = System::start_with(&arguments.options, get, &template, &|spec, environment, _| {
        let code: Arc<dyn Handler> =
            Arc::new(InstancePool::new(launch(arguments, spec, environment), spec.timeout));
        Some(code)
    })
    .await?;
    println!("oahub ready on http://{}", system.gateway);
    terminate.recv().await;
    system.stop().await;
    Ok(())
}

fn launch(arguments: &Arguments, spec: &FunctionSpec, environment: &BTreeMap<String, String>) -> Launch {
    Launch {
        name: spec.name.clone(),
        binary: binary::bootstrap(&arguments.functions, spec.code_uri.trim_start_matches("functions/")),
        environment: environment.clone(),
        memory_mb: arguments.shares.then_some(spec.memory),
        max_descriptors: Some(MAX_DESCRIPTORS),
    }
}
