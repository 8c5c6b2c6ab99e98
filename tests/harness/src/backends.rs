//! What all instances of all functions share: DynamoDB, SQS, WeChat, the clock and the faults.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
};

use dynoxide::Database;
use jiff::Timestamp;
use local::template::Template;
use local_sqs::Sqs;
use serde_json::Value;
use shared::clock::Clock;
use tokio::time::Instant;
use wechat_simulator::Simulator;

use crate::{
    dynamo,
    faults::{FaultGenerator, SeededRng},
    iam_monitor::IamMonitor,
    rare_states::{RareState, RareStates},
    refresh_monitor::RefreshMonitor,
};

/// When a simulation starts: 2025-01-01.
pub const START_TIME: i64 = 1_735_689_600;

/// The runtime's paused time: it stands still while a task runs and jumps when all of them wait.
pub(crate) struct PausedClock(pub(crate) Instant);

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
    binding_changes: Mutex<Vec<BindingChange>>,
    /// Every consent that the hub stored on a bound account, in the order of the writes.
    renewals: Mutex<Vec<Renewal>>,
    /// The rare states that were reached.
    pub rare_states: RareStates,
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

/// A consent that the hub stored on an account, which is bound since or still.
#[derive(Debug, Clone)]
pub struct Renewal {
    /// The account.
    pub app_id: String,
    /// When consent was given, unix seconds.
    pub authorized_at: i64,
    /// When it was stored, unix seconds.
    pub at: i64,
}

impl Backends {
    /// Empty, with the template's queues. WeChat is set once the hub exists to which it pushes.
    pub(crate) fn new(seed: u64, clock: &Arc<dyn Clock>, template: &Template) -> Self {
        let sqs = Sqs::open(None, Arc::clone(clock), Arc::new(SeededRng::new(seed ^ 2))).unwrap();
        for queue in &template.queues {
            sqs.create_queue(&queue.name, queue.attributes.clone()).unwrap();
        }
        Self {
            db: Database::memory().unwrap(),
            sqs,
            faults: FaultGenerator::new(seed ^ 3),
            sim: OnceLock::new(),
            refresh_monitor: RefreshMonitor::new(Arc::clone(clock)),
            iam_monitor: IamMonitor::new(template),
            binding_changed_at: Mutex::default(),
            binding_changes: Mutex::default(),
            renewals: Mutex::default(),
            rare_states: RareStates::default(),
            clock: Arc::clone(clock),
        }
    }

    fn account(&self, app_id: &str) -> Option<Value> {
        dynamo::get_item(&self.db, "PlatformTable", &format!("ACCOUNT#{app_id}"), "ACCOUNT")
    }

    /// Whether the account is bound now.
    pub fn is_bound(&self, app_id: &str) -> bool {
        self.account(app_id).is_some_and(|a| is_bound(&a))
    }

    /// What was bound and unbound, in order.
    pub fn binding_changes(&self) -> Vec<BindingChange> {
        self.binding_changes.lock().unwrap().clone()
    }

    /// What consents were stored, in order.
    pub fn renewals(&self) -> Vec<Renewal> {
        self.renewals.lock().unwrap().clone()
    }

    /// Whether the account is not bound any more.
    pub fn was_unbound(&self, app_id: &str) -> bool {
        let changes = self.binding_changes.lock().unwrap();
        changes.iter().any(|change| change.app_id == app_id) && !self.is_bound(app_id)
    }

    /// Runs one request to DynamoDB and records what it binds or unbinds.
    pub(crate) fn dynamodb(&self, operation: &str, body: &str) -> (u16, String) {
        let about =
            |app: &&String| body.contains(&format!("ACCOUNT#{app}")) && body.contains("PlatformTable");
        let touched: Vec<String> = match dynamo::is_write(operation) {
            true => self.binding_changed_at.lock().unwrap().keys().filter(about).cloned().collect(),
            false => Vec::new(),
        };
        let before: Vec<Option<Value>> = touched.iter().map(|app| self.account(app)).collect();
        let answer = dynamo::call(&self.db, operation, body);
        for (app_id, before) in touched.into_iter().zip(before) {
            let Some(after) = self.account(&app_id) else { continue };
            let authorized_at = |account: &Value| account["authorized_at"].as_i64().unwrap_or(0);
            let (earlier, authorized_at) = (before.as_ref().map_or(0, authorized_at), authorized_at(&after));
            if is_bound(&after) && authorized_at > earlier {
                let (app_id, at) = (app_id.clone(), self.clock.unix());
                self.renewals.lock().unwrap().push(Renewal { app_id, authorized_at, at });
            }
            let owner = |account: &Value| is_bound(account).then(|| account["tenant_id"].clone());
            if before.as_ref().and_then(owner) != owner(&after) {
                self.record_change(BindingChange { app_id, before, after, at: self.clock.unix() });
            }
        }
        answer
    }

    fn record_change(&self, change: BindingChange) {
        let mut changes = self.binding_changes.lock().unwrap();
        let to_other_tenant = |earlier: &BindingChange| {
            earlier.app_id == change.app_id
                && is_bound(&earlier.after)
                && earlier.after["tenant_id"] != change.after["tenant_id"]
        };
        if is_bound(&change.after) && changes.iter().any(to_other_tenant) {
            self.rare_states.reached(RareState::AccountChangedTenants);
        }
        self.binding_changed_at.lock().unwrap().insert(change.app_id.clone(), change.at);
        changes.push(change);
    }
}

fn is_bound(account: &Value) -> bool {
    account["status"] == "bound" && account["deleted"] != true
}
