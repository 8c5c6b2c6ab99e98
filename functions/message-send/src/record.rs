//! Writes how the messages of a round ended, a few together as they end: a killed worker loses only the ends
//! of the last moments, not the whole round.

use std::time::Duration;

use futures::{Stream, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use shared::{
    app::App,
    store::{
        lines::Line,
        messages::{Channel, Ended},
    },
};
use tokio::time::Instant;

use crate::{outcome::backoff, park, send::End, work::Work};

/// How long an end waits for others, so that most rounds need one request.
const TOGETHER: Duration = Duration::from_millis(150);
/// Tries to write records.
const KEEP_TRIES: u32 = 5;
/// The wait between two tries.
const KEEP_PAUSE: Duration = Duration::from_millis(200);

/// The messages of a round, each with the waiting lines that it may be in.
type Works<'a> = [(&'a Work, &'a [(Channel, Line)])];
/// A running write: the indexes of its messages, and whether each end is stored.
type Writing<'a> = BoxFuture<'a, Vec<(usize, bool)>>;

/// Awaits all sends in flight, indexes in `works` with their results, and writes how each ended. Returns for
/// each [`None`] when its job is done, and otherwise the wait and the reason. What could not be written is
/// left to the rule for crashes.
pub async fn as_they_land(
    app: &App,
    works: &Works<'_>,
    mut air: impl Stream<Item = (usize, End)> + Unpin,
) -> Vec<Option<(Duration, String)>> {
    let mut answers = vec![None; works.len()];
    let mut again = |n: usize, wait: Duration, why: String| {
        if let Some(answer) = answers.get_mut(n) {
            *answer = Some((wait, why));
        }
    };
    let mut writing: FuturesUnordered<Writing<'_>> = FuturesUnordered::new();
    let (mut landed, mut write_at): (Vec<(usize, Ended)>, Option<Instant>) = (Vec::new(), None);
    let mut is_empty = false;
    // a slow database must not delay results that are still to come
    while !is_empty || !writing.is_empty() {
        tokio::select! {
            next = air.next(), if !is_empty => match next {
                Some((n, End::Keep(ended))) => {
                    landed.push((n, *ended));
                    write_at.get_or_insert_with(|| Instant::now() + TOGETHER);
                }
                Some((n, End::Later(wait, why))) => again(n, wait, why),
                Some((n, End::Ended)) => writing.push(Box::pin(leave(app, works, vec![(n, true)]))),
                Some((_, End::Parked)) => {}
                None => is_empty = true,
            },
            Some(written) = writing.next() => {
                for (n, _) in written.into_iter().filter(|(_, noted)| !noted) {
                    again(n, backoff(1), "how it ended could not be stored".to_owned());
                }
            }
            () = time_to_write(write_at) => {}
        }
        if is_empty || write_at.is_some_and(|at| at <= Instant::now()) {
            write_at = None;
            if !landed.is_empty() {
                let landed = std::mem::take(&mut landed);
                writing.push(Box::pin(async move { leave(app, works, write(app, landed).await).await }));
            }
        }
    }
    answers
}

/// At `at`, or never.
async fn time_to_write(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Removes messages whose end is stored from their waiting lines.
async fn leave(app: &App, works: &Works<'_>, noted: Vec<(usize, bool)>) -> Vec<(usize, bool)> {
    for (n, _) in noted.iter().filter(|(_, noted)| *noted) {
        if let Some((work, lines)) = works.get(*n) {
            park::leave(app, work, lines).await;
        }
    }
    noted
}

/// Writes how messages ended, in one request. Returns for each whether its end is stored.
async fn write(app: &App, landed: Vec<(usize, Ended)>) -> Vec<(usize, bool)> {
    let (mut places, mut open): (Vec<usize>, Vec<Ended>) = landed.into_iter().unzip();
    let mut noted = Vec::with_capacity(open.len());
    for attempt in 1..=KEEP_TRIES {
        if open.is_empty() {
            break;
        }
        match app.store.keep_messages(&open).await {
            Ok(answers) => {
                let (mut left, mut left_open) = (Vec::new(), Vec::new());
                for ((place, ended), answer) in places.into_iter().zip(open).zip(answers) {
                    match answer {
                        Ok(ours) => noted.push((place, ours)),
                        Err(error) => {
                            tracing::error!(%error, attempt, "an outcome could not be stored: {error}");
                            left.push(place);
                            left_open.push(ended);
                        }
                    }
                }
                (places, open) = (left, left_open);
            }
            Err(error) => {
                tracing::error!(%error, attempt, "the outcome of messages could not be stored: {error}");
            }
        }
        if !open.is_empty() && attempt < KEEP_TRIES {
            tokio::time::sleep(KEEP_PAUSE).await;
        }
    }
    noted.extend(places.into_iter().take(open.len()).map(|place| (place, false)));
    noted
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_credential_types::Credentials;
    use shared::{
        app::Parts,
        aws::AwsClients,
        clock::ManualClock,
        config::{Config, Surroundings, is_queue},
        random::Rand,
        store::messages::MessageError,
        wechat::transport::{Request, Response, Transport, TransportError},
    };

    use super::*;
    use crate::claim::{Held, Way};

    struct Nobody;

    impl Transport for Nobody {
        fn send<'a>(&'a self, _: Request) -> BoxFuture<'a, Result<Response, TransportError>> {
            Box::pin(async { Err(TransportError::NotSent("nobody".into())) })
        }
    }

    /// Services whose database accepts requests and never answers.
    async fn stalled() -> (Arc<App>, tokio::net::TcpListener) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let config = Config::load(crate::NEEDS, Surroundings::Simulated, |name| {
            Some(match name {
                "OAHUB_COMPONENT_APP_ID" => "wx00c0ffee00c0ffee".into(),
                "OAHUB_COMPONENT_APP_SECRET" => "0123456789abcdef".into(),
                "AWS_ENDPOINT_URL_DYNAMODB" | "AWS_ENDPOINT_URL_SQS" => url.clone(),
                name if name.ends_with("_TABLE") || is_queue(name) => name.to_owned(),
                _ => return None,
            })
        })
        .unwrap();
        let aws = AwsClients::new(&config.resources, Credentials::new("local", "local", None, None, "test"));
        let clock = Arc::new(ManualClock::at(1_735_689_600));
        let parts = Parts { clock, random: Arc::new(Rand::seeded(1)), transport: Arc::new(Nobody), aws };
        (App::new(config, parts).unwrap(), listener)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_on_its_way_is_heard_while_the_database_stalls() {
        let (app, _listener) = stalled().await;
        let (first, second) = (Work::example("msg_1"), Work { to: "o2".into(), ..Work::example("msg_2") });
        let held = Held { owner: app.store.owner(), way: Way::Unknown, may_have_happened: false, since: 0 };
        let error = MessageError { code: "wechat_error".into(), errcode: None, detail: String::new() };
        let ended = first.failed(&app, &held, None, error);
        let (began, heard) = (Instant::now(), Mutex::new(None));
        let answer = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            *heard.lock().unwrap() = Some(began.elapsed());
            (1, End::Later(Duration::from_secs(7), "busy".into()))
        };
        let flights: [BoxFuture<'_, (usize, End)>; 2] =
            [Box::pin(std::future::ready((0, ended))), Box::pin(answer)];
        let air: FuturesUnordered<_> = flights.into_iter().collect();
        let answers = as_they_land(&app, &[(&first, &[]), (&second, &[])], air).await;
        let waits: Vec<_> = answers.into_iter().map(|answer| answer.map(|(wait, _)| wait)).collect();
        assert_eq!(waits, [Some(backoff(1)), Some(Duration::from_secs(7))]);
        let heard = heard.lock().unwrap().unwrap();
        assert!(heard < Duration::from_secs(2), "heard after {heard:?}, when the write was over");
        assert!(began.elapsed() > Duration::from_secs(2), "the database did not stall");
    }
}
