//! The log line of each request.

use std::{
    fmt::{Debug, Write},
    sync::{Arc, Mutex},
    thread::{self, ThreadId},
};

use serde_json::{Value, json};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::test_app::{ADMIN_KEY, TestApp};

/// Records the log lines of one thread. It must be the global subscriber: for a thread's own, tracing caches
/// callsites that other threads reach first as disabled.
#[derive(Clone)]
struct LogRecorder(Arc<Mutex<Vec<String>>>, ThreadId);

struct LogLine(String);

impl Visit for LogLine {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for LogRecorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tenant_api") || metadata.target().starts_with("shared")
    }

    fn event(&self, event: &Event<'_>) {
        if thread::current().id() != self.1 {
            return;
        }
        let mut line = LogLine(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn what_a_key_asked_for_is_in_the_log_and_no_secret() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    let reader = stage
        .call_json(&tenant.key, "POST", "/v1/keys", json!({"name": "Shop", "scopes": ["read", "bind"]}))
        .await;
    let (key, id) = (reader.json["key"].as_str().unwrap(), reader.json["id"].as_str().unwrap());
    let lines = LogRecorder(Arc::default(), thread::current().id());
    tracing::subscriber::set_global_default(lines.clone()).unwrap();
    let mut link = String::new();
    for (method, path, route, status) in [
        ("GET", "/v1/customers?open_id=o7", "/v1/customers", 200),
        ("GET", "/v1/customers/cus_1", "/v1/customers/{id}", 404),
        ("POST", "/v1/bindings", "/v1/bindings", 201),
        ("GET", "", "/v1/bindings/{id}", 200),
        ("GET", "/v1/keys", "/v1/keys", 403),
        ("GET", "/v1/platform", "/v1/platform", 403),
    ] {
        let path = if path.is_empty() { format!("/v1/bindings/{link}") } else { path.to_owned() };
        let answer = stage.call_json(key, method, &path, Value::Null).await;
        assert_eq!(answer.status, status, "{method} {path}");
        link = answer.json["id"].as_str().map_or(link, str::to_owned);
        let mut seen = std::mem::take(&mut *lines.0.lock().unwrap());
        assert_eq!(seen.len(), 1, "{method} {path}: {seen:?}");
        let line = seen.remove(0);
        for part in [
            "INFO",
            &*format!("key={id:?}"),
            &*format!("tenant={:?}", tenant.id),
            &*format!("method={method}"),
            &*format!("route={route:?}"),
            &*format!("status={status}"),
            "request=\"1\"",
        ] {
            assert!(line.contains(part), "{method} {path} without {part}: {line}");
        }
        for secret in [key, "oak_", "o7", &*link] {
            assert!(secret.is_empty() || !line.contains(secret), "{method} {path} tells {secret}: {line}");
        }
    }
    assert_eq!(stage.call_json(ADMIN_KEY, "GET", "/v1/platform", Value::Null).await.status, 200);
    assert!(lines.0.lock().unwrap().pop().unwrap().contains("key=\"operator\""));
    assert_eq!(stage.call_json("oak_none", "GET", "/v1/customers", Value::Null).await.status, 401);
    assert!(
        !lines.0.lock().unwrap().concat().contains("route="),
        "a flood of wrong keys is no flood of lines"
    );
}
