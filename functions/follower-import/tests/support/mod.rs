//! The harness of the import's tests: an embedded DynamoDB, a fake WeChat, and a queue that repeats, reorders
//! and crashes.

pub mod queue;
pub mod wechat;

use std::sync::Arc;

use oahub_testkit::{Endpoints, account, bind, load_config, services, start_dynamodb};
use shared::{
    clock::{Clock, ManualClock},
    model::{
        account::AccountRecord,
        credentials::AccessToken,
        fan::{Fan, FanId},
        import::{Import, ImportStatus},
    },
    queue::jobs::{FollowerJob, ImportJob, ImportRef},
    secret::Secret,
    services::Services,
    store::{imports::ImportStart, keys::CUSTOMER_SHARDS},
};

use wechat::FakeWeChat;

pub const TENANT: &str = "ten_1";
pub const APP: &str = "wx0123456789abcdef";
/// Tuesday evening, UTC.
pub const START: i64 = 1_700_000_000;

/// One deployment.
pub struct ImportHarness {
    pub app: Arc<Services>,
    pub clock: ManualClock,
    pub wechat: Arc<FakeWeChat>,
}

impl ImportHarness {
    /// A deployment with one bound account that has these followers.
    pub async fn new(seed: u64, followers: &[String]) -> Self {
        let clock = ManualClock::at(START);
        let wechat = Arc::new(FakeWeChat::new(clock.clone(), followers));
        let (_, url) = start_dynamodb().await;
        // nothing listens at port 1: jobs go to the test's queue
        let endpoints = Endpoints { dynamodb: &url, sqs: "http://127.0.0.1:1" };
        let config = load_config(follower_import::NEEDS, &endpoints, &[]);
        let transport = Arc::<FakeWeChat>::clone(&wechat);
        let app = services(config, &clock, seed, transport);
        let harness = Self { app, clock, wechat };
        harness.bind(0).await;
        harness
    }

    /// The account's administrator authorizes it at `authorized`, in unix seconds.
    pub async fn bind(&self, authorized: i64) {
        let account =
            AccountRecord { stored_authorized_at: authorized, ..account(TENANT, APP, START - 10_000) };
        let token = AccessToken { token: Secret::new("t"), issued_at: START, expires_in: 100_000_000 };
        bind(&self.app, account, Some(&token), START).await;
    }

    /// Starts an import. Returns its id and first job.
    pub async fn start(&self) -> (String, ImportJob) {
        let id = self.app.fresh_id("imp");
        let import: Import = serde_json::from_value(serde_json::json!({
            "id": id, "app_id": APP, "tenant_id": TENANT, "status": "running", "started_at": self.clock.unix(),
        }))
        .unwrap();
        assert!(matches!(self.app.store.imports().start(&import).await.unwrap(), ImportStart::New));
        let first = ImportJob::PageV1 { import: import_ref(&id), page: 0, cursor: String::new() };
        (id, first)
    }

    pub async fn import(&self, id: &str) -> Import {
        self.app.store.imports().get(APP, id).await.unwrap().unwrap()
    }

    pub async fn completed_import(&self, id: &str) -> Import {
        let import = self.import(id).await;
        assert_eq!(import.status, ImportStatus::Completed, "{import:?}");
        assert!(self.app.store.imports().running(APP).await.unwrap().is_none(), "the account is not free");
        import
    }

    pub async fn fan(&self, open_id: &str) -> Fan {
        self.app
            .store
            .fans()
            .get(fan_id(open_id))
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("no fan {open_id}"))
    }

    /// Openids of everybody in the people index, sorted.
    pub async fn all_open_ids(&self) -> Vec<String> {
        let mut found = Vec::new();
        for shard in 0..CUSTOMER_SHARDS {
            let mut after = None;
            loop {
                let page =
                    self.app.store.customers().in_shard(TENANT, shard, after.as_deref()).await.unwrap();
                found.extend(page.customers.into_values().flatten().map(|(_, open_id)| open_id));
                after = page.more_after;
                if after.is_none() {
                    break;
                }
            }
        }
        found.sort();
        found
    }

    /// Types of the events of a fan.
    pub async fn events(&self, open_id: &str) -> Vec<String> {
        let (events, _) = self.app.store.timeline().list(&[fan_id(open_id)], None, 50, None).await.unwrap();
        events.into_iter().map(|e| e.kind).collect()
    }
}

/// The account's import with this id.
pub fn import_ref(id: &str) -> ImportRef {
    ImportRef { import_id: id.into(), app_id: APP.into(), tenant_id: TENANT.into() }
}

/// The job of a fan of the account who followed at `at`.
pub fn fan_job(open_id: &str, at: i64) -> FollowerJob {
    FollowerJob::FanV1 { app_id: APP.into(), tenant_id: TENANT.into(), open_id: open_id.into(), at }
}

pub fn fan_id(open_id: &str) -> FanId<'_> {
    FanId { tenant: TENANT, app_id: APP, open_id }
}

pub fn open_ids(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("o{n:05}")).collect()
}
