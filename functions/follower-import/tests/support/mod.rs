//! The harness of the import's tests: an embedded DynamoDB, a fake WeChat, and a queue that repeats, reorders
//! and crashes.

pub mod queue;
pub mod wechat;

use std::sync::Arc;

use aws_credential_types::Credentials;
use oahub_testkit::{Endpoints, load_config, start_dynamodb};
use shared::{
    aws::AwsClients,
    clock::{Clock, ManualClock},
    model::{
        account::{AccountRecord, AccountStatus, AccountType},
        consent::ConsentPage,
        credentials::AccessToken,
        fan::{Fan, FanId},
        import::{Import, ImportStatus},
        token::Due,
    },
    queue::jobs::{FollowerJob, ImportJob, ImportRef},
    random::StdRandom,
    secret::Secret,
    services::{Dependencies, Services},
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
        let aws = AwsClients::new(&config.resources, Credentials::new("a", "b", None, None, "test"));
        let parts = Dependencies {
            clock: Arc::new(clock.clone()),
            random: Arc::new(StdRandom::seeded(seed)),
            transport: Arc::<FakeWeChat>::clone(&wechat),
            aws,
        };
        let harness = Self { app: Services::new(config, parts).unwrap(), clock, wechat };
        harness.bind(0).await;
        harness
    }

    /// The account's administrator authorizes it at `authorized`, in unix seconds.
    pub async fn bind(&self, authorized: i64) {
        let account = AccountRecord {
            app_id: APP.into(),
            tenant_id: TENANT.into(),
            original_id: "gh_1".into(),
            name: "Shop".into(),
            alias: String::new(),
            avatar_url: String::new(),
            qr_code_url: String::new(),
            principal_name: "Shop Ltd".into(),
            account_type: AccountType::Service,
            verified: true,
            status: AccountStatus::Bound,
            granted: vec![2],
            bound_at: START - 10_000,
            bound_by: None,
            unbound_at: None,
            stored_authorized_at: authorized,
            deleted: false,
            revision: 0,
        };
        let token = AccessToken { token: Secret::new("t"), issued_at: START, expires_in: 100_000_000 };
        let due = Due::Sorted { unix_seconds: START };
        self.app
            .store
            .authorizers()
            .store_authorization(APP, "c", Some(&token), &Secret::new("r"))
            .await
            .unwrap();
        let page = ConsentPage { tenant: TENANT, opened_at: START, expires_at: START };
        self.app.store.accounts().bind(account, Some(page), due).await.unwrap();
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
