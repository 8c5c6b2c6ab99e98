//! Receivers that wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{QueueAttributeName as Name, SendMessageBatchRequestEntry};
use local_sqs::{Sqs, server};
use shared::clock::SystemClock;
use shared::random::StdRandom;

use crate::endpoint::{SqsEndpoint, bodies, client};

#[tokio::test]
async fn a_long_poll_wakes_up_for_a_message() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("poll", &[]).await;
    let start = Instant::now();
    let poll = bench.client.receive_message().queue_url(&url).wait_time_seconds(10).send();
    let send = async {
        tokio::time::sleep(Duration::from_millis(200)).await; // so that the poll most likely waits by then
        bench.send(&url, "now").send().await.unwrap();
    };
    let (found, ()) = tokio::join!(poll, send);
    assert_eq!(bodies(&found.unwrap().messages.unwrap_or_default()), ["now"], "the message came");
    assert!(start.elapsed() < Duration::from_secs(5), "without the full wait: {:?}", start.elapsed());
}

#[tokio::test]
async fn long_polls_miss_nothing_though_one_gathers_and_another_gives_up() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("many", &[]).await;
    let poll = || bench.long_poll(&url).send();
    let quitter = tokio::spawn(poll());
    tokio::time::sleep(Duration::from_millis(100)).await; // so that it most likely waits, before the others
    let mut pollers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        pollers.spawn(poll());
    }
    bench.send(&url, "0").send().await.unwrap();
    quitter.abort();
    let mut found = Vec::new();
    for number in 1..50 {
        bench.send(&url, &number.to_string()).send().await.unwrap();
    }
    let all = async {
        while let Some(answer) = pollers.join_next().await {
            found.extend(answer.unwrap().unwrap().messages.unwrap_or_default());
            if found.len() == 50 {
                return;
            }
            pollers.spawn(poll());
        }
    };
    // long before a long poll ends by itself; what a quitter was sent is hidden, as it is on SQS
    let _ = tokio::time::timeout(Duration::from_secs(5), all).await;
    let hidden = bench.attribute(&url, Name::ApproximateNumberOfMessagesNotVisible).await;
    assert_eq!(hidden, "50", "every message was handed out");
    assert_eq!(bench.attribute(&url, Name::ApproximateNumberOfMessages).await, "0", "none waits");
}

#[tokio::test]
async fn a_long_poll_gets_what_is_due_later_though_another_took_the_rest() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("later", &[]).await;
    let poll = || bench.long_poll(&url).send();
    let pollers = [tokio::spawn(poll()), tokio::spawn(poll())];
    tokio::time::sleep(Duration::from_millis(100)).await; // so that both most likely wait
    let entry = |id: &str| SendMessageBatchRequestEntry::builder().id(id).message_body(id);
    let both = bench.client.send_message_batch().queue_url(&url).entries(entry("now").build().unwrap());
    both.entries(entry("later").delay_seconds(1).build().unwrap()).send().await.unwrap();
    let all = futures::future::join_all(pollers);
    let answers = tokio::time::timeout(Duration::from_secs(10), all).await.expect("long before a poll ends");
    let found = answers.into_iter().flat_map(|answer| answer.unwrap().unwrap().messages.unwrap_or_default());
    let mut bodies: Vec<_> = found.filter_map(|message| message.body).collect();
    bodies.sort();
    assert_eq!(bodies, ["later", "now"]);
}

#[tokio::test]
async fn a_server_that_stops_ends_its_long_polls() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(format!("http://{}", listener.local_addr().unwrap()));
    let sqs = Sqs::open(None, Arc::new(SystemClock), Arc::new(StdRandom::from_system().unwrap())).unwrap();
    sqs.create_queue("idle", [("ReceiveMessageWaitTimeSeconds", "20")]).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async move { stopped.await.unwrap_or(()) };
    let server = tokio::spawn(server::serve(listener, sqs, shutdown));
    let poll = tokio::spawn(client.receive_message().queue_url(Sqs::queue_url("idle")).send());
    tokio::time::sleep(Duration::from_millis(200)).await; // so that the poll most likely waits by then
    stop.send(()).unwrap();
    let patience = Duration::from_secs(5);
    let answer = tokio::time::timeout(patience, poll).await.unwrap().unwrap().unwrap();
    assert!(answer.messages.unwrap_or_default().is_empty(), "the poll is answered, with nothing");
    tokio::time::timeout(patience, server).await.unwrap().unwrap().unwrap();
}
