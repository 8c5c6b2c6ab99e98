//! The whole system, started and stopped.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use shared::{
    app::{App, Parts},
    clock::SystemClock,
    config::{Config, ConfigError, Need, Surroundings},
    random::{Rand, Random},
    wechat::http::HttpTransport,
};
use thiserror::Error;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use wechat_simulator::{HttpHub, Simulator};

use crate::{
    database::{self, Database, DatabaseError},
    functions::{self, Code, Find},
    gateway::{self, Gateway},
    lambda::{Target, concurrency::Account},
    mapping::{self, Mapping},
    options::{Options, WeChat},
    rights::guard,
    routes::Routes,
    schedule,
    settings::{self, Addresses},
    sqs::{self, Sqs},
    template::{self, EventSpec, FunctionSpec, Template, TemplateError},
    wire::Wire,
};

/// How long what is in flight may take to end, after which it is dropped: longer than any function.
const DRAIN: Duration = Duration::from_secs(25);

/// Why the system did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// An address or a file.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// A system that runs.
pub struct System {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// Where the simulated WeChat listens.
    pub wechat: Option<SocketAddr>,
    /// The operator's key of the simulated set-up; none with real settings.
    pub admin_key: Option<String>,
    sqs: Sqs,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl System {
    /// Starts everything; `get` is the process's environment.
    ///
    /// # Errors
    /// What could not be started, and why.
    pub async fn start(options: &Options, get: impl Fn(&str) -> Option<String>) -> Result<Self, StartError> {
        let template = template::parse(template::TEMPLATE)?;
        Self::start_with(options, get, &template, &|spec, _, app| {
            functions::of(&spec.code_uri, app).map(|function| Arc::new(function) as Arc<dyn Code>)
        })
        .await
    }

    /// The same with another template, or with the functions' code elsewhere.
    ///
    /// # Errors
    /// What could not be started, and why.
    pub async fn start_with(
        options: &Options,
        get: impl Fn(&str) -> Option<String>,
        template: &Template,
        find: &Find<'_>,
    ) -> Result<Self, StartError> {
        let (clock, random) = (Arc::new(SystemClock), Arc::new(Rand::from_system()));
        let io = |what: String| move |error| StartError::Io { what, error };
        std::fs::create_dir_all(&options.data)
            .map_err(io(format!("data directory {}", options.data.display())))?;
        let listener = listen(options.listen).await?;
        let gateway_address = local_address(&listener)?;
        let simulated = match options.wechat {
            WeChat::Simulated => Some(listen_beside(gateway_address).await?),
            WeChat::Live => None,
        };
        let sqs = Sqs::open(Some(&options.data), clock.clone(), random.clone())
            .map_err(io(format!("queues in {}", options.data.display())))?;
        sqs.limit_in_flight(options.aws.in_flight);
        for queue in &template.queues {
            sqs.create_queue(&queue.name, queue.attributes.clone())
                .map_err(|e| StartError::Other(format!("{}: {e:?}", queue.name)))?;
        }
        let database = Database::open(&options.data)?;
        let sqs_listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let dynamodb_listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let addresses = Addresses {
            gateway: gateway_address,
            dynamodb: local_address(&dynamodb_listener)?,
            sqs: local_address(&sqs_listener)?,
            wechat: simulated.as_ref().map(local_address).transpose()?,
        };
        let environment = settings::environment(options.wechat, &addresses, template, get);
        let surroundings = match options.wechat {
            WeChat::Simulated => Surroundings::Simulated,
            WeChat::Live => Surroundings::Live,
        };
        let config = Config::load(Need::ALL, surroundings, |name| environment.get(name).cloned())?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let (sqs, until) = (sqs.clone(), forever());
            async move {
                if let Err(error) = sqs::server::serve(sqs_listener, sqs, until).await {
                    tracing::error!(%error, "SQS ended: {error}");
                }
            }
        });
        tasks.spawn({
            let (database, until) = (database.clone(), forever());
            async move {
                if let Err(error) = database::server::serve(dynamodb_listener, database, until).await {
                    tracing::error!(%error, "DynamoDB ended: {error}");
                }
            }
        });
        let aws = Wire::new(&database, &sqs).clients(&config.resources);
        database::create_tables(&aws.dynamodb, &template.tables).await?;
        let simulator = match &simulated {
            Some(_) => Some(simulator(&config, gateway_address, options, random.clone())?),
            None => None,
        };
        let admin_key =
            config.admin_keys.first().filter(|_| simulated.is_some()).map(|key| key.expose().to_owned());
        let parts = Parts {
            clock: clock.clone(),
            random: random.clone(),
            transport: Arc::new(HttpTransport::new()),
            aws: aws.clone(),
        };
        let load = |spec: &FunctionSpec| {
            let environment = settings::of_function(spec, &environment);
            let needs = functions::needs(&spec.code_uri).unwrap_or_default();
            let config = Config::load(needs, surroundings, |name| environment.get(name).cloned())?;
            Ok::<_, ConfigError>((environment, config))
        };
        let find = |spec: &FunctionSpec, parts: Parts| {
            let (environment, config) = load(spec)?;
            let code = find(spec, &environment, &App::new(config, parts)?);
            code.ok_or_else(|| {
                StartError::Other(format!("{} of template.yaml is not in this binary", spec.code_uri))
            })
        };
        let routes = start_functions(template, &parts, &find, options, &stopped, &mut tasks)?;
        let gateway = Gateway { routes, clock, random };
        serve_gateway(gateway, listener, &stopped, &mut tasks);
        if let (Some(listener), Some(simulator)) = (simulated, simulator) {
            let until = wait(stopped.clone());
            tasks.spawn(async move {
                if let Err(error) = wechat_simulator::serve(listener, simulator, until).await {
                    tracing::error!(%error, "the simulated WeChat ended: {error}");
                }
            });
        }
        Ok(Self { gateway: gateway_address, wechat: addresses.wechat, admin_key, sqs, stop, tasks })
    }

    /// Takes nothing new, lets what is in flight end, and stops.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        self.sqs.stop_waiting();
        let drained = tokio::time::timeout(DRAIN, async {
            // both services serve until the end: what is in flight deletes its messages there
            while self.tasks.len() > 2 {
                self.tasks.join_next().await;
            }
        });
        if drained.await.is_err() {
            tracing::warn!("some work was still in flight; its messages come again at the next start");
        }
        self.tasks.shutdown().await;
    }
}

