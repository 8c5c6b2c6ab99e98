//! AWS JSON 1.0: from a target and a body to a status, headers and a body. No socket is involved.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Sqs;
use super::fault::{Code, Fault};
use super::message::MAX_BYTES;
use super::settings::name_of;
use super::state::Engine;
use super::wire::{
    self, BatchRequest, Entry, MoveRequest, QueueRequest, ReceiptRequest, ReceiveRequest, SendRequest,
};

/// The most entries of one batch.
const MAX_ENTRIES: usize = 10;

/// Status, headers, body.
pub type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// Runs the action `target` (`AmazonSQS.SendMessage`) with the JSON in `body`. Unless the request waits for
/// messages, the future is ready at once and needs no runtime.
pub async fn handle(sqs: &Sqs, target: &str, body: &[u8]) -> Answer {
    handle_traced(sqs, target, None, body).await
}

/// The same for a request with the header `X-Amzn-Trace-Id`, which is stored with the messages that it sends.
pub async fn handle_traced(sqs: &Sqs, target: &str, trace: Option<&str>, body: &[u8]) -> Answer {
    let kind = ("content-type", "application/x-amz-json-1.0".to_owned());
    match dispatch(sqs, target, trace, body).await {
        Ok(value) => (200, vec![kind], value.to_string().into_bytes()),
        Err(fault) => {
            let error = ("x-amzn-query-error", fault.query_error());
            (fault.status(), vec![kind, error], fault.body())
        }
    }
}

async fn dispatch(sqs: &Sqs, target: &str, trace: Option<&str>, body: &[u8]) -> Result<Value, Fault> {
    match target.strip_prefix("AmazonSQS.").unwrap_or_default() {
        "CreateQueue" => {
            let QueueRequest { queue_name, attributes, .. } = parse(body)?;
            sqs.with(|engine| engine.create(&queue_name, attributes))?;
            Ok(json!({ "QueueUrl": Sqs::queue_url(&queue_name) }))
        }
        "GetQueueUrl" => {
            let QueueRequest { queue_name, .. } = parse(body)?;
            sqs.with(|engine| engine.queue(&queue_name).map(|_| ()))?;
            Ok(json!({ "QueueUrl": Sqs::queue_url(&queue_name) }))
        }
        "ListQueues" => {
            let QueueRequest { queue_name_prefix, .. } = parse(body)?;
            let names = sqs.with(|engine| Ok(engine.names(&queue_name_prefix)))?;
            Ok(json!({ "QueueUrls": names.iter().map(|name| Sqs::queue_url(name)).collect::<Vec<_>>() }))
        }
        "GetQueueAttributes" => get_attributes(sqs, parse(body)?),
        "SetQueueAttributes" => {
            let QueueRequest { queue_url, attributes, .. } = parse(body)?;
            let name = queue(queue_url)?;
            sqs.with(|engine| engine.set(&name, attributes))?;
            Ok(json!({}))
        }
        "PurgeQueue" => {
            let QueueRequest { queue_url, .. } = parse(body)?;
            let name = queue(queue_url)?;
            sqs.with(|engine| engine.purge(&name))?;
            Ok(json!({}))
        }
        "SendMessage" => {
            let mut request: SendRequest = parse(body)?;
            let name = queue(request.queue_url.take())?;
            sqs.with(|engine| engine.send(&name, request.draft(trace))).map(wire::sent)
        }
        "SendMessageBatch" => send_batch(sqs, trace, parse(body)?),
        "ReceiveMessage" => receive(sqs, parse(body)?).await,
        "DeleteMessage" => {
            let mut request: ReceiptRequest = parse(body)?;
            let name = queue(request.queue_url.take())?;
            sqs.with(|engine| delete(engine, &name, request))
        }
        "DeleteMessageBatch" => {
            let request: BatchRequest<ReceiptRequest> = parse(body)?;
            batch(sqs, request, delete)
        }
        "ChangeMessageVisibility" => {
            let mut request: ReceiptRequest = parse(body)?;
            let name = queue(request.queue_url.take())?;
            sqs.with(|engine| change_visibility(engine, &name, request))
        }
        "ChangeMessageVisibilityBatch" => {
            let request: BatchRequest<ReceiptRequest> = parse(body)?;
            batch(sqs, request, change_visibility)
        }
        "StartMessageMoveTask" => {
            let MoveRequest { source_arn, destination_arn } = parse(body)?;
            let source = source_arn.ok_or_else(|| Fault::missing("SourceArn"))?;
            let target = destination_arn.as_deref().map(name_of);
            let count = sqs.with(|engine| engine.redrive(name_of(&source), target))?;
            Ok(json!({ "TaskHandle": format!("{source} {count}") }))
        }
        name => {
            let message = format!("The action {name} is not valid for this endpoint.");
            Err(Fault::new(Code::InvalidAction, message))
        }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Fault::new(Code::MalformedInput, error.to_string()))
}

