//! This machine's reference figures: the embedded database alone, and the load generator with a server doing
//! nothing. Absolute figures depend on the machine; ratios to these do not.

use std::time::Instant;

use axum::{Router, routing::post};
use dynoxide::Database;
use oahub_tests::{api::http_client, process::TempDirectory};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{open_loop, report::Report};

/// Items that are put.
const PUTS: u32 = 10_000;
/// Requests to the server that does nothing.
const REQUESTS: usize = 20_000;

/// Measures both.
pub async fn measure(report: &mut Report) {
    let rate = tokio::task::spawn_blocking(puts_per_second).await.unwrap();
    report.row(
        "reference: items put into the embedded database, in process, one thread",
        format!("{rate:.0}/s"),
        "",
    );
    report.row(
        "reference: POSTs of the same client to a server that does nothing",
        format!("{:.0}/s", posts_per_second().await),
        "",
    );
}

/// Puts per second, each written to the file before it returns, as in the hub.
fn puts_per_second() -> f64 {
    let directory = TempDirectory::new();
    let database = Database::new(&directory.path().join("reference.sqlite").to_string_lossy()).unwrap();
    database.disable_bulk_loading().unwrap();
    let table = json!({
        "TableName": "Items", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    });
    database.create_table(serde_json::from_value(table).unwrap()).unwrap();
    let begun = Instant::now();
    for number in 0..PUTS {
        let item = json!({"TableName": "Items", "Item": {
            "pk": {"S": format!("FAN#{number}")}, "sk": {"S": "FAN"}, "detail": {"S": "x".repeat(500)},
        }});
        database.put_item(serde_json::from_value(item).unwrap()).unwrap();
    }
    f64::from(PUTS) / begun.elapsed().as_secs_f64()
}

async fn posts_per_second() -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(async |body: String| body));
    tokio::spawn(async move { axum::serve(listener, router).await });
    open_loop::run_closed(16, REQUESTS, move |_| {
        let url = url.clone();
        async move {
            let answer = http_client().post(url).body("x".repeat(600)).send().await.unwrap();
            answer.text().await.unwrap();
        }
    })
    .await
}
