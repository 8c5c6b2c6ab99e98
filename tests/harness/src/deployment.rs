//! The deployment: its functions in instances that live and die, over one set of [`Backends`].

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use local::{
    environment, functions,
    lambda::chain::Chain,
    routes::Routes,
    template::{self, EventSpec, FunctionSpec, Template},
};
use serde_json::Value;
use shared::{
    clock::Clock,
    config::{Config, Need},
    deadline::Deadline,
    function::Function,
    random::Random,
    services::{Dependencies, Services},
};
use tokio::time::Instant;
use wechat_simulator::{Simulator, crypto::AesKey};

use crate::{
    backends::{Backends, PausedClock},
    faults::SeededRng,
    faulty_transport::{FaultyTransport, RequestCounts},
    iam_monitor,
    records::{AcknowledgedPush, ConsentGiven, PushArrival},
    settings::{self, AES_KEY},
};

/// Warm instances kept of one function.
const MAX_WARM_INSTANCES: usize = 2;

/// A process of a function. Dropping it loses what it had cached.
struct FunctionInstance {
    function: Function,
    transport: Arc<FaultyTransport>,
}

/// Delivers WeChat's pushes to the functions in process.
#[derive(Default)]
pub(crate) struct InProcessHub(pub(crate) OnceLock<Weak<SimulatedDeployment>>);

/// The deployment.
pub struct SimulatedDeployment {
    /// What every instance reaches.
    pub backends: Arc<Backends>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// WeChat's EncodingAESKey, to decrypt pushes and replies.
    pub key: AesKey,
    environment: BTreeMap<String, String>,
    random: Arc<dyn Random>,
    pub(crate) template: Template,
    routes: Routes<String>,
    warm_instances: Mutex<BTreeMap<String, Vec<FunctionInstance>>>,
    /// Pushes that a function acknowledged, in that order.
    pub acknowledged: Mutex<Vec<AcknowledgedPush>>,
    /// When each push arrived, by plaintext.
    pub arrivals: Mutex<BTreeMap<String, PushArrival>>,
    /// Pushes that will be delivered again much later.
    pub late_pushes: Mutex<Vec<(String, String)>>,
    /// Batches that will be delivered again later.
    pub late_batches: Mutex<Vec<(String, Value)>>,
    /// Consents that were given through pages of the hub.
    pub consents: Mutex<Vec<ConsentGiven>>,
    /// When an account's authorization was withdrawn.
    pub withdrawals: Mutex<Vec<(String, i64)>>,
    /// Broken rules: what an invocation did that none may do.
    pub violations: Mutex<Vec<String>>,
    running: AtomicUsize,
}

impl SimulatedDeployment {
    /// A deployment with empty tables and no accounts. Needs a runtime whose time is paused.
    pub fn new(seed: u64) -> Arc<Self> {
        let clock: Arc<dyn Clock> = Arc::new(PausedClock(Instant::now()));
        let random: Arc<dyn Random> = Arc::new(SeededRng::new(seed ^ 1));
        let template = template::parse(template::TEMPLATE).unwrap();
        let environment = settings::environment(&template);
        let config = settings::load_config(Need::ALL, &environment);
        let mut routes = Routes::default();
        for function in &template.functions {
            for event in &function.events {
                if let EventSpec::Http { method, path } = event {
                    routes.add(method, path, function.name.clone());
                }
            }
        }
        let backends = Arc::new(Backends::new(seed, &clock, &template));
        let hub = Arc::new(InProcessHub::default());
        let simulator = Simulator::new(wechat_simulator::SimulatorDependencies {
            component: config.component.clone(),
            hub_url: config.public_url.clone(),
            clock: Arc::clone(&clock),
            random: Arc::new(SeededRng::new(seed ^ 4)),
            hub: Arc::clone(&hub) as Arc<dyn wechat_simulator::HubTransport>,
        });
        assert!(backends.sim.set(simulator.unwrap()).is_ok());
        let world = Arc::new(Self {
            backends,
            clock,
            key: AesKey::decode(AES_KEY).unwrap(),
            environment,
            random,
            template,
            routes,
            warm_instances: Mutex::default(),
            acknowledged: Mutex::default(),
            arrivals: Mutex::default(),
            late_pushes: Mutex::default(),
            late_batches: Mutex::default(),
            consents: Mutex::default(),
            withdrawals: Mutex::default(),
            violations: Mutex::default(),
            running: AtomicUsize::new(0),
        });
        hub.0.set(Arc::downgrade(&world)).unwrap();
        world
    }

