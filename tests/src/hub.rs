//! A hub together with its simulated WeChat.

use std::{
    net::TcpListener,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

use futures::future::pending;
use shared::{clock::SystemClock, config::PlatformCredentials, random::StdRandom, secret::Secret};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use wechat_simulator::{FaultKind, HttpHub, InjectedFault, PushOutcome, Simulator, SimulatorDependencies};

use crate::{
    api::ApiClient,
    binary,
    process::{Process, TempDirectory},
    relay::Relay,
    wait::until,
};

/// The platform's credentials, made up.
pub const COMPONENT_APP_ID: &str = "wx00c0ffee00c0ffee";
/// Its secret.
pub const COMPONENT_APP_SECRET: &str = "componentsecret0123456789abcdef0";
/// Its verification token.
pub const VERIFICATION_TOKEN: &str = "verificationtoken";
/// The one before it.
pub const VERIFICATION_TOKEN_PREVIOUS: &str = "tokenbeforeit";
/// Its key.
pub const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
/// The one before it.
pub const AES_KEY_PREVIOUS: &str = "previousprevious0123456789previousPREVIOUS0";
/// The operator's key.
pub const ADMIN_KEY: &str = "operators-own-key-0123456789abcdefghij";

/// Limits the hubs that run at the same time besides the shared one: CI machines are small.
static HUB_PERMITS: Semaphore = Semaphore::const_new(2);
static SHARED: OnceCell<Hub> = OnceCell::const_new();

/// The hub shared by tests that never kill it; each test creates its own tenants and accounts.
pub async fn shared() -> &'static Hub {
    SHARED.get_or_init(|| Hub::start(None)).await
}

/// The platform's credentials, as hub and WeChat both have them.
#[must_use]
pub fn component() -> PlatformCredentials {
    PlatformCredentials {
        app_id: COMPONENT_APP_ID.into(),
        app_secret: Secret::new(COMPONENT_APP_SECRET),
        token: Secret::new(VERIFICATION_TOKEN),
        aes_key: Secret::new(AES_KEY),
        aes_key_previous: Some(Secret::new(AES_KEY_PREVIOUS)),
        token_previous: Some(Secret::new(VERIFICATION_TOKEN_PREVIOUS)),
    }
}

