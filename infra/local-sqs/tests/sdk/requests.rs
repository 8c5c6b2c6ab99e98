//! Batches, limits and mistakes, and the queues themselves.

use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, QueueAttributeName as Name,
};

use crate::endpoint::{SqsEndpoint, code, entries};

#[tokio::test]
async fn batches_answer_for_each_entry() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("batch", &[]).await;
    let mut mixed = entries(3, "ok");
    mixed[1].delay_seconds = Some(901);
    let answer =
        bench.client.send_message_batch().queue_url(&url).set_entries(Some(mixed)).send().await.unwrap();
    assert_eq!(answer.successful.len(), 2, "two are sent");
    assert_eq!(answer.failed.iter().map(|e| &*e.id).collect::<Vec<_>>(), ["e1"], "and one is refused");
    assert!(answer.failed[0].sender_fault, "by its own fault");
    let found = bench.receive(&url, 10).await;
    assert_eq!(found.len(), 2, "two are received");
    let handle = |n: usize| found[n].receipt_handle.clone().unwrap();
    let hide = |n: usize| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(format!("h{n}"));
        entry.receipt_handle(handle(n)).visibility_timeout(60).build().unwrap()
    };
    let request = bench.client.change_message_visibility_batch().queue_url(&url);
    let answer = request.entries(hide(0)).entries(hide(1)).send().await.unwrap();
    assert_eq!(answer.successful.len(), 2, "both are hidden for longer");
    let entry = |id: &str, handle: String| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build().unwrap()
    };
    let request = bench.client.delete_message_batch().queue_url(&url).entries(entry("good", handle(0)));
    let answer = request.entries(entry("bad", "nonsense".into())).send().await.unwrap();
    assert_eq!(answer.successful[0].id, "good", "a good handle deletes");
    assert_eq!(
        (&*answer.failed[0].id, &*answer.failed[0].code),
        ("bad", "ReceiptHandleIsInvalid"),
        "a bad one does not"
    );
}

#[tokio::test]
async fn limits_and_mistakes_are_named() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("limits", &[]).await;
    let fifo = bench.create_queue("limits.fifo", &[]).await;
    let none = format!("{url}-none");
    let batch = |entries| bench.client.send_message_batch().queue_url(&url).set_entries(Some(entries));
    let receive = || bench.client.receive_message().queue_url(&url);
    let mut twins = entries(2, "x");
    twins[1].id = "e0".into();
    let delete = |handle: &str| bench.client.delete_message().queue_url(&url).receipt_handle(handle);
    let rows = [
        (
            "ten entries are enough",
            code!(batch(entries(11, "x"))),
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        ),
        ("no entry is too few", code!(batch(vec![])), "AWS.SimpleQueueService.EmptyBatchRequest"),
        (
            "entries have different ids",
            code!(batch(twins)),
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        ),
        (
            "a batch has 1 MiB",
            code!(batch(entries(2, &"x".repeat(600_000)))),
            "AWS.SimpleQueueService.BatchRequestTooLong",
        ),
        ("a message has 1 MiB", code!(bench.send(&url, &"x".repeat(1_048_577))), "InvalidParameterValue"),
        ("exactly 1 MiB is fine", code!(bench.send(&url, &"x".repeat(1_048_576))), "none"),
        ("a queue must exist", code!(bench.send(&none, "x")), "AWS.SimpleQueueService.NonExistentQueue"),
        (
            "also to be found",
            code!(bench.client.get_queue_url().queue_name("none")),
            "AWS.SimpleQueueService.NonExistentQueue",
        ),
        (
            "a delay ends in 15 minutes",
            code!(bench.send(&url, "x").delay_seconds(901)),
            "InvalidParameterValue",
        ),
        (
            "eleven messages are too many",
            code!(receive().max_number_of_messages(11)),
            "InvalidParameterValue",
        ),
        ("nobody waits for 21 seconds", code!(receive().wait_time_seconds(21)), "InvalidParameterValue"),
        ("a handle is not made up", code!(delete("nonsense")), "ReceiptHandleIsInvalid"),
        (
            "a FIFO message has a group",
            code!(bench.send(&fifo, "x").message_deduplication_id("1")),
            "MissingParameter",
        ),
        ("and an id", code!(bench.send(&fifo, "x").message_group_id("g")), "InvalidParameterValue"),
        (
            "and no delay",
            code!(
                bench.send(&fifo, "x").message_group_id("g").message_deduplication_id("1").delay_seconds(5)
            ),
            "InvalidParameterValue",
        ),
        ("control characters are no text", code!(bench.send(&url, "\u{1}")), "InvalidMessageContents"),
        (
            "FIFO queues end with .fifo",
            code!(bench.client.create_queue().queue_name("x.fifo")),
            "InvalidParameterValue",
        ),
        (
            "attributes have limits",
            code!(bench.client.create_queue().queue_name("y").attributes(Name::VisibilityTimeout, "43201")),
            "InvalidAttributeValue",
        ),
    ];
    let wrong: Vec<_> = rows.iter().filter(|(_, found, wanted)| found != wanted).collect();
    assert!(wrong.is_empty(), "(what, found, wanted): {wrong:#?}");
}

#[tokio::test]
async fn queues_are_found_changed_and_emptied() {
    let bench = SqsEndpoint::start().await;
    let url = bench.create_queue("admin", &[(Name::VisibilityTimeout, "7")]).await;
    assert_eq!(
        bench.create_queue("admin", &[(Name::VisibilityTimeout, "7")]).await,
        url,
        "making it again is no error"
    );
    let request = bench.client.create_queue().queue_name(format!("{}-admin", bench.run));
    assert_eq!(
        code!(request.attributes(Name::VisibilityTimeout, "8")),
        "QueueAlreadyExists",
        "unless it differs"
    );
    let found = bench.client.get_queue_url().queue_name(format!("{}-admin", bench.run)).send().await.unwrap();
    assert_eq!(found.queue_url.as_deref(), Some(&*url), "its URL is found");
    let list = bench.client.list_queues().queue_name_prefix(&bench.run).send().await.unwrap();
    assert_eq!(list.queue_urls.as_deref(), Some(std::slice::from_ref(&url)), "it is listed");
    let request =
        bench.client.set_queue_attributes().queue_url(&url).attributes(Name::VisibilityTimeout, "9");
    request.send().await.unwrap();
    assert_eq!(bench.attribute(&url, Name::VisibilityTimeout).await, "9", "an attribute is changed");
    bench.send(&url, "x").send().await.unwrap();
    assert_eq!(bench.attribute(&url, Name::ApproximateNumberOfMessages).await, "1", "messages are counted");
    bench.client.purge_queue().queue_url(&url).send().await.unwrap();
    assert!(bench.receive(&url, 1).await.is_empty(), "a purged queue is empty");
}
