//! A world in one process: the hub's functions, DynamoDB, SQS and WeChat, on one thread and one clock, with no
//! socket. Everything that happens in it follows from a seed.
//!
//! | room | what it is |
//! |---|---|
//! | [`chaos`] | the dice: what goes wrong |
//! | [`wire`] | how a function reaches DynamoDB, SQS and WeChat, with faults, counted |
//! | [`dynamo`] | DynamoDB without a server |
//! | [`refusals`] | what DynamoDB refuses for a moment |
//! | [`hub`] | pushes on their way from WeChat to the hub, and what became of each |
//! | [`queues`] | event source mappings: between a queue and a function |
//! | [`api`] | a tenant's program |
//! | [`flights`] | token refreshes, of which never two are in flight |
//! | [`usage`] | IAM, which notes what it is asked |

pub mod api;
pub mod chaos;
pub mod dynamo;
pub mod flights;
pub mod hub;
pub mod queues;
pub mod refusals;
pub mod usage;
pub mod wire;

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
    functions,
    lambda::chain::Chain,
    routes::Routes,
    settings,
    sqs::Sqs,
    template::{self, EventSpec, FunctionSpec, Template},
};
use serde_json::{Value, json};
use shared::{
    app::{App, Parts},
    clock::Clock,
    config::{Config, Need, Surroundings},
    deadline::Deadline,
    function::Function,
    random::Random,
};
use tokio::time::Instant;
use wechat_simulator::{Simulator, crypto::AesKey};

use api::Consented;
use chaos::{Chaos, Dice};
use flights::Flights;
use hub::{Arrival, Hub, Landed};
use usage::Usage;
use wire::{Seen, Wire};

/// The operator's key.
pub const ADMIN_KEY: &str = "simulated-admin-key";
const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
/// When a world begins: 2025-01-01, unix seconds.
pub const EPOCH: i64 = 1_735_689_600;
/// A step of a long time, seconds: a ticket lives 12 hours.
const OUTAGE: i64 = 8 * 3600;
/// Instances of one function that are kept warm.
const WARM: usize = 2;

/// The runtime's time, which stands still while anybody works and jumps where all wait.
struct WorldClock(Instant);

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        let ms = i64::try_from(self.0.elapsed().as_millis()).unwrap();
        Timestamp::from_millisecond(EPOCH * 1000 + ms).unwrap()
    }
}

/// What every instance reaches.
pub struct Base {
    /// DynamoDB.
    pub db: Database,
    /// SQS.
    pub sqs: Sqs,
    /// The dice.
    pub chaos: Chaos,
    /// WeChat.
    pub sim: OnceLock<Simulator>,
    /// Token refreshes.
    pub flights: Flights,
    /// Rights.
    pub usage: Usage,
    /// When an account was last bound or unbound.
    pub changed_at: Mutex<BTreeMap<String, i64>>,
    /// What made accounts bound and unbound, in the order of the writes.
    pub changes: Mutex<Vec<Change>>,
    clock: Arc<dyn Clock>,
}

/// An account became another than it was, as the hub has it.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which.
    pub app_id: String,
    /// Before, and now; none for one that was never here.
    pub was: Option<Value>,
    /// Now.
    pub is: Value,
    /// When, unix seconds.
    pub at: i64,
}

impl Base {
    fn account(&self, app_id: &str) -> Option<Value> {
        dynamo::item(&self.db, "PlatformTable", &format!("ACCOUNT#{app_id}"), "ACCOUNT")
    }

    fn bound(&self, app_id: &str) -> bool {
        self.account(app_id).is_some_and(|a| is_bound(&a))
    }

    /// One request to DynamoDB. Notes what binds and unbinds accounts.
    fn dynamodb(&self, operation: &str, body: &str) -> (u16, String) {
        let about =
            |app: &&String| body.contains(&format!("ACCOUNT#{app}")) && body.contains("PlatformTable");
        let touched: Vec<String> = match dynamo::writes(operation) {
            true => self.changed_at.lock().unwrap().keys().filter(about).cloned().collect(),
            false => Vec::new(),
        };
        let before: Vec<Option<Value>> = touched.iter().map(|app| self.account(app)).collect();
        let answer = dynamo::call(&self.db, operation, body);
        for (app_id, was) in touched.into_iter().zip(before) {
            let Some(is) = self.account(&app_id) else { continue };
            let owner = |account: &Value| is_bound(account).then(|| account["tenant_id"].clone());
            if was.as_ref().and_then(owner) != owner(&is) {
                let at = self.clock.unix();
                self.changed_at.lock().unwrap().insert(app_id.clone(), at);
                self.changes.lock().unwrap().push(Change { app_id, was, is, at });
            }
        }
        answer
    }
}

