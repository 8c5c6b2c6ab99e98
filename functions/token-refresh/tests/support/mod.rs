//! The function over an embedded DynamoDB with the tables of `template.yaml`, a queue that records, and a WeChat that
//! answers for each account as it is told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use oahub_testkit::{Endpoints, RecordingSqs, account, bind, load_config, services, start_dynamodb};
use serde_json::{Value, json};
use shared::{
    clock::{Clock, ManualClock},
    deadline::Deadline,
    function::Function,
    model::credentials::AccessToken,
    secret::Secret,
    services::Services,
    wechat::transport::{Transport, TransportError, WeChatRequest, WeChatResponse},
};

const TENANT: &str = "ten_1";
const START: i64 = 1_735_689_600;
/// As long as WeChat's tokens live, seconds.
const LIFETIME: i64 = 7_200;
/// By then a token that was issued at [`START`] is due.
const DUE_AFTER: i64 = 6_900;

/// Gives every account a new token but those for which it has an errcode.
#[derive(Default)]
pub struct Wechat {
    pub refusals: Mutex<HashMap<String, i64>>,
}

impl Wechat {
    fn answer(&self, request: &WeChatRequest) -> Value {
        let body: Value =
            serde_json::from_slice(request.body.as_deref().unwrap_or_default()).unwrap_or_default();
        let asked = body["authorizer_appid"].as_str().unwrap_or_default();
        if let Some(errcode) = self.refusals.lock().unwrap().get(asked) {
            return json!({"errcode": errcode, "errmsg": "no"});
        }
        json!({
            "component_access_token": "component", "authorizer_access_token": format!("new of {asked}"),
            "authorizer_refresh_token": "r", "expires_in": LIFETIME,
        })
    }
}

impl Transport for Wechat {
    fn send<'a>(&'a self, request: WeChatRequest) -> BoxFuture<'a, Result<WeChatResponse, TransportError>> {
        let body = self.answer(&request).to_string().into_bytes();
        Box::pin(async move { Ok(WeChatResponse { status: 200, body }) })
    }
}

/// The function, its tables and its queues.
pub struct TestApp {
    pub services: Arc<Services>,
    pub clock: ManualClock,
    pub wechat: Arc<Wechat>,
    pub sqs: RecordingSqs,
    function: Function,
}

impl TestApp {
    /// With these accounts, bound at [`START`], and a fresh ticket at [`DUE_AFTER`], which is now.
    pub async fn new(app_ids: &[&str]) -> Self {
        let (_, dynamodb) = start_dynamodb().await;
        let sqs = RecordingSqs::start().await;
        let config =
            load_config(token_refresh::NEEDS, &Endpoints { dynamodb: &dynamodb, sqs: &sqs.url }, &[]);
        let (clock, wechat) = (ManualClock::at(START), Arc::new(Wechat::default()));
        let services = services(config, &clock, 1, Arc::<Wechat>::clone(&wechat));
        let token = AccessToken { token: Secret::new("old"), issued_at: START, expires_in: LIFETIME };
        for app_id in app_ids {
            bind(&services, account(TENANT, app_id, START), Some(&token), START).await;
        }
        clock.advance(DUE_AFTER);
        services.store.component().store_ticket(&Secret::new("ticket"), clock.unix()).await.unwrap();
        let function = token_refresh::function(Arc::clone(&services));
        Self { services, clock, wechat, sqs, function }
    }

    pub async fn tick(&self) {
        self.function.call(json!({"schedule": "tick"}), Deadline::NEVER).await.unwrap();
    }

    /// Hands a job over; returns whether it is to come again as it is.
    pub async fn deliver(&self, job: &Value) -> bool {
        let record = json!({
            "messageId": "1", "receiptHandle": "1", "body": job.to_string(), "messageAttributes": {},
            "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
        });
        let answer = self.function.call(json!({"Records": [record]}), Deadline::NEVER).await.unwrap();
        !answer["batchItemFailures"].as_array().unwrap().is_empty()
    }

    /// The jobs that were queued, in order.
    pub fn jobs(&self) -> Vec<Value> {
        let messages =
            |request: Value| request["Entries"].as_array().cloned().unwrap_or_else(|| vec![request]);
        let job = |message: Value| serde_json::from_str(message["MessageBody"].as_str().unwrap()).unwrap();
        self.sqs.requests().into_iter().flat_map(messages).map(job).collect()
    }

    pub async fn token(&self, app_id: &str) -> String {
        let credentials = self.services.store.authorizers().get(app_id).await.unwrap().unwrap();
        credentials.token.unwrap().token.expose().to_owned()
    }

    pub async fn is_bound(&self, app_id: &str) -> bool {
        let account = self.services.store.accounts().get(TENANT, app_id).await.unwrap().unwrap();
        account.for_consent().bound
    }
}
