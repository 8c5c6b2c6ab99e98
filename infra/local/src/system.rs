//! The whole system, started and stopped.

mod event_sources;
mod servers;
mod start_error;

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use local_sqs::Sqs;
use shared::{
    clock::SystemClock,
    config::{Config, ConfigError, Need, RunMode, SIMULATED_ADMIN_KEY},
    random::{Random, StdRandom},
    services::{Dependencies, Services},
    wechat::http::HttpTransport,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use wechat_simulator::{HttpHub, Simulator, hosts::AllowedHosts};

use crate::{
    data_folder::{self, DataFolder},
    database::{Database, fault_injection::FaultInjector, tables::create_tables},
    environment::{self, Addresses},
    functions::{self, Handler, Resolve},
    gateway::{Gateway, Throttles},
    in_process_http::InProcessHttp,
    listen,
    options::{Options, WeChatMode},
    template::{self, FunctionSpec, Template},
};

pub use start_error::StartError;

/// How long in-flight work may take at the end before it is dropped: longer than any function.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// A system that runs.
pub struct System {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// Where the simulated WeChat listens.
    pub wechat: Option<SocketAddr>,
    /// Where browsers and WeChat reach it.
    pub public_url: String,
    /// The operator's key of the simulated deployment, which is public; `None` if the operator has set one.
    pub admin_key: Option<String>,
    sqs: Sqs,
    database: Database,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    /// DynamoDB's and SQS's ports, which serve until the end: what is in flight deletes its messages there.
    services: JoinSet<()>,
}

impl System {
    /// Starts everything; `get` is the process's environment.
    ///
    /// # Errors
    /// What could not be started, and why.
    pub async fn start(options: &Options, get: impl Fn(&str) -> Option<String>) -> Result<Self, StartError> {
        let template = template::for_account(options.aws.concurrency)?;
        Self::start_with(options, get, &template, &|spec, _, app| {
            functions::function_for(&spec.code_uri, app)
                .map(|function| Arc::new(function) as Arc<dyn Handler>)
        })
        .await
    }

    /// The same with another template, or with the functions' code elsewhere. A folder that this start created
    /// is removed if the start fails.
    ///
    /// # Errors
    /// What could not be started, and why.
    pub async fn start_with(
        options: &Options,
        get: impl Fn(&str) -> Option<String>,
        template: &Template,
        find: &Resolve<'_>,
    ) -> Result<Self, StartError> {
        let own_key = get("OAHUB_ADMIN_KEY").is_some_and(|key| !key.is_empty() && key != SIMULATED_ADMIN_KEY);
        listen::reject_weak_admin_key(options.listen, options.wechat, &get)?;
        let (gateway, wechat) =
            listen::listen(options.listen, options.wechat, options.expose_simulator).await?;
        let aws = match options.aws.endpoints {
            true => Some((servers::bind_loopback().await?, servers::bind_loopback().await?)),
            false => None,
        };
        let addresses = Addresses {
            gateway: servers::local_address(&gateway)?,
            aws: match &aws {
                Some((dynamodb, sqs)) => {
                    Some((servers::local_address(dynamodb)?, servers::local_address(sqs)?))
                }
                None => None,
            },
            wechat: wechat.as_ref().map(servers::local_address).transpose()?,
        };
        let mut environment = environment::for_all_functions(options.wechat, &addresses, template, get);
        if options.wechat == WeChatMode::Simulated && !options.listen.ip().is_loopback() {
            // with the public constants, anyone could forge pushes
            environment::randomize_secrets(&mut environment, &StdRandom::from_system()?);
        }
        let surroundings = match options.wechat {
            WeChatMode::Simulated => RunMode::Simulated,
            WeChatMode::Live => RunMode::Live,
        };
        let config = Config::load(Need::ALL, surroundings, |name| environment.get(name).cloned())?;
        let start = ValidatedStart {
            options,
            template,
            addresses,
            surroundings,
            admin_key: config
                .admin_keys
                .first()
                .filter(|_| wechat.is_some() && !own_key)
                .map(|key| key.expose().to_owned()),
            config,
            environment,
        };
        let folder = DataFolder::open(&options.data, options.wechat, &start.config.component.app_id)?;
        match start.run(folder.path(), Listeners { gateway, wechat, aws }, find).await {
            Ok(system) => Ok(system),
            Err(error) => {
                folder.remove_if_new();
                Err(error)
            }
        }
    }

    /// Accepts no new work, lets in-flight work finish, and stops.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        self.sqs.end_long_polls();
        let drained =
            tokio::time::timeout(DRAIN_TIMEOUT, async { while self.tasks.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!("some work was still in flight; its messages come again at the next start");
        }
        self.tasks.shutdown().await;
        self.services.shutdown().await;
        self.database.truncate_log().await;
    }
}

/// The open listeners.
struct Listeners {
    gateway: TcpListener,
    wechat: Option<TcpListener>,
    aws: Option<(TcpListener, TcpListener)>,
}

/// A start whose settings are valid.
struct ValidatedStart<'a> {
    options: &'a Options,
    template: &'a Template,
    addresses: Addresses,
    surroundings: RunMode,
    admin_key: Option<String>,
    config: Config,
    environment: BTreeMap<String, String>,
}