fn is_bound(account: &Value) -> bool {
    account["status"] == "bound" && account["deleted"] != true
}

/// A process of a function. Dropped, it forgets what it had cached.
struct Instance {
    function: Function,
    wire: Arc<Wire>,
}

/// The world.
pub struct World {
    /// What every instance reaches.
    pub base: Arc<Base>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// WeChat's EncodingAESKey, to read what passes.
    pub key: AesKey,
    environment: BTreeMap<String, String>,
    random: Arc<dyn Random>,
    template: Template,
    routes: Routes<String>,
    warm: Mutex<BTreeMap<String, Vec<Instance>>>,
    /// Pushes that reached a function, in the order of their answers.
    pub landed: Mutex<Vec<Landed>>,
    /// Of each push, by what was inside.
    pub arrivals: Mutex<BTreeMap<String, Arrival>>,
    /// Pushes that will come once more, much later.
    pub late: Mutex<Vec<(String, String)>>,
    /// Batches that will come once more, later.
    pub replays: Mutex<Vec<(String, Value)>>,
    /// Consents that were given on pages of the hub.
    pub consents: Mutex<Vec<Consented>>,
    /// When an account's grant was withdrawn.
    pub withdrawals: Mutex<Vec<(String, i64)>>,
    /// What an invocation did that none may do.
    pub complaints: Mutex<Vec<String>>,
    running: AtomicUsize,
}

impl World {
    /// A world with empty tables, without accounts. Runs on a runtime whose time is paused.
    pub fn new(seed: u64) -> Arc<Self> {
        let clock: Arc<dyn Clock> = Arc::new(WorldClock(Instant::now()));
        let random: Arc<dyn Random> = Arc::new(Dice::new(seed ^ 1));
        let template = template::parse(template::TEMPLATE).unwrap();
        let environment = environment(&template);
        let config = load(Need::ALL, &environment);
        let sqs = Sqs::open(None, Arc::clone(&clock), Arc::new(Dice::new(seed ^ 2))).unwrap();
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
        let base = Arc::new(Base {
            db: Database::memory().unwrap(),
            sqs,
            chaos: Chaos::new(seed ^ 3),
            sim: OnceLock::new(),
            flights: Flights::new(Arc::clone(&clock)),
            usage: Usage::new(&template),
            changed_at: Mutex::default(),
            changes: Mutex::default(),
            clock: Arc::clone(&clock),
        });
        let hub = Arc::new(Hub::default());
        let simulator = Simulator::new(wechat_simulator::Parts {
            component: config.component.clone(),
            hub_url: config.public_url.clone(),
            clock: Arc::clone(&clock),
            random: Arc::new(Dice::new(seed ^ 4)),
            hub: Arc::clone(&hub) as Arc<dyn wechat_simulator::HubTransport>,
        });
        assert!(base.sim.set(simulator.unwrap()).is_ok());
        let world = Arc::new(Self {
            base,
            clock,
            key: AesKey::decode(AES_KEY).unwrap(),
            environment,
            random,
            template,
            routes,
            warm: Mutex::default(),
            landed: Mutex::default(),
            arrivals: Mutex::default(),
            late: Mutex::default(),
            replays: Mutex::default(),
            consents: Mutex::default(),
            withdrawals: Mutex::default(),
            complaints: Mutex::default(),
            running: AtomicUsize::new(0),
        });
        hub.connect(&world);
        world
    }

    /// Makes the tables.
    pub async fn create_tables(&self) {
        let clients = Wire::new(&self.base, usage::OPERATOR).clients();
        local::database::create_tables(&clients.dynamodb, &self.template.tables).await.unwrap();
    }

    /// WeChat.
    pub fn sim(&self) -> &Simulator {
        self.base.sim.get().unwrap()
    }

    /// Unix seconds.
    pub fn now(&self) -> i64 {
        self.clock.unix()
    }

    /// Whether a function is at work.
    pub fn busy(&self) -> bool {
        self.running.load(Ordering::SeqCst) > 0
    }

