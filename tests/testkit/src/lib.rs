//! What the tests of one function stand on: DynamoDB with the tables of `template.yaml`, an SQS that records what it is
//! sent, settings, services, bound accounts and events.

mod accounts;
mod http_event;
mod services;
mod settings;

pub use accounts::{account, bind};
pub use http_event::http_event;
pub use services::services;
pub use settings::{ADMIN_KEY, COMPONENT_APP_ID, Endpoints, load_config};

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, body::Bytes, routing::post};
use dynoxide::Database;
use http::StatusCode;
use serde_json::{Map, Value, json};

/// Starts an embedded DynamoDB that has the template's tables, by their logical ids. Returns it and its URL.
pub async fn start_dynamodb() -> (Database, String) {
    let database = Database::memory().unwrap();
    for table in tables() {
        database.create_table(serde_json::from_value(table).unwrap()).unwrap();
    }
    let (listener, url) = listen().await;
    tokio::spawn(dynoxide::server::serve_on(listener, database.clone()));
    (database, url)
}

/// The tables of `template.yaml` as `CreateTable` takes them.
fn tables() -> Vec<Value> {
    let template = include_str!("../../../template.yaml");
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

/// An SQS that records what it is sent and delivers nothing.
#[derive(Clone)]
pub struct RecordingSqs {
    /// Its endpoint.
    pub url: String,
    requests: Arc<Mutex<Vec<Value>>>,
    fails: Arc<AtomicBool>,
}

impl RecordingSqs {
    /// Starts it.
    pub async fn start() -> Self {
        let (listener, url) = listen().await;
        let sqs = Self { url, requests: Arc::default(), fails: Arc::default() };
        let this = sqs.clone();
        let take = move |body: Bytes| async move { this.respond(&body) };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(take))).await });
        sqs
    }

    fn respond(&self, body: &[u8]) -> (StatusCode, String) {
        if self.fails.load(Ordering::SeqCst) {
            let refused = json!({"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": "no"});
            return (StatusCode::BAD_REQUEST, refused.to_string());
        }
        let request: Value = serde_json::from_slice(body).unwrap();
        let entries = request["Entries"].as_array().into_iter().flatten();
        let taken: Vec<_> =
            entries.map(|e| json!({"Id": e["Id"], "MessageId": "1", "MD5OfMessageBody": "1"})).collect();
        self.requests.lock().unwrap().push(request);
        (StatusCode::OK, json!({"MessageId": "1", "Successful": taken, "Failed": []}).to_string())
    }

    /// The requests that it took.
    pub fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }

    /// Makes it refuse what it is sent, or take it again.
    pub fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }
}

async fn listen() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}
