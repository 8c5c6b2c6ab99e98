//! Sends several messages in one request, with a result for each.

use std::{collections::HashMap, time::Duration};

use aws_sdk_sqs::{error::ProvideErrorMetadata, types::SendMessageBatchRequestEntry};

use super::{JobQueue, MAX_DELAY, Queues};
use crate::error::{Error, sdk_error_text};

/// Codes by which SQS refuses a message for good, or a request because of one: API reference, "Errors" of
/// `SendMessage` and `SendMessageBatch`. All others, missing rights too, concern the moment or the queue.
const PERMANENT_ERROR_CODES: [&str; 6] = [
    "InvalidAttributeValue",
    "InvalidMessageContents",
    "InvalidParameterValue",
    "MissingParameter",
    "BatchRequestTooLong",
    "InvalidBatchEntryId",
];

/// A message to send.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingMessage<'a> {
    /// The job as JSON.
    pub body: &'a str,
    /// The message group: on a FIFO queue kept in order; on a standard one a fair share, empty for none.
    pub group_id: &'a str,
    /// By which a FIFO queue recognises a duplicate for five minutes.
    pub deduplication_id: &'a str,
}

/// Why SQS refused a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendRefusal {
    /// SQS's code.
    pub code: String,
    /// Permanent: the queue will never accept this message.
    pub is_permanent: bool,
}

/// The results of sending several messages.
#[derive(Debug)]
pub struct SendResults {
    /// One for each message, in their order; none where the result is unknown.
    pub results: Vec<Option<Result<(), SendRefusal>>>,
    /// Why the queue accepts no more for now.
    pub stopped_by: Option<Error>,
}

/// Why a whole request failed.
pub(super) struct RequestFailure {
    error: Error,
    is_permanent: bool,
}

impl From<RequestFailure> for Error {
    fn from(failure: RequestFailure) -> Self {
        failure.error
    }
}