    /// Creates the tables.
    pub async fn create_tables(&self) {
        let clients = FaultyTransport::new(&self.backends, iam_monitor::OPERATOR).aws_clients();
        local::database::tables::create_tables(&clients.dynamodb, &self.template.tables).await.unwrap();
    }

    /// WeChat.
    pub fn sim(&self) -> &Simulator {
        self.backends.sim.get().unwrap()
    }

    /// Unix seconds.
    pub fn now(&self) -> i64 {
        self.clock.unix()
    }

    /// Whether a function is running.
    pub fn is_busy(&self) -> bool {
        self.running.load(Ordering::SeqCst) > 0
    }

    /// Invokes a function in an instance of its own, warm or new. [`None`] if the process died, or
    /// the function failed or took too long.
    pub async fn invoke(&self, name: &str, event: Value) -> Option<(Value, RequestCounts)> {
        self.invoke_in(&Chain::default(), name, event).await
    }

    /// The same within a chain of invocations. Lambda breaks such loops unless the template allows them.
    pub async fn invoke_in(&self, chain: &Chain, name: &str, event: Value) -> Option<(Value, RequestCounts)> {
        self.running.fetch_add(1, Ordering::SeqCst);
        let spec = self.template.functions.iter().find(|f| f.name == name).unwrap();
        let warm = self.warm_instances.lock().unwrap().get_mut(name).and_then(Vec::pop);
        let instance = warm.unwrap_or_else(|| self.start_instance(spec));
        instance.transport.reset_counts();
        let ends = Deadline::after(&*self.clock, spec.timeout);
        let answer = tokio::select! {
            biased;
            () = instance.transport.crashed() => None,
            answer = tokio::time::timeout(spec.timeout, chain.enter(name).scope(instance.function.call(event, ends))) => answer.ok(),
        };
        let seen = instance.transport.counts();
        if answer.is_some() {
            let mut warm = self.warm_instances.lock().unwrap();
            let idle = warm.entry(name.to_owned()).or_default();
            idle.push(instance);
            idle.truncate(MAX_WARM_INSTANCES);
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        answer.and_then(Result::ok).map(|answer| (answer, seen))
    }

    /// Drops all warm instances and what they had cached.
    pub fn drop_warm_instances(&self) {
        self.warm_instances.lock().unwrap().clear();
    }

    /// The hub's services with all rights, for tests that look inside.
    pub fn services(&self) -> Arc<Services> {
        self.services_over(
            &FaultyTransport::new(&self.backends, iam_monitor::OPERATOR),
            settings::load_config(Need::ALL, &self.environment),
        )
    }

    fn services_over(&self, wire: &Arc<FaultyTransport>, config: Config) -> Arc<Services> {
        let parts = Dependencies {
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            transport: Arc::<FaultyTransport>::clone(wire),
            aws: wire.aws_clients(),
        };
        Services::new(config, parts).unwrap()
    }

    fn start_instance(&self, spec: &FunctionSpec) -> FunctionInstance {
        let wire = FaultyTransport::new(&self.backends, &spec.name);
        let environment = environment::for_function(spec, &self.environment);
        let app = self.services_over(
            &wire,
            settings::load_config(functions::needs(&spec.code_uri).unwrap(), &environment),
        );
        FunctionInstance { function: functions::function_for(&spec.code_uri, &app).unwrap(), transport: wire }
    }

    /// Whether the account is bound now.
    pub fn is_bound(&self, app_id: &str) -> bool {
        self.backends.is_bound(app_id)
    }

    /// Whether the account is bound, and has been without a break since before `second`.
    pub fn bound_since(&self, app_id: &str, second: i64) -> bool {
        let changed = self.backends.binding_changed_at.lock().unwrap().get(app_id).copied().unwrap_or(0);
        self.is_bound(app_id) && changed < second
    }

    /// The function behind a route.
    pub fn function_for(&self, method: &str, path: &str) -> String {
        self.routes.find(method, path).unwrap().target.clone()
    }
}
