//! What becomes of a message: hidden, delayed, given up, kept in order, sent twice.

use std::time::Instant;

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName as Name};

use crate::endpoint::{SqsEndpoint, bodies, receive_count};

#[tokio::test]
async fn a_message_comes_back_as_it_was_sent() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("plain", &[]).await;
    let text = MessageAttributeValue::builder().data_type("String").string_value("天地").build().unwrap();
    let raw = MessageAttributeValue::builder()
        .data_type("Binary")
        .binary_value(Blob::new([0, 255]))
        .build()
        .unwrap();
    let request =
        bench.send(&url, "你好\n\"<xml>&amp;").message_attributes("b", text).message_attributes("a", raw);
    let sent = request.send().await.unwrap();
    let found = bench.receive(&url, 10).await;
    assert_eq!(bodies(&found), ["你好\n\"<xml>&amp;"], "the body is the same");
    assert_eq!(found[0].md5_of_body, sent.md5_of_message_body, "both checksums of the body agree");
    assert!(sent.md5_of_message_attributes.is_some(), "attributes have a checksum");
    assert_eq!(found[0].md5_of_message_attributes, sent.md5_of_message_attributes, "and it is the same");
    assert_eq!(found[0].message_attributes.as_ref().unwrap().len(), 2, "both attributes came");
    assert_eq!(found[0].message_id, sent.message_id, "the id is the same");
    assert_eq!(receive_count(&found[0]), "1", "it is received once");
    assert!(bench.receive(&url, 10).await.is_empty(), "a message in flight is hidden");
    bench.delete(&url, &found[0]).await;
    assert_eq!(
        bench.attribute(&url, Name::ApproximateNumberOfMessagesNotVisible).await,
        "0",
        "it is deleted"
    );
    bench.delete(&url, &found[0]).await; // deleting twice is no error
}

#[tokio::test]
async fn visibility_and_delays_end() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("times", &[(Name::VisibilityTimeout, "30")]).await;
    bench.send(&url, "a").send().await.unwrap();
    let first = bench.receive(&url, 1).await.remove(0);
    bench.change_visibility(&url, &first, 0).await;
    let again = bench.receive(&url, 1).await.remove(0);
    assert_eq!(receive_count(&again), "2", "0 gives a message back at once");
    bench.change_visibility(&url, &again, 1).await;
    let start = Instant::now();
    let long = || bench.client.receive_message().queue_url(&url).wait_time_seconds(10);
    let found = long().send().await.unwrap().messages.unwrap_or_default();
    assert_eq!(bodies(&found), ["a"], "a long poll wakes up when a visibility timeout ends");
    assert!((500..4000).contains(&start.elapsed().as_millis()), "after one second: {:?}", start.elapsed());
    bench.delete(&url, &found[0]).await;
    let start = Instant::now();
    bench.send(&url, "late").delay_seconds(1).send().await.unwrap();
    assert!(bench.receive(&url, 1).await.is_empty(), "a delayed message is hidden");
    assert_eq!(bench.attribute(&url, Name::ApproximateNumberOfMessagesDelayed).await, "1", "and counted so");
    let found = long().send().await.unwrap().messages.unwrap_or_default();
    assert_eq!(bodies(&found), ["late"], "a long poll wakes up when a delay ends");
    assert!((500..4000).contains(&start.elapsed().as_millis()), "after one second: {:?}", start.elapsed());
}

#[tokio::test]
async fn a_message_received_too_often_is_a_dead_letter() {
    let bench = SqsEndpoint::start().await;
    let (url, dead) = bench.queue_with_dead_letters("jobs", 2).await;
    let id = bench.send(&url, "poison").send().await.unwrap().message_id;
    for turn in ["1", "2"] {
        let found = bench.receive(&url, 1).await.remove(0);
        assert_eq!(receive_count(&found), turn, "it is received twice");
        bench.change_visibility(&url, &found, 0).await;
    }
    assert!(bench.receive(&url, 1).await.is_empty(), "but not a third time");
    let found = bench.receive(&dead, 1).await.remove(0);
    assert_eq!((found.body(), &found.message_id), (Some("poison"), &id), "it is in the dead-letter queue");
    bench.change_visibility(&dead, &found, 0).await;
    let arn = bench.attribute(&dead, Name::QueueArn).await;
    bench.client.start_message_move_task().source_arn(arn).send().await.unwrap();
    let long = bench.client.receive_message().queue_url(&url).wait_time_seconds(5);
    let found = long.send().await.unwrap().messages.unwrap_or_default();
    assert_eq!(bodies(&found), ["poison"], "a move task brings it back to where it came from");
}

#[tokio::test]
async fn a_fifo_queue_keeps_order_and_locks_groups() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("order.fifo", &[(Name::ContentBasedDeduplication, "true")]).await;
    for (group, body) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")] {
        bench.send(&url, body).message_group_id(group).send().await.unwrap();
    }
    let first = bench.receive(&url, 1).await;
    assert_eq!(bodies(&first), ["a1"], "the oldest comes first");
    let second = bench.receive(&url, 10).await;
    assert_eq!(bodies(&second), ["b1"], "a group with a message in flight is locked");
    bench.delete(&url, &first[0]).await;
    let rest = bench.receive(&url, 10).await;
    assert_eq!(bodies(&rest), ["a2", "a3"], "a free group gives several in order");
    bench.change_visibility(&url, &rest[1], 0).await;
    assert!(bench.receive(&url, 10).await.is_empty(), "one in flight is enough to lock");
    bench.change_visibility(&url, &rest[0], 0).await;
    assert_eq!(bodies(&bench.receive(&url, 10).await), ["a2", "a3"], "what is given back keeps its place");
}

#[tokio::test]
async fn a_fifo_queue_takes_an_id_once() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("once.fifo", &[(Name::ContentBasedDeduplication, "true")]).await;
    let send = |body: &str, id: Option<&str>| {
        bench
            .send(&url, body)
            .message_group_id("g")
            .set_message_deduplication_id(id.map(str::to_owned))
            .send()
    };
    let first = send("x", None).await.unwrap();
    let again = send("x", None).await.unwrap();
    assert_eq!(first.message_id, again.message_id, "the same body is the same message");
    assert_eq!(first.sequence_number, again.sequence_number, "with the same sequence number");
    let other = send("x", Some("other")).await.unwrap();
    assert_ne!(first.message_id, other.message_id, "an id of its own makes it another one");
    let found = bench.receive(&url, 10).await;
    assert_eq!(bodies(&found), ["x", "x"], "two are there");
    for message in &found {
        bench.delete(&url, message).await;
    }
    send("y", Some("other")).await.unwrap();
    assert!(bench.receive(&url, 10).await.is_empty(), "an id is remembered after its message is gone");
}