    /// Calls a function in an instance of its own: a warm one, or a new one. [`None`] where the process died or
    /// the function failed or took too long.
    pub async fn invoke(&self, name: &str, event: Value) -> Option<(Value, Seen)> {
        self.invoke_in(&Chain::default(), name, event).await
    }

    /// The same in a chain of invocations, which Lambda ends unless the template says that it is meant.
    pub async fn invoke_in(&self, chain: &Chain, name: &str, event: Value) -> Option<(Value, Seen)> {
        self.running.fetch_add(1, Ordering::SeqCst);
        let spec = self.template.functions.iter().find(|f| f.name == name).unwrap();
        let warm = self.warm.lock().unwrap().get_mut(name).and_then(Vec::pop);
        let instance = warm.unwrap_or_else(|| self.start(spec));
        instance.wire.begin();
        let ends = Deadline::after(&*self.clock, spec.timeout);
        let answer = tokio::select! {
            biased;
            () = instance.wire.death() => None,
            answer = tokio::time::timeout(spec.timeout, chain.enter(name).around(instance.function.call(event, ends))) => answer.ok(),
        };
        let seen = instance.wire.seen();
        if answer.is_some() {
            let mut warm = self.warm.lock().unwrap();
            let idle = warm.entry(name.to_owned()).or_default();
            idle.push(instance);
            idle.truncate(WARM);
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        answer.and_then(Result::ok).map(|answer| (answer, seen))
    }

    /// Every warm instance goes, with what it had cached.
    pub fn cool(&self) {
        self.warm.lock().unwrap().clear();
    }

    /// The hands of nobody in particular, who may do all.
    pub fn app(&self) -> Arc<App> {
        self.app_over(&Wire::new(&self.base, usage::OPERATOR), load(Need::ALL, &self.environment))
    }

    fn app_over(&self, wire: &Arc<Wire>, config: Config) -> Arc<App> {
        let parts = Parts {
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            transport: Arc::<Wire>::clone(wire),
            aws: wire.clients(),
        };
        App::new(config, parts).unwrap()
    }

    fn start(&self, spec: &FunctionSpec) -> Instance {
        let wire = Wire::new(&self.base, &spec.name);
        let environment = settings::of_function(spec, &self.environment);
        let app = self.app_over(&wire, load(functions::needs(&spec.code_uri).unwrap(), &environment));
        Instance { function: functions::of(&spec.code_uri, &app).unwrap(), wire }
    }

    /// Whether the account is bound now.
    pub fn bound(&self, app_id: &str) -> bool {
        self.base.bound(app_id)
    }

    /// Whether the account is bound, and was all the time from before `second` on.
    pub fn bound_since_before(&self, app_id: &str, second: i64) -> bool {
        let changed = self.base.changed_at.lock().unwrap().get(app_id).copied().unwrap_or(0);
        self.bound(app_id) && changed < second
    }

    /// A tick of the schedule.
    pub async fn tick(&self) {
        self.invoke("TokenRefresh", json!({"schedule": "tick"})).await;
    }

    /// As if the schedule had ticked all along: a first tick looks at every slot of the wheel, which takes long.
    pub fn has_ticked(&self) {
        let minute = json!({"N": (self.now() / 60).to_string()});
        let item = json!({"pk": {"S": "REFRESH"}, "sk": {"S": "TICK"}, "minute": minute});
        let body = json!({"TableName": "CredentialsTable", "Item": item}).to_string();
        assert_eq!(dynamo::call(&self.base.db, "PutItem", &body).0, 200);
    }

    /// Time passes: tickets come, schedules tick and queues are looked at on the way.
    pub async fn advance(&self, seconds: i64) {
        let end = self.now() + seconds;
        while self.now() < end {
            let left = end - self.now();
            // of a long time, most is an outage of the schedule
            let step = left.min(if left > OUTAGE { OUTAGE } else { 1200 });
            tokio::time::sleep(Duration::from_secs(step.unsigned_abs())).await;
            if step >= 600 {
                self.sim().push_ticket().await;
            }
            if step >= 60 {
                self.tick().await;
                self.work(1).await;
            }
        }
    }

    /// The function behind a route.
    pub fn route(&self, method: &str, path: &str) -> String {
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

fn load(needs: &[Need], environment: &BTreeMap<String, String>) -> Config {
    Config::load(needs, Surroundings::Simulated, |name| environment.get(name).cloned()).unwrap()
}
