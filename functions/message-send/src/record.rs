//! Writes how the messages of a round ended, a few together as they end: a killed worker loses only the ends
//! of the last moments, not the whole round.

use std::time::Duration;

use futures::{Stream, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use shared::{
    model::{
        message::{Channel, MessageRecord},
        waiting_line::WaitingLine,
    },
    retry::backoff,
    services::Services,
    store::messages::EndedMessage,
};
use tokio::time::Instant;

use crate::{
    park,
    states::{JobEnd, SendResult},
    work::Work,
};

/// How long an end waits for others, so that most rounds need one request.
const GATHER_TIME: Duration = Duration::from_millis(150);
/// Tries to write records.
const MAX_RECORD_ATTEMPTS: u32 = 5;
/// The wait between two tries.
const RECORD_RETRY_WAIT: Duration = Duration::from_millis(200);

/// The messages of a round, each with the waiting lines that it may be in.
type RoundMessages<'a> = [(&'a Work, &'a [(Channel, WaitingLine)])];
/// A running write: the indexes of its messages, and whether each end is stored.
type PendingWrite<'a> = BoxFuture<'a, Vec<(usize, bool)>>;

/// Awaits all sends in flight, indexes in `works` with their results, and writes how each ended. Returns what
/// becomes of each job. What could not be written is left to the rule for crashes.
pub async fn record_as_they_end(
    app: &Services,
    works: &RoundMessages<'_>,
    mut in_flight: impl Stream<Item = (usize, SendResult)> + Unpin,
) -> Vec<JobEnd> {
    let mut ends = vec![JobEnd::Done; works.len()];
    let mut again = |n: usize, wait: Duration, why: String| {
        if let Some(end) = ends.get_mut(n) {
            *end = JobEnd::Again(wait, why);
        }
    };
    let mut writing: FuturesUnordered<PendingWrite<'_>> = FuturesUnordered::new();
    let (mut unwritten, mut write_at): (Vec<(usize, EndedMessage)>, Option<Instant>) = (Vec::new(), None);
    let mut is_empty = false;
    // a slow database must not delay results that are still to come
    while !is_empty || !writing.is_empty() {
        tokio::select! {
            next = in_flight.next(), if !is_empty => match next {
                Some((n, SendResult::Record(ended))) => {
                    unwritten.push((n, *ended));
                    write_at.get_or_insert_with(|| Instant::now() + GATHER_TIME);
                }
                Some((n, SendResult::Retry(wait, why))) => again(n, wait, why),
                Some((n, SendResult::AlreadyEnded(seen))) => writing.push(Box::pin(complete_records(app, works, n, seen))),
                Some((_, SendResult::Parked)) => {}
                None => is_empty = true,
            },
            Some(written) = writing.next() => {
                for (n, _) in written.into_iter().filter(|(_, noted)| !noted) {
                    let receives = works.get(n).map_or(1, |(work, _)| work.receive_count);
                    again(n, backoff(receives), "how it ended could not be stored".to_owned());
                }
            }
            () = time_to_write(write_at) => {}
        }
        if is_empty || write_at.is_some_and(|at| at <= Instant::now()) {
            write_at = None;
            if !unwritten.is_empty() {
                let unwritten = std::mem::take(&mut unwritten);
                writing.push(Box::pin(async move {
                    leave_lines(app, works, write_records(app, unwritten).await).await
                }));
            }
        }
    }
    ends
}

/// At `at`, or never.
async fn time_to_write(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Completes the records of a message that had ended: whoever stored that may have died before its event.
async fn complete_records(
    app: &Services,
    works: &RoundMessages<'_>,
    n: usize,
    seen: Option<Box<MessageRecord>>,
) -> Vec<(usize, bool)> {
    if let Some(message) = seen
        && let Err(error) = app.store.messages().restore_sent_records(&message).await
    {
        tracing::warn!(%error, "a message is sent, and its event could not be stored: {error}");
        return vec![(n, false)];
    }
    leave_lines(app, works, vec![(n, true)]).await
}

/// Removes messages whose end is stored from their waiting lines.
async fn leave_lines(
    app: &Services,
    works: &RoundMessages<'_>,
    noted: Vec<(usize, bool)>,
) -> Vec<(usize, bool)> {
    for (n, _) in noted.iter().filter(|(_, noted)| *noted) {
        if let Some((work, lines)) = works.get(*n) {
            park::leave_lines(app, work, lines).await;
        }
    }
    noted
}

/// Writes how messages ended, in one request. Returns for each whether its end is stored.
async fn write_records(app: &Services, unwritten: Vec<(usize, EndedMessage)>) -> Vec<(usize, bool)> {
    let (mut indexes, mut open): (Vec<usize>, Vec<EndedMessage>) = unwritten.into_iter().unzip();
    let mut noted = Vec::with_capacity(open.len());
    for attempt in 1..=MAX_RECORD_ATTEMPTS {
        if open.is_empty() {
            break;
        }
        match app.store.messages().store_ended(&open).await {
            Ok(answers) => {
                let (mut left, mut left_open) = (Vec::new(), Vec::new());
                for ((place, ended), answer) in indexes.into_iter().zip(open).zip(answers) {
                    match answer {
                        Ok(ours) => noted.push((place, ours)),
                        Err(error) => {
                            tracing::error!(%error, attempt, "an outcome could not be stored: {error}");
                            left.push(place);
                            left_open.push(ended);
                        }
                    }
                }
                (indexes, open) = (left, left_open);
            }
            Err(error) => {
                tracing::error!(%error, attempt, "the outcome of messages could not be stored: {error}");
            }
        }
        if !open.is_empty() && attempt < MAX_RECORD_ATTEMPTS {
            tokio::time::sleep(RECORD_RETRY_WAIT).await;
        }
    }
    noted.extend(indexes.into_iter().take(open.len()).map(|place| (place, false)));
    noted
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_credential_types::Credentials;
    use shared::{
        aws::AwsClients,
        clock::ManualClock,
        config::{Config, RunMode, is_queue_variable},
        model::{failure_code::FailureCode, message::MessageError},
        random::StdRandom,
        services::Dependencies,
        wechat::transport::{Transport, TransportError, WeChatRequest, WeChatResponse},
    };

    use super::*;
    use crate::states::MessageLease;

    struct NoWeChat;

    impl Transport for NoWeChat {
        fn send<'a>(&'a self, _: WeChatRequest) -> BoxFuture<'a, Result<WeChatResponse, TransportError>> {
            Box::pin(async { Err(TransportError::NotSent("nobody".into())) })
        }
    }

    /// Services whose database accepts requests and never answers.
    async fn services_with_stalled_database() -> (Arc<Services>, tokio::net::TcpListener) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let config = Config::load(crate::NEEDS, RunMode::Simulated, |name| {
            Some(match name {
                "OAHUB_COMPONENT_APP_ID" => "wx00c0ffee00c0ffee".into(),
                "OAHUB_COMPONENT_APP_SECRET" => "0123456789abcdef".into(),
                "AWS_REGION" => "us-east-1".into(),
                "AWS_ENDPOINT_URL_DYNAMODB" | "AWS_ENDPOINT_URL_SQS" => url.clone(),
                name if name.ends_with("_TABLE") || is_queue_variable(name) => name.to_owned(),
                _ => return None,
            })
        })
        .unwrap();
        let aws = AwsClients::new(&config.resources, Credentials::new("local", "local", None, None, "test"));
        let clock = Arc::new(ManualClock::at(1_735_689_600));
        let parts = Dependencies {
            clock,
            random: Arc::new(StdRandom::seeded(1)),
            transport: Arc::new(NoWeChat),
            aws,
        };
        (Services::new(config, parts).unwrap(), listener)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_on_its_way_is_heard_while_the_database_stalls() {
        let (app, _listener) = services_with_stalled_database().await;
        let (first, second) = (Work::example("msg_1"), Work { to: "o2".into(), ..Work::example("msg_2") });
        let lease =
            MessageLease { owner: app.store.new_writer_id(), may_have_happened: false, first_try_at: 0 };
        let error = MessageError { code: FailureCode::WechatError, errcode: None, detail: String::new() };
        let ended = first.failed(&app, &lease, None, error);
        let (began, heard) = (Instant::now(), Mutex::new(None));
        let answer = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            *heard.lock().unwrap() = Some(began.elapsed());
            (1, SendResult::Retry(Duration::from_secs(7), "busy".into()))
        };
        let flights: [BoxFuture<'_, (usize, SendResult)>; 2] =
            [Box::pin(std::future::ready((0, ended))), Box::pin(answer)];
        let air: FuturesUnordered<_> = flights.into_iter().collect();
        let answers = record_as_they_end(&app, &[(&first, &[]), (&second, &[])], air).await;
        let not_stored = JobEnd::Again(backoff(1), "how it ended could not be stored".into());
        assert_eq!(answers, [not_stored, JobEnd::Again(Duration::from_secs(7), "busy".into())]);
        let heard = heard.lock().unwrap().unwrap();
        assert!(heard < Duration::from_secs(2), "heard after {heard:?}, when the write was over");
        assert!(began.elapsed() > Duration::from_secs(2), "the database did not stall");
    }
}