impl Queues {
    /// Sends at most [`MAX_BATCH_MESSAGES`](super::MAX_BATCH_MESSAGES), one per FIFO group, as a second must
    /// not be sent where the first failed. Where SQS refuses all because of one, each is sent alone.
    pub async fn send_messages(&self, target: JobQueue, messages: &[OutgoingMessage<'_>]) -> SendResults {
        let mut each = vec![None; messages.len()];
        let stopped = match self.send_batch(target, messages, Duration::ZERO).await {
            Ok(failed) => {
                for (place, taken) in each.iter_mut().enumerate() {
                    *taken = Some(failed.get(&place).map_or(Ok(()), |refused| Err(refused.clone())));
                }
                None
            }
            Err(RequestFailure { is_permanent: false, error }) => Some(error),
            Err(_) => self.send_one_by_one(target, messages, &mut each).await,
        };
        SendResults { results: each, stopped_by: stopped }
    }

    async fn send_one_by_one(
        &self,
        target: JobQueue,
        messages: &[OutgoingMessage<'_>],
        each: &mut [Option<Result<(), SendRefusal>>],
    ) -> Option<Error> {
        for (parcel, taken) in messages.iter().zip(each) {
            *taken = match self.send_batch(target, std::slice::from_ref(parcel), Duration::ZERO).await {
                Ok(mut failed) => Some(failed.remove(&0).map_or(Ok(()), Err)),
                Err(RequestFailure { is_permanent: false, error }) => return Some(error),
                Err(RequestFailure { error, .. }) => {
                    Some(Err(SendRefusal { code: error.to_string(), is_permanent: true }))
                }
            };
        }
        None
    }

    /// Sends one message to a standard queue, to be received after `delay` (at most [`MAX_DELAY`]).
    ///
    /// # Errors
    /// [`Error::Queue`]: it may be queued; repeating is safe.
    pub async fn send_delayed(
        &self,
        target: JobQueue,
        message: &OutgoingMessage<'_>,
        delay: Duration,
    ) -> Result<(), Error> {
        require_all_accepted(self.send_batch(target, std::slice::from_ref(message), delay).await)
    }

    /// Sends one batch; returns the refused messages by their index, and why.
    pub(super) async fn send_batch(
        &self,
        target: JobQueue,
        batch: &[OutgoingMessage<'_>],
        delay: Duration,
    ) -> Result<HashMap<usize, SendRefusal>, RequestFailure> {
        let delay = i32::try_from(delay.min(MAX_DELAY).as_secs()).unwrap_or(0);
        let entries = batch.iter().enumerate().map(|(place, parcel)| {
            SendMessageBatchRequestEntry::builder()
                .id(place.to_string())
                .message_body(parcel.body)
                .set_message_group_id((!parcel.group_id.is_empty()).then(|| parcel.group_id.to_owned()))
                .set_message_deduplication_id(
                    (!parcel.deduplication_id.is_empty()).then(|| parcel.deduplication_id.to_owned()),
                )
                .set_delay_seconds((delay > 0).then_some(delay))
                .build()
                .map_err(|e| RequestFailure { error: Error::Queue(e.to_string()), is_permanent: false })
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let request = self.client.send_message_batch().queue_url(self.url(target)).set_entries(Some(entries));
        let answer = request.send().await.map_err(|e| RequestFailure {
            is_permanent: e.code().is_some_and(is_permanent_error),
            error: Error::Queue(sdk_error_text(&e)),
        })?;
        let failed = answer.failed().iter().filter_map(|entry| {
            let refused =
                SendRefusal { code: entry.code().to_owned(), is_permanent: is_permanent_error(entry.code()) };
            Some((entry.id().parse().ok()?, refused))
        });
        Ok(failed.collect())
    }
}

/// Whether SQS refuses a message for good with this code, which may be prefixed in the way of the older API.
fn is_permanent_error(code: &str) -> bool {
    let code = code.rsplit(['.', '#']).next().unwrap_or(code);
    PERMANENT_ERROR_CODES.contains(&code)
}

pub(super) fn require_all_accepted(
    sent: Result<HashMap<usize, SendRefusal>, RequestFailure>,
) -> Result<(), Error> {
    let failed = sent?;
    match failed.values().next() {
        None => Ok(()),
        Some(refused) => Err(Error::Queue(format!("{} of a batch: {}", failed.len(), refused.code))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_smithy_runtime_api::client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
    };
    use aws_smithy_types::{body::SdkBody, retry::RetryConfig};

    use super::*;
    use crate::{
        config::Resources,
        queue::{CONCURRENT_REQUESTS, jobs::RefreshJob},
    };

    /// An SQS that refuses every request with an odd message in it.
    #[derive(Debug, Clone, Default)]
    struct PickySqs(Arc<Mutex<SqsCalls>>);

    #[derive(Debug, Default)]
    struct SqsCalls {
        in_flight: usize,
        max_in_flight: usize,
        taken: Vec<String>,
        refused: usize,
    }

    impl HttpConnector for PickySqs {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let body = String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap();
            let seen = Arc::clone(&self.0);
            HttpConnectorFuture::new(async move {
                {
                    let mut seen = seen.lock().unwrap();
                    seen.in_flight += 1;
                    seen.max_in_flight = seen.max_in_flight.max(seen.in_flight);
                }
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                let mut seen = seen.lock().unwrap();
                seen.in_flight -= 1;
                let (status, answer) = if body.contains("odd") {
                    seen.refused += 1;
                    (400, r#"{"__type":"com.amazonaws.sqs#InvalidMessageContents","message":"no"}"#)
                } else {
                    seen.taken.push(body);
                    (200, r#"{"Successful":[],"Failed":[]}"#)
                };
                Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(answer)))
            })
        }
    }

    impl PickySqs {
        fn queues(&self) -> Queues {
            let connector = SharedHttpConnector::new(self.clone());
            let config = aws_sdk_sqs::Config::builder()
                .behavior_version(crate::aws::behavior_version())
                .region(aws_sdk_sqs::config::Region::new("us-east-1"))
                .allow_no_auth()
                .retry_config(RetryConfig::disabled())
                .endpoint_url("http://sqs")
                .http_client(http_client_fn(move |_, _| connector.clone()))
                .build();
            let url = || "http://sqs/queue".to_owned();
            let resources = Resources { refresh_queue: url(), send_queue: url(), ..Resources::default() };
            Queues::new(aws_sdk_sqs::Client::from_conf(config), &resources)
        }
    }

    #[tokio::test]
    async fn one_that_no_queue_takes_keeps_none_of_its_request_from_going() {
        let sqs = PickySqs::default();
        let bodies: Vec<_> =
            (0..10).map(|n| if n == 3 { "odd".into() } else { format!("job {n}") }).collect();
        let parcel = |(n, body)| OutgoingMessage {
            body,
            group_id: ["a", "b", "c", "d"][n % 4],
            deduplication_id: "1",
        };
        let parcels: Vec<_> = bodies.iter().map(String::as_str).enumerate().map(parcel).collect();
        let over = sqs.queues().send_messages(JobQueue::Send, &parcels).await;
        assert!(over.stopped_by.is_none(), "{over:?}");
        for (n, became) in over.results.iter().enumerate() {
            match became {
                Some(Ok(())) => assert_ne!(n, 3),
                Some(Err(refused)) => assert!(n == 3 && refused.is_permanent, "{n}: {refused:?}"),
                None => panic!("nothing is known of {n}"),
            }
        }
        let seen = sqs.0.lock().unwrap();
        assert_eq!((seen.taken.len(), seen.refused), (9, 2));
    }

    #[tokio::test]
    async fn many_jobs_are_sent_a_few_requests_at_a_time_and_all_of_them_whatever_becomes_of_one() {
        for (what, odd, refused) in [("all are taken", None, 0), ("one is refused", Some(30), 1)] {
            let sqs = PickySqs::default();
            let job = |n| RefreshJob::TimersV1 { shards: vec![n] };
            let strange = RefreshJob::AuthorizersV1 { app_ids: vec!["odd".into()] };
            let jobs: Vec<_> =
                (0..1000).map(|n| if Some(n) == odd { strange.clone() } else { job(n) }).collect();
            let sent = sqs.queues().refresh(&jobs, Duration::ZERO).await;
            assert_eq!(sent.is_err(), odd.is_some(), "{what}");
            let seen = sqs.0.lock().unwrap();
            assert_eq!((seen.taken.len(), seen.refused), (100 - refused, refused), "{what}");
            assert_eq!(seen.max_in_flight, CONCURRENT_REQUESTS, "{what}");
        }
    }

    #[test]
    fn what_is_refused_for_what_it_is_differs_from_what_is_refused_for_now() {
        for (code, never) in [
            ("InvalidParameterValue", true),
            ("AWS.SimpleQueueService.BatchRequestTooLong", true),
            ("com.amazonaws.sqs#InvalidMessageContents", true),
            ("RequestThrottled", false),
            ("KmsAccessDenied", false),
            ("AccessDeniedException", false),
            ("AWS.SimpleQueueService.NonExistentQueue", false),
            ("InternalError", false),
        ] {
            assert_eq!(is_permanent_error(code), never, "{code}");
        }
    }
}
