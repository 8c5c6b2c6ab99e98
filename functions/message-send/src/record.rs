//! What became of the messages of a round is written as they end, a few together: who is killed loses what ended in the
//! last moments, and not the round.

use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use shared::{
    app::App,
    store::{lines::Line, messages::Ended},
};
use tokio::time::Instant;

use crate::{
    outcome::backoff,
    park,
    send::{End, Work},
};

/// How long one that ended waits for others, so that most rounds take one request.
const TOGETHER: Duration = Duration::from_millis(150);
/// How often records are written.
const KEEP_TRIES: u32 = 5;
/// Between two such tries.
const KEEP_PAUSE: Duration = Duration::from_millis(200);

/// Waits for all of `flights`, one for each of `works`, and writes how each ended. Answers for each [`None`] when its job
/// is done, else when it should come again, and why. Where nothing could be written the rule for crashes decides.
pub async fn as_they_land(
    app: &App,
    works: &[(&Work, Option<&Line>)],
    flights: Vec<impl Future<Output = End>>,
) -> Vec<Option<(Duration, String)>> {
    let mut air: FuturesUnordered<_> =
        flights.into_iter().enumerate().map(|(n, flight)| async move { (n, flight.await) }).collect();
    let mut answers = vec![None; works.len()];
    let (mut landed, mut write_at): (Vec<(usize, Ended)>, Option<Instant>) = (Vec::new(), None);
    loop {
        // what is in the air stays there while the time runs out
        let next = match write_at {
            Some(at) => tokio::time::timeout_at(at, air.next()).await.ok().flatten(),
            None => match air.next().await {
                Some(end) => Some(end),
                None => return answers,
            },
        };
        match next {
            Some((n, End::Keep(ended))) => {
                landed.push((n, *ended));
                write_at.get_or_insert_with(|| Instant::now() + TOGETHER);
            }
            Some((n, End::Later(wait, why))) => again(&mut answers, n, (wait, why)),
            Some((n, End::Ended)) => leave(app, works, n).await,
            Some((_, End::Parked)) => {}
            None => {
                write_at = None;
                for (n, noted) in write(app, std::mem::take(&mut landed)).await {
                    if noted {
                        leave(app, works, n).await;
                    } else {
                        again(&mut answers, n, (backoff(1), "how it ended could not be stored".to_owned()));
                    }
                }
            }
        }
    }
}

fn again(answers: &mut [Option<(Duration, String)>], n: usize, when: (Duration, String)) {
    if let Some(answer) = answers.get_mut(n) {
        *answer = Some(when);
    }
}

async fn leave(app: &App, works: &[(&Work, Option<&Line>)], n: usize) {
    if let Some((work, line)) = works.get(n) {
        park::leave(app, work, *line).await;
    }
}

/// Writes how messages ended, in one request; answers for each whether it is noted.
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
