//! A whole deployment in one process: the hub's functions, DynamoDB, SQS and WeChat, on one thread and one
//! clock, without sockets. Everything that happens in it follows from a seed.
//!
//! | module | what it is |
//! |---|---|
//! | [`faults`] | draws what goes wrong |
//! | [`faulty_transport`] | how a function reaches DynamoDB, SQS and WeChat, with faults, counted |
//! | [`dynamo`] | DynamoDB without a server |
//! | [`transient_errors`] | transient errors of DynamoDB |
//! | [`hub`] | pushes on their way from WeChat to the hub, and what became of each |
//! | [`queues`] | event source mappings: between a queue and a function |
//! | [`api`] | what a tenant's program and a browser do |
//! | [`refresh_monitor`] | token refreshes, which must never overlap |
//! | [`iam_monitor`] | IAM: refuses what the template does not allow, and records what is used |

pub mod api;
pub mod dynamo;
pub mod faults;
pub mod faulty_transport;
pub mod hub;
pub mod iam_monitor;
pub mod queues;
pub mod refresh_monitor;
pub mod transient_errors;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dynoxide::Database;
use jiff::Timestamp;
use local::{
    environment, functions,
    lambda::chain::Chain,
    routes::Routes,
    template::{self, EventSpec, FunctionSpec, Template},
};
use local_sqs::Sqs;
use serde_json::{Value, json};
use shared::{
    clock::Clock,
    config::{Config, Need, RunMode},
    deadline::Deadline,
    function::Function,
    random::Random,
    services::{Dependencies, Services},
};
use tokio::time::Instant;
use wechat_simulator::{Simulator, crypto::AesKey};

use api::ConsentGiven;
use faults::{FaultGenerator, SeededRng};
use faulty_transport::{FaultyTransport, RequestCounts};
use hub::{AcknowledgedPush, InProcessHub, PushArrival};
use iam_monitor::IamMonitor;
use refresh_monitor::RefreshMonitor;

/// The operator's key.
pub const ADMIN_KEY: &str = "simulated-admin-key";
const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
/// When a simulation starts: 2025-01-01.
pub const START_TIME: i64 = 1_735_689_600;
/// Longest step of simulated time: a ticket lives 12 hours.
const OUTAGE_STEP_SECONDS: i64 = 8 * 3600;
/// Warm instances kept of one function.
const MAX_WARM_INSTANCES: usize = 2;

/// The runtime's paused time: it stands still while a task runs and jumps when all of them wait.
struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let ms = i64::try_from(self.0.elapsed().as_millis()).unwrap();
        Timestamp::from_millisecond(START_TIME * 1000 + ms).unwrap()
    }
}

/// What every instance reaches.
pub struct Backends {
    /// DynamoDB.
    pub db: Database,
    /// SQS.
    pub sqs: Sqs,
    /// What goes wrong.
    pub faults: FaultGenerator,
    /// WeChat.
    pub sim: OnceLock<Simulator>,
    /// Checks that token refreshes never overlap.
    pub refresh_monitor: RefreshMonitor,
    /// Checks the functions' rights.
    pub iam_monitor: IamMonitor,
    /// When each account was last bound or unbound.
    pub binding_changed_at: Mutex<BTreeMap<String, i64>>,
    /// Every binding and unbinding, in the order of the writes.
    pub binding_changes: Mutex<Vec<BindingChange>>,
    clock: Arc<dyn Clock>,
}

/// A change of an account's binding in the hub's table.
#[derive(Debug, Clone)]
pub struct BindingChange {
    /// The account.
    pub app_id: String,
    /// Its item before; `None` for a new one.
    pub before: Option<Value>,
    /// Its item after.
    pub after: Value,
    /// When, unix seconds.
    pub at: i64,
}

impl Backends {
    fn account(&self, app_id: &str) -> Option<Value> {
        dynamo::get_item(&self.db, "PlatformTable", &format!("ACCOUNT#{app_id}"), "ACCOUNT")
    }

    fn is_bound(&self, app_id: &str) -> bool {
        self.account(app_id).is_some_and(|a| is_bound(&a))
    }

    /// Runs one request to DynamoDB and records what it binds or unbinds.
    fn dynamodb(&self, operation: &str, body: &str) -> (u16, String) {
        let about =
            |app: &&String| body.contains(&format!("ACCOUNT#{app}")) && body.contains("PlatformTable");
        let touched: Vec<String> = match dynamo::is_write(operation) {
            true => self.binding_changed_at.lock().unwrap().keys().filter(about).cloned().collect(),
            false => Vec::new(),
        };
        let before: Vec<Option<Value>> = touched.iter().map(|app| self.account(app)).collect();
        let answer = dynamo::call(&self.db, operation, body);
        for (app_id, was) in touched.into_iter().zip(before) {
            let Some(is) = self.account(&app_id) else { continue };
            let owner = |account: &Value| is_bound(account).then(|| account["tenant_id"].clone());
            if was.as_ref().and_then(owner) != owner(&is) {
                let at = self.clock.unix();
                self.binding_changed_at.lock().unwrap().insert(app_id.clone(), at);
                self.binding_changes.lock().unwrap().push(BindingChange {
                    app_id,
                    before: was,
                    after: is,
                    at,
                });
            }
        }
        answer
    }
}

