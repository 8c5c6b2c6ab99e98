//! AWS JSON 1.0: from a target and a body to a status, headers and a body. No socket is involved.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Sqs;
use crate::engine::Engine;
use crate::error::{ErrorCode, SqsError};
use crate::json_types::{
    self, BatchEntry, BatchRequest, MoveRequest, QueueRequest, ReceiptRequest, ReceiveRequest, SendRequest,
};
use crate::message::MAX_MESSAGE_BYTES;
use crate::queue_settings::queue_name;

/// The most entries of one batch.
const MAX_BATCH_ENTRIES: usize = 10;

/// The header of a trace, which is stored with the messages of its request.
pub const TRACE_HEADER: &str = "x-amzn-trace-id";

/// Status, headers, body.
pub type SqsResponse = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// Runs the action `target` (`AmazonSQS.SendMessage`) with the JSON in `body`. Unless the request waits for
/// messages, the future is ready at once and needs no runtime.
pub async fn handle(sqs: &Sqs, target: &str, body: &[u8]) -> SqsResponse {
    handle_traced(sqs, target, None, body).await
}

/// The same for a request with the header [`TRACE_HEADER`].
pub async fn handle_traced(sqs: &Sqs, target: &str, trace: Option<&str>, body: &[u8]) -> SqsResponse {
    let kind = ("content-type", "application/x-amz-json-1.0".to_owned());
    match dispatch(sqs, target, trace, body).await {
        Ok(value) => (200, vec![kind], value.to_string().into_bytes()),
        Err(fault) => {
            let error = ("x-amzn-query-error", fault.query_error());
            (fault.status(), vec![kind, error], fault.body())
        }
    }
}

async fn dispatch(sqs: &Sqs, target: &str, trace: Option<&str>, body: &[u8]) -> Result<Value, SqsError> {
    match target.strip_prefix("AmazonSQS.").unwrap_or_default() {
        "CreateQueue" => {
            let QueueRequest { queue_name, attributes, .. } = parse(body)?;
            sqs.with_engine(|engine| engine.create(&queue_name, attributes))?;
            Ok(json!({ "QueueUrl": Sqs::queue_url(&queue_name) }))
        }
        "GetQueueUrl" => {
            let QueueRequest { queue_name, .. } = parse(body)?;
            sqs.with_engine(|engine| engine.queue(&queue_name).map(|_| ()))?;
            Ok(json!({ "QueueUrl": Sqs::queue_url(&queue_name) }))
        }
        "ListQueues" => {
            let QueueRequest { queue_name_prefix, .. } = parse(body)?;
            let names = sqs.with_engine(|engine| Ok(engine.names(&queue_name_prefix)))?;
            Ok(json!({ "QueueUrls": names.iter().map(|name| Sqs::queue_url(name)).collect::<Vec<_>>() }))
        }
        "GetQueueAttributes" => get_attributes(sqs, parse(body)?),
        "SetQueueAttributes" => {
            let QueueRequest { queue_url, attributes, .. } = parse(body)?;
            let name = queue_name_from_url(queue_url)?;
            sqs.with_engine(|engine| engine.set_attributes(&name, attributes))?;
            Ok(json!({}))
        }
        "PurgeQueue" => {
            let QueueRequest { queue_url, .. } = parse(body)?;
            let name = queue_name_from_url(queue_url)?;
            sqs.with_engine(|engine| engine.purge(&name))?;
            Ok(json!({}))
        }
        "SendMessage" => {
            let mut request: SendRequest = parse(body)?;
            let name = queue_name_from_url(request.queue_url.take())?;
            sqs.with_engine(|engine| engine.send(&name, request.into_new_message(trace)))
                .map(json_types::sent_message_json)
        }
        "SendMessageBatch" => send_batch(sqs, trace, parse(body)?),
        "ReceiveMessage" => receive(sqs, parse(body)?).await,
        "DeleteMessage" => {
            let mut request: ReceiptRequest = parse(body)?;
            let name = queue_name_from_url(request.queue_url.take())?;
            sqs.with_engine(|engine| delete(engine, &name, request))
        }
        "DeleteMessageBatch" => {
            let request: BatchRequest<ReceiptRequest> = parse(body)?;
            run_batch(sqs, request, delete)
        }
        "ChangeMessageVisibility" => {
            let mut request: ReceiptRequest = parse(body)?;
            let name = queue_name_from_url(request.queue_url.take())?;
            sqs.with_engine(|engine| change_visibility(engine, &name, request))
        }
        "ChangeMessageVisibilityBatch" => {
            let request: BatchRequest<ReceiptRequest> = parse(body)?;
            run_batch(sqs, request, change_visibility)
        }
        "StartMessageMoveTask" => {
            let MoveRequest { source_arn, destination_arn } = parse(body)?;
            let source = source_arn.ok_or_else(|| SqsError::missing_parameter("SourceArn"))?;
            let target = destination_arn.as_deref().map(queue_name);
            let count = sqs.with_engine(|engine| engine.redrive(queue_name(&source), target))?;
            Ok(json!({ "TaskHandle": format!("{source} {count}") }))
        }
        name => {
            let message = format!("The action {name} is not valid for this endpoint.");
            Err(SqsError::new(ErrorCode::InvalidAction, message))
        }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, SqsError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| SqsError::new(ErrorCode::MalformedInput, error.to_string()))
}

