//! The function over an embedded DynamoDB, and a fake SQS that records what it is sent.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use aws_credential_types::Credentials;
use axum::{Router, body::Bytes, routing::post};
use dynoxide::Database;
use http::StatusCode;
use serde_json::{Map, Value, json};
use shared::{
    aws::AwsClients,
    clock::ManualClock,
    config::{Config, Need, RunMode, is_queue_variable},
    deadline::Deadline,
    envelope::{CallbackQuery, PushRecipient},
    function::Function,
    model::{
        account::{AccountStatus, AccountType},
        consent::ConsentPage,
        reply_rules::ReplyRules,
        token::Due,
    },
    random::StdRandom,
    secret::Secret,
    services::{Dependencies, Services},
    store::accounts::AccountRecord,
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
    jobs: Arc<Mutex<Vec<(String, Value)>>>,
    queue_fails: Arc<AtomicBool>,
}

impl TestApp {
    /// With one bound account that has these reply rules.
    pub async fn new(rules: Value) -> Self {
        let database = Database::memory().unwrap();
        for table in tables() {
            database.create_table(serde_json::from_value(table).unwrap()).unwrap();
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dynamodb = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(dynoxide::server::serve_on(listener, database.clone()));
        let (jobs, queue_fails) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let sqs = start_queue(Arc::clone(&jobs), Arc::clone(&queue_fails)).await;
        // binding accounts, which another function does, needs the credentials table
        let needs = [message_callback::NEEDS, &[Need::CredentialsTable]].concat();
        let config = Config::load(&needs, RunMode::Simulated, |name| {
            let value = match name {
                "OAHUB_COMPONENT_APP_ID" => "wx00c0ffee00c0ffee",
                "OAHUB_COMPONENT_TOKEN" => "hubToken2025",
                "OAHUB_COMPONENT_AES_KEY" => "kQ3vXo7BzR2mN8sTfW1cYpE6uJ5hLdGa0iSxAeMnZbU",
                "OAHUB_PLATFORM_TABLE" => "PlatformTable",
                "OAHUB_CREDENTIALS_TABLE" => "CredentialsTable",
                "OAHUB_CUSTOMERS_TABLE" => "CustomersTable",
                "OAHUB_TIMELINE_TABLE" => "TimelineTable",
                "AWS_ENDPOINT_URL_DYNAMODB" => &dynamodb,
                "AWS_ENDPOINT_URL_SQS" => &sqs,
                name if is_queue_variable(name) => return Some(format!("{sqs}/{name}")),
                _ => return None,
            };
            Some(value.to_owned())
        })
        .unwrap();
        let dependencies = Dependencies {
            clock: Arc::new(ManualClock::at(START)),
            random: Arc::new(StdRandom::seeded(1)),
            transport: Arc::new(HttpTransport::new()),
            aws: AwsClients::new(&config.resources, Credentials::new("a", "b", None, None, "test")),
        };
        let services = Services::new(config, dependencies).unwrap();
        let function = message_callback::function(Arc::clone(&services));
        let app = Self { services, function, database, jobs, queue_fails };
        app.bind(rules).await;
        app
    }

    async fn bind(&self, rules: Value) {
        let account = AccountRecord {
            app_id: ACCOUNT.into(),
            tenant_id: TENANT.into(),
            original_id: ORIGINAL_ID.into(),
            name: "Cafe".into(),
            alias: String::new(),
            avatar_url: String::new(),
            qr_code_url: String::new(),
            principal_name: String::new(),
            account_type: AccountType::Service,
            verified: true,
            status: AccountStatus::Bound,
            granted: vec![1, 2],
            bound_at: START,
            bound_by: None,
            unbound_at: None,
            stored_authorized_at: 0,
            deleted: false,
            revision: 0,
        };
        let store = &self.services.store;
        store.store_authorization(ACCOUNT, "c", None, &Secret::new("r")).await.unwrap();
        let page = ConsentPage { tenant: TENANT, opened_at: START, expires_at: START };
        store.bind_account(account, Some(page), Due::Sorted { unix_seconds: START }).await.unwrap();
        let rules = ReplyRules::parse(rules).unwrap();
        store.store_reply_rules(TENANT, ACCOUNT, &rules).await.unwrap();
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
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path,
            "rawQueryString": query.trim_start_matches('?'), "headers": {"host": "hub.example.com"},
            "requestContext": {
                "accountId": "1", "apiId": "1", "domainName": "hub.example.com", "domainPrefix": "hub",
                "http": {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "t"},
                "requestId": "1", "routeKey": "$default", "stage": "$default", "time": "t", "timeEpoch": 1
            },
            "body": body, "isBase64Encoded": false
        });
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
        self.jobs.lock().unwrap().clone()
    }

    /// Makes the queue refuse what it is sent, or take it again.
    pub fn fail_queue(&self, fails: bool) {
        self.queue_fails.store(fails, Ordering::SeqCst);
    }
}

/// Starts a fake SQS; returns its URL.
async fn start_queue(jobs: Arc<Mutex<Vec<(String, Value)>>>, fails: Arc<AtomicBool>) -> String {
    let take = move |body: Bytes| async move {
        if fails.load(Ordering::SeqCst) {
            let refused = json!({"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": "no"});
            return (StatusCode::BAD_REQUEST, refused.to_string());
        }
        let request: Value = serde_json::from_slice(&body).unwrap();
        let queue = request["QueueUrl"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let messages = request["Entries"].as_array().cloned().unwrap_or_else(|| vec![request]);
        let job = |message: &Value| serde_json::from_str(message["MessageBody"].as_str().unwrap()).unwrap();
        jobs.lock().unwrap().extend(messages.iter().map(|message| (queue.clone(), job(message))));
        let taken: Vec<_> = messages
            .iter()
            .map(|m| json!({"Id": m["Id"], "MessageId": "1", "MD5OfMessageBody": "1"}))
            .collect();
        (StatusCode::OK, json!({"MessageId": "1", "Successful": taken, "Failed": []}).to_string())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(take))).await });
    url
}

/// The tables of `template.yaml` as `CreateTable` takes them.
fn tables() -> Vec<Value> {
    let template = include_str!("../../../../template.yaml");
    let template: yaml_serde::Value = yaml_serde::from_str(template).unwrap();
    let resources = template["Resources"].as_mapping().unwrap();
    let tables = resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::DynamoDB::Table");
    tables
        .map(|(name, resource)| {
            let properties = &resource["Properties"];
            let mut table = Map::from_iter([("TableName".to_owned(), json!(name.as_str()))]);
            for member in [
                "BillingMode",
                "AttributeDefinitions",
                "KeySchema",
                "GlobalSecondaryIndexes",
                "LocalSecondaryIndexes",
            ] {
                if let Some(value) = properties.get(member) {
                    table.insert(member.to_owned(), serde_json::to_value(value).unwrap());
                }
            }
            Value::Object(table)
        })
        .collect()
}