/// Valid settings for `--wechat live`, with WeChat and the hub at these URLs.
#[must_use]
pub fn settings(wechat: &str, public: &str) -> Vec<(&'static str, String)> {
    [
        ("OAHUB_COMPONENT_APP_ID", COMPONENT_APP_ID),
        ("OAHUB_COMPONENT_APP_SECRET", COMPONENT_APP_SECRET),
        ("OAHUB_COMPONENT_TOKEN", VERIFICATION_TOKEN),
        ("OAHUB_COMPONENT_TOKEN_PREVIOUS", VERIFICATION_TOKEN_PREVIOUS),
        ("OAHUB_COMPONENT_AES_KEY", AES_KEY),
        ("OAHUB_COMPONENT_AES_KEY_PREVIOUS", AES_KEY_PREVIOUS),
        ("OAHUB_ADMIN_KEY", ADMIN_KEY),
        ("OAHUB_PUBLIC_URL", public),
        ("OAHUB_WECHAT_API_URL", wechat),
        ("OAHUB_WECHAT_MP_URL", wechat),
        ("OAHUB_WECHAT_OPEN_URL", wechat),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// A hub with its WeChat.
pub struct Hub {
    /// The simulated WeChat.
    pub wechat: Simulator,
    /// The simulated WeChat's URL.
    pub wechat_url: String,
    /// The hub's URL, the same across restarts.
    pub url: String,
    process: Option<Process>,
    program: PathBuf,
    arguments: Vec<String>,
    settings: Vec<(&'static str, String)>,
    tick_seconds: Option<u32>,
    directory: TempDirectory,
    /// Names and values of the test browser's cookies.
    pub(crate) cookies: Mutex<Vec<(String, String)>>,
    _permit: Option<SemaphorePermit<'static>>,
}

impl Hub {
    /// A hub for one test, with its first ticket.
    pub async fn exclusive() -> Self {
        Self::start(Some(HUB_PERMITS.acquire().await.unwrap())).await
    }

    /// A hub for one test, with its first ticket, started with more flags, such as AWS limits
    /// (`--aws-concurrency 10`, `--aws-in-flight 50`).
    pub async fn with_flags(flags: &[&str]) -> Self {
        let mut hub = Self::new(Some(HUB_PERMITS.acquire().await.unwrap())).await;
        hub.arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        hub.start_program().await;
        hub.push_ticket().await;
        hub
    }

    /// A hub for one test, with its first ticket, that logs what `filter` asks for (`RUST_LOG`).
    pub async fn with_log(filter: &str) -> Self {
        let mut hub = Self::new(Some(HUB_PERMITS.acquire().await.unwrap())).await;
        hub.settings.push(("RUST_LOG", filter.to_owned()));
        hub.start_program().await;
        hub.push_ticket().await;
        hub
    }

    /// A hub for one test without a ticket: the simulator drops ticket pushes until its faults are cleared.
    pub async fn without_ticket() -> Self {
        let drops = InjectedFault::once("push/component", FaultKind::DropPush).times(u32::MAX);
        let mut hub = Self::with_fault(Some(HUB_PERMITS.acquire().await.unwrap()), Some(drops)).await;
        hub.start_program().await;
        hub
    }

    /// A hub for one test whose functions run as processes, as on Lambda, with its first ticket. A message
    /// whose function failed is received again after 5 seconds instead of minutes.
    pub async fn with_processes() -> Self {
        Self::with_processes_and_flags(&[]).await
    }

    /// The same with more flags of `oahub-functions`.
    pub async fn with_processes_and_flags(flags: &[&str]) -> Self {
        let mut hub = Self::new(Some(HUB_PERMITS.acquire().await.unwrap())).await;
        hub.start_with_processes(flags).await;
        hub
    }

    /// The same with a relay to WeChat whose connections can be cut.
    pub async fn with_processes_behind_relay() -> (Self, Relay) {
        let mut hub = Self::new(Some(HUB_PERMITS.acquire().await.unwrap())).await;
        let relay = Relay::to(hub.wechat_url.trim_start_matches("http://").parse().unwrap()).await;
        let way = format!("http://{}", relay.address);
        for (_, value) in hub.settings.iter_mut().filter(|(name, _)| *name == "OAHUB_WECHAT_API_URL") {
            value.clone_from(&way);
        }
        hub.start_with_processes(&[]).await;
        (hub, relay)
    }

    async fn start_with_processes(&mut self, flags: &[&str]) {
        self.program = binary::oahub_functions();
        let functions = binary::functions().display().to_string();
        self.arguments = ["--functions", &functions].map(str::to_owned).to_vec();
        if !flags.contains(&"--visibility") {
            self.arguments.extend(["--visibility", "5"].map(str::to_owned));
        }
        self.arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self.start_program().await;
        self.push_ticket().await;
    }

    /// A hub for benchmarks: schedules run as in template.yaml. `log` is its `RUST_LOG`.
    pub async fn for_benchmark(log: &str) -> Self {
        let mut hub = Self::new(Some(HUB_PERMITS.acquire().await.unwrap())).await;
        hub.tick_seconds = None;
        hub.settings.push(("RUST_LOG", log.to_owned()));
        hub.settings.push(("NO_COLOR", "1".into())); // colour codes would split names in the log
        hub.start_program().await;
        hub.push_ticket().await;
        hub
    }

    async fn start(permit: Option<SemaphorePermit<'static>>) -> Self {
        let mut hub = Self::new(permit).await;
        hub.start_program().await;
        hub.push_ticket().await;
        hub
    }

    async fn new(permit: Option<SemaphorePermit<'static>>) -> Self {
        Self::with_fault(permit, None).await
    }

    /// `fault` is in place before the simulator starts: its first ticket push does not wait for the hub.
    async fn with_fault(permit: Option<SemaphorePermit<'static>>, fault: Option<InjectedFault>) -> Self {
        let url = format!("http://127.0.0.1:{}", free_port());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::with_listener(listener, url, permit, fault)
    }

    /// A hub deployed elsewhere, at `url`, that uses the WeChat listening here.
    #[must_use]
    pub fn of_deployment(listener: tokio::net::TcpListener, url: String) -> Self {
        Self::with_listener(listener, url, None, None)
    }

    fn with_listener(
        listener: tokio::net::TcpListener,
        url: String,
        permit: Option<SemaphorePermit<'static>>,
        fault: Option<InjectedFault>,
    ) -> Self {
        let wechat_url = format!("http://{}", listener.local_addr().unwrap());
        let wechat = Simulator::new(SimulatorDependencies {
            component: component(),
            hub_url: url.clone(),
            clock: Arc::new(SystemClock),
            random: Arc::new(StdRandom::from_system().unwrap()),
            hub: Arc::new(HttpHub::new().unwrap()),
        })
        .unwrap();
        wechat.configure(|habits| {
            habits.result_delay_ms = 0;
            habits.push_pause_ms = 50;
        });
        if let Some(fault) = fault {
            wechat.inject_fault(fault);
        }
        tokio::spawn(wechat_simulator::serve(listener, wechat.clone(), pending()));
        let settings = settings(&wechat_url, &url);
        let program = binary::oahub().to_owned();
        let directory = TempDirectory::new();
        Self {
            wechat,
            wechat_url,
            url,
            process: None,
            program,
            tick_seconds: Some(1),
            arguments: Vec::new(),
            settings,
            directory,
            cookies: Mutex::default(),
            _permit: permit,
        }
    }

    /// Starts the program on the existing data.
    pub async fn start_program(&mut self) {
        let data = self.data_folder().display().to_string();
        let address = self.url.trim_start_matches("http://").to_owned();
        let mut arguments = vec!["--listen", &address, "--wechat", "live", "--data", &data];
        let tick = self.tick_seconds.map(|seconds| seconds.to_string());
        arguments.extend(tick.iter().flat_map(|seconds| ["--tick", seconds]));
        arguments.extend(self.arguments.iter().map(String::as_str));
        if !arguments.contains(&"--aws-throttles") {
            arguments.extend(["--aws-throttles", "false"]); // many tests at once are more than one deployment takes
        }
        let settings: Vec<_> = self.settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut process = Process::spawn_program(&self.program, &arguments, &settings, &self.log_file());
        let ready = process.next_line().await;
        let expected = format!("oahub ready on {}", self.url);
        assert_eq!(ready.as_deref(), Some(expected.as_str()), "{}", self.log());
        self.process = Some(process);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// The program that runs.
    #[must_use]
    pub fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    /// Stops the program with SIGTERM.
    pub async fn terminate(&mut self) -> std::process::ExitStatus {
        self.process.take().unwrap().terminate().await
    }

    /// WeChat pushes a ticket, as it does every 10 minutes.
    pub async fn push_ticket(&self) {
        until("a ticket", async || {
            (self.wechat.push_ticket().await.outcome == PushOutcome::Accepted).then_some(())
        })
        .await;
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The folder of its `--data`.
    #[must_use]
    pub fn data_folder(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// The operator.
    #[must_use]
    pub fn operator(&self) -> ApiClient {
        ApiClient { url: self.url.clone(), key: Some(ADMIN_KEY.into()) }
    }

    /// A client without a key.
    #[must_use]
    pub fn anonymous(&self) -> ApiClient {
        ApiClient { url: self.url.clone(), key: None }
    }
}

/// A free port below the ephemeral range, so that the hub finds it free again after a
/// crash.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 1000).unwrap_or(0) * 10;
    (0..1000)
        .map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed) % 2000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}
