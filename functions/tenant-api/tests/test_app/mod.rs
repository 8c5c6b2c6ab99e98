//! The function over an embedded DynamoDB and a fake queue that only records.

use std::sync::Arc;

use dynoxide::Database;
use oahub_testkit::{
    Endpoints, RecordingSqs, account, bind, http_event, load_config, services, start_dynamodb,
};
use serde_json::{Value, json};
use shared::{
    clock::ManualClock,
    config::{Config, Need},
    deadline::Deadline,
    function::Function,
    model::{event::StoredEvent, fan::FanId, push_decision::FanActivity},
    services::Services,
    wechat::http::HttpTransport,
};

pub use oahub_testkit::ADMIN_KEY;

/// A tenant with its key.
pub struct Tenant {
    pub id: String,
    pub key: String,
}

/// The response of a call.
#[derive(Debug)]
pub struct ApiResponse {
    pub status: u64,
    pub content_type: String,
    pub retry_after: Option<u64>,
    pub json: Value,
}

impl ApiResponse {
    pub fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }
}

/// The function and its database, for one test.
pub struct TestApp {
    pub services: Arc<Services>,
    pub clock: ManualClock,
    /// The tables.
    pub database: Database,
    function: Function,
    sqs: RecordingSqs,
}

impl TestApp {
    pub async fn new() -> Self {
        Self::with_settings(&[]).await
    }

    /// Starts with these settings besides the usual ones.
    pub async fn with_settings(settings: &[(&str, &str)]) -> Self {
        let (database, dynamodb) = start_dynamodb().await;
        let sqs = RecordingSqs::start().await;
        // binding accounts, which other functions do, needs the credentials table
        let needs = [tenant_api::NEEDS, &[Need::CredentialsTable]].concat();
        let config = load_config(&needs, &Endpoints { dynamodb: &dynamodb, sqs: &sqs.url }, settings);
        Self::assemble(config, ManualClock::at(1_700_000_000), 7, database, sqs)
    }

    /// Another instance of the function, over the same tables and queue.
    pub fn another_instance(&self) -> Self {
        let config = self.services.config.clone();
        Self::assemble(config, self.clock.clone(), 8, self.database.clone(), self.sqs.clone())
    }

    fn assemble(
        config: Config,
        clock: ManualClock,
        seed: u64,
        database: Database,
        sqs: RecordingSqs,
    ) -> Self {
        let app = services(config, &clock, seed, Arc::new(HttpTransport::new()));
        Self { function: tenant_api::function(Arc::clone(&app)), services: app, clock, database, sqs }
    }

    /// All items of a table, as text.
    pub fn table_text(&self, table: &str) -> String {
        let asked = serde_json::from_value(json!({ "TableName": table })).unwrap();
        serde_json::to_string(&self.database.scan(asked).unwrap()).unwrap()
    }

    pub async fn call(
        &self,
        key: Option<&str>,
        method: &str,
        path: &str,
        body: Option<&str>,
        headers: &[(&str, &str)],
    ) -> ApiResponse {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let bearer = key.map(|key| format!("Bearer {key}"));
        let mut all = headers.to_vec();
        all.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        let event = http_event(method, path, query, &all, body);
        let answer = self.function.call(event, Deadline::NEVER).await.unwrap();
        let body = answer["body"].as_str().unwrap_or_default();
        ApiResponse {
            status: answer["statusCode"].as_u64().unwrap(),
            retry_after: answer["headers"]["retry-after"].as_str().map(|seconds| seconds.parse().unwrap()),
            content_type: answer["headers"]["content-type"].as_str().unwrap_or_default().to_owned(),
            json: serde_json::from_str(body).unwrap_or_default(),
        }
    }

    /// Calls with a JSON body, or with none if it is null.
    pub async fn call_json(&self, key: &str, method: &str, path: &str, body: Value) -> ApiResponse {
        let body = Some(body).filter(|body| !body.is_null()).map(|body| body.to_string());
        self.call(Some(key), method, path, body.as_deref(), &[]).await
    }

    /// A new key of a tenant with these scopes.
    pub async fn create_key(&self, tenant: &Tenant, scopes: &[&str]) -> String {
        let made =
            self.call_json(&tenant.key, "POST", "/v1/keys", json!({"name": "Key", "scopes": scopes})).await;
        assert_eq!(made.status, 201, "{:?}", made.json);
        made.json["key"].as_str().unwrap().to_owned()
    }

    pub async fn create_tenant(&self, name: &str) -> Tenant {
        let body = json!({"name": name}).to_string();
        let made = self.call(Some(ADMIN_KEY), "POST", "/v1/tenants", Some(&body), &[]).await.json;
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Tenant { id: text("id"), key: text("api_key") }
    }

    pub async fn bind(&self, tenant: &Tenant, app_id: &str) {
        let now = self.services.clock.unix();
        bind(&self.services, account(&tenant.id, app_id, now), None, now).await;
    }

    pub async fn add_fan(&self, tenant: &Tenant, app_id: &str, open_id: &str) {
        let (fan, at) = (FanId { tenant: &tenant.id, app_id, open_id }, self.services.clock.unix());
        self.services
            .store
            .fans()
            .record_activity(fan, &FanActivity::Followed { scene: None }, at, "E1")
            .await
            .unwrap();
        let event = StoredEvent {
            identity: format!("e#{open_id}"),
            kind: "subscribed".into(),
            at,
            app_id: app_id.into(),
            open_id: open_id.into(),
            detail: "{}".into(),
            reply: None,
            sends: None,
        };
        self.services.store.timeline().insert_once(fan, &event).await.unwrap();
    }

    /// The requests that the queue has received.
    pub fn queued(&self) -> Vec<Value> {
        self.sqs.requests()
    }

    /// Makes the queue refuse requests.
    pub fn fail_queue(&self, failing: bool) {
        self.sqs.fail(failing);
    }
}