fn queue_name_from_url(url: Option<String>) -> Result<String, SqsError> {
    let url = url.filter(|url| !url.is_empty()).ok_or_else(|| SqsError::missing_parameter("QueueUrl"))?;
    Ok(queue_name(&url).to_owned())
}

fn get_attributes(sqs: &Sqs, request: QueueRequest) -> Result<Value, SqsError> {
    let name = queue_name_from_url(request.queue_url)?;
    let mut all = sqs.with_engine(|engine| engine.attributes(&name))?;
    let asked = request.attribute_names;
    all.retain(|key, _| asked.iter().any(|name| name == "All" || name == key));
    Ok(if all.is_empty() { json!({}) } else { json!({ "Attributes": all }) })
}

fn send_batch(sqs: &Sqs, trace: Option<&str>, request: BatchRequest<SendRequest>) -> Result<Value, SqsError> {
    let bytes = |entry: &SendRequest| {
        let attributes = entry.message_attributes.iter().map(|(name, attribute)| {
            let value = [&attribute.string_value, &attribute.binary_value];
            name.len()
                + attribute.data_type.len()
                + value.into_iter().flatten().map(String::len).sum::<usize>()
        });
        entry.message_body.as_ref().map_or(0, String::len) + attributes.sum::<usize>()
    };
    let total: usize = request.entries.iter().map(bytes).sum();
    if total > MAX_MESSAGE_BYTES {
        let message = format!(
            "Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes. You have sent {total} bytes."
        );
        return Err(SqsError::new(ErrorCode::BatchRequestTooLong, message));
    }
    run_batch(sqs, request, |engine, name, entry| {
        engine.send(name, entry.into_new_message(trace)).map(json_types::sent_message_json)
    })
}

async fn receive(sqs: &Sqs, mut request: ReceiveRequest) -> Result<Value, SqsError> {
    let name = queue_name_from_url(request.queue_url.take())?;
    let within = |name: &str, value: Option<i64>, least: i64, most: i64| match value {
        Some(n) if !(least..=most).contains(&n) => Err(SqsError::invalid_value(
            name,
            n,
            &format!("Must be between {least} and {most}, if provided."),
        )),
        _ => Ok(value),
    };
    let max = within("MaxNumberOfMessages", request.max_number_of_messages, 1, 10)?.unwrap_or(1);
    let hide = within("VisibilityTimeout", request.visibility_timeout, 0, 43_200)?;
    let wait = within("WaitTimeSeconds", request.wait_time_seconds, 0, 20)?;
    let wait = wait.and_then(|secs| u64::try_from(secs).ok());
    let found = sqs.receive(&name, usize::try_from(max).unwrap_or(1), hide, wait).await?;
    let messages: Vec<Value> =
        found.into_iter().map(|delivery| json_types::received_message_json(delivery, &request)).collect();
    Ok(if messages.is_empty() { json!({}) } else { json!({ "Messages": messages }) })
}

fn delete(engine: &mut Engine, name: &str, request: ReceiptRequest) -> Result<Value, SqsError> {
    let handle = request.receipt_handle.ok_or_else(|| SqsError::missing_parameter("ReceiptHandle"))?;
    engine.delete(name, &handle).map(|()| json!({}))
}

fn change_visibility(engine: &mut Engine, name: &str, request: ReceiptRequest) -> Result<Value, SqsError> {
    let handle = request.receipt_handle.ok_or_else(|| SqsError::missing_parameter("ReceiptHandle"))?;
    let secs = request.visibility_timeout.ok_or_else(|| SqsError::missing_parameter("VisibilityTimeout"))?;
    engine.change_visibility(name, &handle, secs).map(|()| json!({}))
}

/// Runs each entry on its own, after checking the batch as a whole. One journal write for all.
fn run_batch<E: BatchEntry>(
    sqs: &Sqs,
    request: BatchRequest<E>,
    each: impl Fn(&mut Engine, &str, E) -> Result<Value, SqsError>,
) -> Result<Value, SqsError> {
    let name = queue_name_from_url(request.queue_url)?;
    let entries = request.entries;
    if entries.is_empty() {
        let message = "There should be at least one entry in the request.";
        return Err(SqsError::new(ErrorCode::EmptyBatchRequest, message));
    }
    if entries.len() > MAX_BATCH_ENTRIES {
        let message = format!(
            "Maximum number of entries per request are {MAX_BATCH_ENTRIES}. You have sent {}.",
            entries.len()
        );
        return Err(SqsError::new(ErrorCode::TooManyEntriesInBatchRequest, message));
    }
    let mut ids = BTreeSet::new();
    for entry in &entries {
        let id = entry.id();
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if id.is_empty() || id.len() > 80 || !id.chars().all(fine) {
            let message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.";
            return Err(SqsError::new(ErrorCode::InvalidBatchEntryId, message));
        }
        if !ids.insert(id) {
            return Err(SqsError::new(ErrorCode::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")));
        }
    }
    sqs.with_engine(|engine| {
        engine.queue(&name)?;
        let each = |entry: E| (entry.id().to_owned(), each(engine, &name, entry));
        Ok(json_types::batch_result_json(entries.into_iter().map(each).collect()))
    })
}