fn queue(url: Option<String>) -> Result<String, Fault> {
    let url = url.filter(|url| !url.is_empty()).ok_or_else(|| Fault::missing("QueueUrl"))?;
    Ok(name_of(&url).to_owned())
}

fn get_attributes(sqs: &Sqs, request: QueueRequest) -> Result<Value, Fault> {
    let name = queue(request.queue_url)?;
    let mut all = sqs.with(|engine| engine.attributes(&name))?;
    let asked = request.attribute_names;
    all.retain(|key, _| asked.iter().any(|name| name == "All" || name == key));
    Ok(if all.is_empty() { json!({}) } else { json!({ "Attributes": all }) })
}

fn send_batch(sqs: &Sqs, trace: Option<&str>, request: BatchRequest<SendRequest>) -> Result<Value, Fault> {
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
    if total > MAX_BYTES {
        let message =
            format!("Batch requests cannot be longer than {MAX_BYTES} bytes. You have sent {total} bytes.");
        return Err(Fault::new(Code::BatchRequestTooLong, message));
    }
    batch(sqs, request, |engine, name, entry| engine.send(name, entry.draft(trace)).map(wire::sent))
}

async fn receive(sqs: &Sqs, mut request: ReceiveRequest) -> Result<Value, Fault> {
    let name = queue(request.queue_url.take())?;
    let within = |name: &str, value: Option<i64>, least: i64, most: i64| match value {
        Some(n) if !(least..=most).contains(&n) => {
            Err(Fault::value(name, n, &format!("Must be between {least} and {most}, if provided.")))
        }
        _ => Ok(value),
    };
    let max = within("MaxNumberOfMessages", request.max_number_of_messages, 1, 10)?.unwrap_or(1);
    let hide = within("VisibilityTimeout", request.visibility_timeout, 0, 43_200)?;
    let wait = within("WaitTimeSeconds", request.wait_time_seconds, 0, 20)?;
    let wait = wait.and_then(|secs| u64::try_from(secs).ok());
    let found = sqs.receive(&name, usize::try_from(max).unwrap_or(1), hide, wait).await?;
    let messages: Vec<Value> = found.into_iter().map(|delivery| wire::message(delivery, &request)).collect();
    Ok(if messages.is_empty() { json!({}) } else { json!({ "Messages": messages }) })
}

fn delete(engine: &mut Engine, name: &str, request: ReceiptRequest) -> Result<Value, Fault> {
    let handle = request.receipt_handle.ok_or_else(|| Fault::missing("ReceiptHandle"))?;
    engine.delete(name, &handle).map(|()| json!({}))
}

fn change_visibility(engine: &mut Engine, name: &str, request: ReceiptRequest) -> Result<Value, Fault> {
    let handle = request.receipt_handle.ok_or_else(|| Fault::missing("ReceiptHandle"))?;
    let secs = request.visibility_timeout.ok_or_else(|| Fault::missing("VisibilityTimeout"))?;
    engine.change_visibility(name, &handle, secs).map(|()| json!({}))
}

/// Runs each entry on its own, after checking the batch as a whole. One journal write for all.
fn batch<E: Entry>(
    sqs: &Sqs,
    request: BatchRequest<E>,
    each: impl Fn(&mut Engine, &str, E) -> Result<Value, Fault>,
) -> Result<Value, Fault> {
    let name = queue(request.queue_url)?;
    let entries = request.entries;
    if entries.is_empty() {
        let message = "There should be at least one entry in the request.";
        return Err(Fault::new(Code::EmptyBatchRequest, message));
    }
    if entries.len() > MAX_ENTRIES {
        let message = format!(
            "Maximum number of entries per request are {MAX_ENTRIES}. You have sent {}.",
            entries.len()
        );
        return Err(Fault::new(Code::TooManyEntriesInBatchRequest, message));
    }
    let mut ids = BTreeSet::new();
    for entry in &entries {
        let id = entry.id();
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if id.is_empty() || id.len() > 80 || !id.chars().all(fine) {
            let message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.";
            return Err(Fault::new(Code::InvalidBatchEntryId, message));
        }
        if !ids.insert(id) {
            return Err(Fault::new(Code::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")));
        }
    }
    sqs.with(|engine| {
        engine.queue(&name)?;
        let each = |entry: E| (entry.id().to_owned(), each(engine, &name, entry));
        Ok(wire::batch(entries.into_iter().map(each).collect()))
    })
}
