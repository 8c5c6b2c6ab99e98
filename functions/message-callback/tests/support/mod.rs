//! The function over an embedded DynamoDB, and a fake SQS that records what it is sent.

use std::sync::Arc;

use dynoxide::Database;
use oahub_testkit::{
    Endpoints, RecordingSqs, account, bind, http_event, load_config, services, start_dynamodb,
};
use serde_json::{Value, json};
use shared::{
    clock::ManualClock,
    config::Need,
    deadline::Deadline,
    envelope::{CallbackQuery, PushRecipient},
    function::Function,
    model::reply_rules::ReplyRules,
    services::Services,
    wechat::{http::HttpTransport, query::encode_query},
};

pub const TENANT: &str = "ten_1";
pub const ACCOUNT: &str = "wx0123456789abcdef";
pub const ORIGINAL_ID: &str = "gh_1";
/// Who sends the pushes.
pub const FAN: &str = "oFan";
pub const START: i64 = 1_735_689_600;

/// A response of the function, decrypted if it is a passive reply.
#[derive(Debug, PartialEq, Eq)]
pub struct PushAnswer {
    pub status: u64,
    pub body: String,
}

/// The function, its tables and its queues.
pub struct TestApp {
    pub services: Arc<Services>,
    function: Function,
    database: Database,
    sqs: RecordingSqs,
}

impl TestApp {
    /// With one bound account that has these reply rules.
    pub async fn new(rules: Value) -> Self {
        let (database, dynamodb) = start_dynamodb().await;
        let sqs = RecordingSqs::start().await;
        // binding accounts, which another function does, needs the credentials table
        let needs = [message_callback::NEEDS, &[Need::CredentialsTable]].concat();
        let config = load_config(&needs, &Endpoints { dynamodb: &dynamodb, sqs: &sqs.url }, &[]);
        let clock = ManualClock::at(START);
        let services = services(config, &clock, 1, Arc::new(HttpTransport::new()));
        let function = message_callback::function(Arc::clone(&services));
        let app = Self { services, function, database, sqs };
        app.bind(rules).await;
        app
    }

    async fn bind(&self, rules: Value) {
        let store = &self.services.store;
        bind(&self.services, account(TENANT, ACCOUNT, START), None, START).await;
        let rules = ReplyRules::parse(rules).unwrap();
        assert!(store.reply_rules().replace(TENANT, ACCOUNT, &rules).await.unwrap());
    }

    /// A push of [`FAN`] to the account, with these members.
    pub async fn push(&self, members: &str) -> PushAnswer {
        self.push_to(ACCOUNT, ORIGINAL_ID, members).await
    }

    /// The same to another account.
    pub async fn push_to(&self, app_id: &str, original_id: &str, members: &str) -> PushAnswer {
        let plaintext = format!(
            "<xml><ToUserName>{original_id}</ToUserName><FromUserName>{FAN}</FromUserName>\
             <CreateTime>{START}</CreateTime>{members}</xml>"
        );
        let recipient = PushRecipient::ToUserName(original_id);
        let (query, body) =
            self.services.envelope.seal_push(recipient, plaintext.as_bytes(), START, "nonce", [7; 16]);
        self.post(app_id, &query, &body).await
    }

    /// Posts a body as it is.
    pub async fn post(&self, app_id: &str, query: &CallbackQuery, body: &str) -> PushAnswer {
        let path = format!("/wechat/accounts/{app_id}");
        let query = encode_query(&query.pairs());
        let event = http_event("POST", &path, query.trim_start_matches('?'), &[], Some(body));
        let answer = self.function.call(event, Deadline::NEVER).await.unwrap();
        let body = answer["body"].as_str().unwrap_or_default();
        let opened = self.services.envelope.open_reply(body.as_bytes());
        PushAnswer {
            status: answer["statusCode"].as_u64().unwrap(),
            body: opened.map_or_else(|_| body.to_owned(), |xml| String::from_utf8(xml).unwrap()),
        }
    }

    /// All items of a table, in DynamoDB's JSON.
    pub fn items(&self, table: &str) -> Vec<Value> {
        let all = serde_json::from_value(json!({ "TableName": table })).unwrap();
        let found = serde_json::to_value(self.database.scan(all).unwrap()).unwrap();
        found["Items"].as_array().cloned().unwrap_or_default()
    }

    /// Every job that was queued, with the variable that names its queue.
    pub fn jobs(&self) -> Vec<(String, Value)> {
        let job = |message: &Value| serde_json::from_str(message["MessageBody"].as_str().unwrap()).unwrap();
        self.messages().iter().map(|(queue, message)| (queue.clone(), job(message))).collect()
    }

    /// The message group of every job that was queued, with the variable that names its queue.
    pub fn groups(&self) -> Vec<(String, Value)> {
        let messages = self.messages().into_iter();
        messages.map(|(queue, message)| (queue, message["MessageGroupId"].clone())).collect()
    }

    fn messages(&self) -> Vec<(String, Value)> {
        let messages = |request: Value| {
            let queue = request["QueueUrl"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            let messages = request["Entries"].as_array().cloned().unwrap_or_else(|| vec![request]);
            messages.into_iter().map(move |message| (queue.clone(), message))
        };
        self.sqs.requests().into_iter().flat_map(messages).collect()
    }

    /// Makes the queue refuse what it is sent, or take it again.
    pub fn fail_queue(&self, fails: bool) {
        self.sqs.fail(fails);
    }
}
