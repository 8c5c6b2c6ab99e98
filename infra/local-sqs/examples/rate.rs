//! How many messages a second the SQS endpoint takes, with its journal: `cargo run --release -p oahub-local-sqs --example rate`.

use std::sync::Arc;
use std::time::Instant;

use local_sqs::{Sqs, protocol};
use serde_json::{Value, json};
use shared::clock::SystemClock;
use shared::random::StdRandom;

const MESSAGES: usize = 200_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("sqs-rate-{}", std::process::id()));
    let sqs = Sqs::open(Some(&dir), Arc::new(SystemClock), Arc::new(StdRandom::from_system()?))?;
    sqs.create_queue("rate", [("VisibilityTimeout", "600")])?;
    let send = json!({ "QueueUrl": "rate", "MessageBody": "x".repeat(300) }).to_string();
    let start = Instant::now();
    for _ in 0..MESSAGES {
        protocol::handle(&sqs, "AmazonSQS.SendMessage", send.as_bytes()).await;
    }
    report("send", start);
    let receive = json!({ "QueueUrl": "rate", "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0 }).to_string();
    let start = Instant::now();
    loop {
        let (_, _, body) = protocol::handle(&sqs, "AmazonSQS.ReceiveMessage", receive.as_bytes()).await;
        let answer: Value = serde_json::from_slice(&body)?;
        let Some(messages) = answer.get("Messages").and_then(Value::as_array) else { break };
        let entry = |m: &Value| json!({ "Id": m.get("MessageId"), "ReceiptHandle": m.get("ReceiptHandle") });
        let entries: Vec<Value> = messages.iter().map(entry).collect();
        let delete = json!({ "QueueUrl": "rate", "Entries": entries }).to_string();
        protocol::handle(&sqs, "AmazonSQS.DeleteMessageBatch", delete.as_bytes()).await;
    }
    report("receive and delete by ten", start);
    drop(sqs);
    let start = Instant::now();
    Sqs::open(Some(&dir), Arc::new(SystemClock), Arc::new(StdRandom::from_system()?))?;
    report("read back", start);
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

fn report(what: &str, start: Instant) {
    let secs = start.elapsed().as_secs_f64();
    println!("{what}: {MESSAGES} in {secs:.2} s, {:.0} a second", MESSAGES as f64 / secs);
}