/// [`Find`] with this system's environment, of which each function sees its own part.
type FindHere<'a> = dyn Fn(&FunctionSpec, Parts) -> Result<Arc<dyn Code>, StartError> + 'a;

/// Starts what calls functions by itself; the routes are for the gateway.
fn start_functions(
    template: &Template,
    parts: &Parts,
    find: &FindHere<'_>,
    options: &Options,
    stopped: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Result<Routes<Target>, StartError> {
    let mut routes = Routes::default();
    let account = Account::new(options.aws.concurrency, &template.functions).map_err(StartError::Other)?;
    let wire = parts.aws.dynamodb.config().http_client();
    let wire = wire.ok_or_else(|| StartError::Other("clients that lead nowhere".into()))?;
    for spec in &template.functions {
        // each has a process, caches and rights of its own, as on AWS
        let aws = guard::clients(&spec.name, &spec.rights, &wire, &parts.aws);
        let own = Parts {
            clock: Arc::clone(&parts.clock),
            random: Arc::clone(&parts.random),
            transport: Arc::clone(&parts.transport),
            aws: aws.clone(),
        };
        let code = find(spec, own)?;
        let target = Target {
            name: spec.name.clone(),
            code,
            timeout: spec.timeout,
            recursive: spec.recursive,
            room: account.room(&spec.name),
        };
        for event in &spec.events {
            match event {
                EventSpec::Http { method, path } => routes.add(method, path, target.clone()),
                EventSpec::Schedule { every } => {
                    let every = options.tick.unwrap_or(*every);
                    schedule::start(target.clone(), every, Arc::clone(&parts.clock), stopped, tasks);
                }
                EventSpec::Sqs { queue, batch_size, concurrency, item_failures } => {
                    let spec = template.queues.iter().find(|q| q.logical_id == *queue);
                    let queue =
                        spec.ok_or_else(|| StartError::Other(format!("no queue {queue} in template.yaml")))?;
                    let mapping = Mapping {
                        sqs: aws.sqs.clone(),
                        queue_url: Sqs::queue_url(&queue.name),
                        visibility: queue.visibility(),
                        batch_size: *batch_size,
                        concurrency: *concurrency,
                        item_failures: *item_failures,
                        target: target.clone(),
                    };
                    mapping::start(mapping, stopped, tasks);
                }
            }
        }
    }
    Ok(routes)
}

fn serve_gateway(
    gateway: Gateway,
    listener: TcpListener,
    stopped: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) {
    let service = gateway::router(Arc::new(gateway)).into_make_service_with_connect_info::<SocketAddr>();
    let until = wait(stopped.clone());
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(until).await {
            tracing::error!(%error, "the gateway ended: {error}");
        }
    });
}

fn simulator(
    config: &Config,
    gateway: SocketAddr,
    options: &Options,
    random: Arc<dyn Random>,
) -> Result<Simulator, StartError> {
    let other = |error: String| StartError::Other(format!("simulated WeChat: {error}"));
    let simulator = Simulator::demo(wechat_simulator::Parts {
        component: config.component.clone(),
        hub_url: format!("http://{gateway}"),
        clock: Arc::new(SystemClock),
        random,
        hub: Arc::new(HttpHub::new().map_err(|e| other(e.to_string()))?),
    })
    .map_err(|e| other(e.to_string()))?;
    simulator.keep_in(options.data.join("wechat.json")).map_err(|e| other(e.to_string()))?;
    Ok(simulator)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Io { what: format!("address {address}"), error })
}

/// The port after the gateway's, so that it is easy to find; any other where that is taken.
async fn listen_beside(gateway: SocketAddr) -> Result<TcpListener, StartError> {
    match gateway.port().checked_add(1) {
        Some(port) => match listen(SocketAddr::new(gateway.ip(), port)).await {
            Ok(listener) => Ok(listener),
            Err(_) => listen(SocketAddr::new(gateway.ip(), 0)).await,
        },
        None => listen(SocketAddr::new(gateway.ip(), 0)).await,
    }
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError::Io { what: "a listening address".into(), error })
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        if stopped.changed().await.is_err() {
            return;
        }
    }
}

fn forever() -> impl Future<Output = ()> {
    std::future::pending()
}