fn is_bound(account: &Value) -> bool {
    account["status"] == "bound" && account["deleted"] != true
}

/// A process of a function. Dropping it loses what it had cached.
struct FunctionInstance {
    function: Function,
    transport: Arc<FaultyTransport>,
}

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
    template: Template,
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
        let environment = environment(&template);
        let config = load_config(Need::ALL, &environment);
        let sqs = Sqs::open(None, Arc::clone(&clock), Arc::new(SeededRng::new(seed ^ 2))).unwrap();
        for queue in &template.queues {
            sqs.create_queue(&queue.name, queue.attributes.clone()).unwrap();
        }
        let mut routes = Routes::default();
        for function in &template.functions {
            for event in &function.events {
                if let EventSpec::Http { method, path } = event {
                    routes.add(method, path, function.name.clone());
                }
            }
        }
        let base = Arc::new(Backends {
            db: Database::memory().unwrap(),
            sqs,
            faults: FaultGenerator::new(seed ^ 3),
            sim: OnceLock::new(),
            refresh_monitor: RefreshMonitor::new(Arc::clone(&clock)),
            iam_monitor: IamMonitor::new(&template),
            binding_changed_at: Mutex::default(),
            binding_changes: Mutex::default(),
            clock: Arc::clone(&clock),
        });
        let hub = Arc::new(InProcessHub::default());
        let simulator = Simulator::new(wechat_simulator::SimulatorDependencies {
            component: config.component.clone(),
            hub_url: config.public_url.clone(),
            clock: Arc::clone(&clock),
            random: Arc::new(SeededRng::new(seed ^ 4)),
            hub: Arc::clone(&hub) as Arc<dyn wechat_simulator::HubTransport>,
        });
        assert!(base.sim.set(simulator.unwrap()).is_ok());
        let world = Arc::new(Self {
            backends: base,
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
        hub.connect(&world);
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
            load_config(Need::ALL, &self.environment),
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
        let app =
            self.services_over(&wire, load_config(functions::needs(&spec.code_uri).unwrap(), &environment));
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

    /// A tick of the schedule.
    pub async fn tick(&self) {
        self.invoke("TokenRefresh", json!({"schedule": "tick"})).await;
    }

    /// As if the schedule had always ticked: a first tick would walk through every slot of the wheel.
    pub fn mark_ticked(&self) {
        let minute = json!({"N": (self.now() / 60).to_string()});
        let item = json!({"pk": {"S": "REFRESH"}, "sk": {"S": "TICK"}, "minute": minute});
        let body = json!({"TableName": "CredentialsTable", "Item": item}).to_string();
        assert_eq!(dynamo::call(&self.backends.db, "PutItem", &body).0, 200);
    }

    /// Advances time: on the way tickets are pushed, schedules tick and queues are processed.
    pub async fn advance(&self, seconds: i64) {
        let end = self.now() + seconds;
        while self.now() < end {
            let left = end - self.now();
            // most of a long time is an outage of the schedule
            let step = left.min(if left > OUTAGE_STEP_SECONDS { OUTAGE_STEP_SECONDS } else { 1200 });
            tokio::time::sleep(Duration::from_secs(step.unsigned_abs())).await;
            if step >= 600 {
                self.sim().push_ticket().await;
            }
            if step >= 60 {
                self.tick().await;
                self.process_batches(1).await;
            }
        }
    }

    /// The function behind a route.
    pub fn function_for(&self, method: &str, path: &str) -> String {
        self.routes.find(method, path).unwrap().target.clone()
    }
}

fn environment(template: &Template) -> BTreeMap<String, String> {
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    for (variable, logical_id) in &template.variables {
        if let Some(queue) = template.queues.iter().find(|q| q.logical_id == *logical_id) {
            given.insert(variable.clone(), Sqs::queue_url(&queue.name));
        } else if template.tables.iter().any(|t| t.name == *logical_id) {
            given.insert(variable.clone(), logical_id.clone());
        }
    }
    for (name, value) in [
        ("OAHUB_COMPONENT_APP_ID", "wx00c0ffee00c0ffee"),
        ("OAHUB_COMPONENT_APP_SECRET", "0123456789abcdef0123456789abcdef"),
        ("OAHUB_COMPONENT_TOKEN", "simulated"),
        ("OAHUB_COMPONENT_AES_KEY", AES_KEY),
        ("OAHUB_ADMIN_KEY", ADMIN_KEY),
        ("OAHUB_PUBLIC_URL", "http://hub"),
        ("OAHUB_WECHAT_API_URL", "http://wechat"),
        ("OAHUB_WECHAT_MP_URL", "http://wechat"),
        ("OAHUB_WECHAT_OPEN_URL", "http://wechat"),
    ] {
        given.insert(name.into(), value.into());
    }
    given
}

fn load_config(needs: &[Need], environment: &BTreeMap<String, String>) -> Config {
    Config::load(needs, RunMode::Simulated, |name| environment.get(name).cloned()).unwrap()
}
