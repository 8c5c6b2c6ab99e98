//! One process of a function, as Lambda starts it.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use local::lambda::chain::Chain;
use tokio::sync::watch;

use super::{
    cpu_share::CpuShare,
    runtime_api::{InvocationOutcome, RuntimeApi},
};
use crate::wait;

/// File descriptors that an execution environment may open.
///
/// # Source
/// AWS Lambda developer guide, "Lambda quotas".
pub const MAX_DESCRIPTORS: u32 = 1024;

/// What is needed to start an instance.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The function's name.
    pub name: String,
    /// Its `bootstrap`.
    pub binary: PathBuf,
    /// From template.yaml and the local AWS services.
    pub environment: BTreeMap<String, String>,
    /// Memory, MB, which sets its share of a processor; [`None`] for a whole machine.
    pub memory_mb: Option<u32>,
    /// How many descriptors it may open; [`None`] for the tests' own limit.
    pub max_descriptors: Option<u32>,
}

/// A process and its Runtime API. Dropping it sends `kill -9`, as Lambda does.
pub struct Instance {
    api: RuntimeApi,
    /// Dropped before the process ends.
    _cpu_share: Option<CpuShare>,
    child: Child,
    started: Instant,
    ended: watch::Receiver<bool>,
    log: Arc<Mutex<String>>,
    output: Arc<Mutex<String>>,
}

impl Instance {
    /// Starts an instance. `echo` copies its log to our own standard error.
    pub async fn start(launch: &Launch, echo: bool) -> Self {
        let api = RuntimeApi::start(&launch.name).await;
        let started = Instant::now();
        let mut child = command(launch)
            .env_clear()
            .envs(&launch.environment)
            .envs([
                ("_HANDLER", "bootstrap"),
                ("AWS_LAMBDA_FUNCTION_NAME", launch.name.as_str()),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
                ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
                ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
                ("AWS_LAMBDA_RUNTIME_API", api.address.to_string().as_str()),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", "local"),
                ("AWS_SECRET_ACCESS_KEY", "local"),
                ("AWS_SESSION_TOKEN", "local"),
                ("LANG", "en_US.UTF-8"),
                ("TZ", ":UTC"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", launch.binary.display()));
        let (sender, ended) = watch::channel(false);
        let name = echo.then(|| launch.name.clone());
        let (log, errors) = collect_lines(child.stderr.take().unwrap(), name);
        let (output, _) = collect_lines(child.stdout.take().unwrap(), None);
        thread::spawn(move || {
            let _ = errors.join();
            let _ = sender.send(true); // standard error is closed only when the process ends
        });
        let share = launch.memory_mb.map(|memory| CpuShare::of(child.id(), memory));
        Self { api, _cpu_share: share, child, started, ended, log, output }
    }

    /// Time from start to its first `next`; [`None`] if it ended before.
    pub async fn init_duration(&self) -> Option<Duration> {
        let mut asked = self.api.first_next();
        let asked = tokio::select! {
            asked = asked.wait_for(Option::is_some) => asked.ok().and_then(|at| *at),
            () = self.wait_for_exit() => None,
        };
        asked.map(|at| at.duration_since(self.started))
    }

    /// One invocation.
    pub async fn invoke(&self, event: impl Into<Bytes>, timeout: Duration) -> InvocationOutcome {
        self.invoke_in(&Chain::default(), event, timeout).await
    }

    /// One invocation in a chain of them.
    pub async fn invoke_in(
        &self,
        chain: &Chain,
        event: impl Into<Bytes>,
        timeout: Duration,
    ) -> InvocationOutcome {
        tokio::select! {
            biased; // a response sent in time counts even if the process has died since
            outcome = self.api.invoke(event, chain.to_string(), timeout) => outcome,
            () = self.wait_for_exit() => InvocationOutcome::Exited,
        }
    }

    /// Waits until the process has ended.
    pub async fn wait_for_exit(&self) {
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await; // an error means that the reader has ended
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !*self.ended.borrow()
    }

    /// Waits for its exit; returns its status, init error and log.
    pub async fn into_exit(mut self) -> (ExitStatus, Option<InvocationOutcome>, String) {
        let status = wait::until("the function's end", async || self.child.try_wait().unwrap()).await;
        self.wait_for_exit().await;
        (status, self.api.init_error(), self.log())
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// What it has written to its standard output so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Processor time of all its threads so far; [`None`] where there is no `/proc`.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Duration> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.id())).ok()?;
        let mut all = Duration::ZERO;
        for thread in threads {
            let spent = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            all += Duration::from_nanos(spent.split(' ').next()?.parse().ok()?);
        }
        Some(all)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

/// The program itself, or a shell that sets the descriptor limit and then `exec`s it.
fn command(launch: &Launch) -> Command {
    let Some(descriptors) = launch.max_descriptors else { return Command::new(&launch.binary) };
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -n \"$1\" && exec \"$0\""]).arg(&launch.binary).arg(descriptors.to_string());
    command
}

/// Collects a process's output until it is closed; copies it to standard error if `name` is given.
fn collect_lines(
    from: impl Read + Send + 'static,
    name: Option<String>,
) -> (Arc<Mutex<String>>, thread::JoinHandle<()>) {
    let all = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&all);
    let reader = thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if let Some(name) = &name {
                eprintln!("{name} {line}");
            }
            let mut all = kept.lock().unwrap();
            all.push_str(&line);
            all.push('\n');
        }
    });
    (all, reader)
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}