impl ValidatedStart<'_> {
    async fn run(
        self,
        folder: &Path,
        listeners: Listeners,
        find: &Resolve<'_>,
    ) -> Result<System, StartError> {
        let (clock, random) = (Arc::new(SystemClock), Arc::new(StdRandom::from_system()?));
        let Self { options, template, addresses, surroundings, admin_key, config, environment } = self;
        let sqs = Sqs::open(Some(folder), clock.clone(), random.clone())
            .map_err(|error| StartError::Io { what: format!("queues in {}", folder.display()), error })?;
        sqs.limit_in_flight(options.aws.in_flight);
        for queue in &template.queues {
            sqs.create_queue(&queue.name, queue.attributes.clone())
                .map_err(|e| StartError::Other(format!("{}: {e:?}", queue.name)))?;
        }
        let database = Database::open(folder)?;
        if let Some(habits) = options.aws.database_faults() {
            database.inject_faults(FaultInjector::new(
                habits,
                &template.tables,
                clock.clone(),
                random.clone(),
            ));
        }
        let (stop, stopped) = watch::channel(false);
        let (mut tasks, mut services) = (JoinSet::new(), JoinSet::new());
        if let Some((dynamodb, queues)) = listeners.aws {
            servers::serve_aws(dynamodb, &database, queues, &sqs, &mut services);
        }
        let aws = InProcessHttp::new(&database, &sqs).clients(&config.resources);
        create_tables(&aws.dynamodb, &template.tables).await?;
        let simulator = match &listeners.wechat {
            Some(_) => Some(demo_simulator(&config, addresses.gateway, folder, random.clone())?),
            None => None,
        };
        let parts = Dependencies {
            clock: clock.clone(),
            random: random.clone(),
            transport: Arc::new(HttpTransport::new()),
            aws: aws.clone(),
        };
        let load = |spec: &FunctionSpec| {
            let environment = environment::for_function(spec, &environment);
            let needs = functions::needs(&spec.code_uri).unwrap_or_default();
            let config = Config::load(needs, surroundings, |name| environment.get(name).cloned())?;
            Ok::<_, ConfigError>((environment, config))
        };
        let find = |spec: &FunctionSpec, parts: Dependencies| {
            let (environment, config) = load(spec)?;
            let code = find(spec, &environment, &Services::new(config, parts)?);
            code.ok_or_else(|| {
                StartError::Other(format!("{} of template.yaml is not in this binary", spec.code_uri))
            })
        };
        let routes = event_sources::start_functions(template, &parts, &find, options, &stopped, &mut tasks)?;
        let public = config.public_url.parse::<http::Uri>().ok();
        let hosts = AllowedHosts::for_listener(addresses.gateway);
        let hosts = match public.as_ref().and_then(http::Uri::host) {
            Some(host) => hosts.with_name(host),
            None => hosts,
        };
        let throttles = match options.aws.throttles {
            true => Throttles::new(&template.throttles, template.default_throttle),
            false => Throttles::default(),
        };
        let gateway = Gateway { routes, throttles, hosts, clock, random };
        servers::serve_gateway(gateway, listeners.gateway, &stopped, &mut tasks);
        if let (Some(listener), Some(simulator)) = (listeners.wechat, simulator) {
            servers::serve_simulator(simulator, listener, &stopped, &mut tasks);
        }
        Ok(System {
            gateway: addresses.gateway,
            wechat: addresses.wechat,
            public_url: config.public_url,
            admin_key,
            sqs,
            database,
            stop,
            tasks,
            services,
        })
    }
}

fn demo_simulator(
    config: &Config,
    gateway: SocketAddr,
    folder: &Path,
    random: Arc<dyn Random>,
) -> Result<Simulator, StartError> {
    let other = |error: String| StartError::Other(format!("simulated WeChat: {error}"));
    let simulator = Simulator::demo(wechat_simulator::SimulatorDependencies {
        component: config.component.clone(),
        hub_url: format!("http://{gateway}"),
        clock: Arc::new(SystemClock),
        random,
        hub: Arc::new(HttpHub::new().map_err(|e| other(e.to_string()))?),
    })
    .map_err(|e| other(e.to_string()))?;
    simulator.persist_to(folder.join(data_folder::WECHAT_FILE)).map_err(|e| other(e.to_string()))?;
    Ok(simulator)
}
