//! Jobs that are not done. SQS brings them again until it gives them up, and keeps no word of why; so whoever fails one for
//! the last time leaves that word for the operator.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use crate::{
    app::App,
    queue::{Target, batch::Undone, operator::fingerprint},
    store::failures::Failure,
};

/// Bytes of a reason that are kept: an errcode, and what WeChat or AWS says of it.
const WHY_BYTES: usize = 400;
/// How long a note may take, of a batch's last two seconds: without its answer SQS would bring the whole batch again.
const NOTE_LIMIT: Duration = Duration::from_millis(500);

/// Leaves word of those jobs that `target` gives up now; answers the ids of all, for SQS. A job whose function dies with
/// it, out of time or of memory, has nobody who says why.
pub async fn undone(app: &App, target: Target, undone: Vec<Undone>) -> Vec<String> {
    let last = undone.iter().filter(|one| one.item.receive_count >= target.receives());
    join_all(last.map(|one| leave_word(app, target, one))).await;
    undone.into_iter().map(|one| one.item.message_id).collect()
}

async fn leave_word(app: &App, target: Target, undone: &Undone) {
    let (item, why) = (&undone.item, undone.why.as_str());
    let failure = Failure {
        job: fingerprint(target.name(), &item.body),
        why: why.get(..why.floor_char_boundary(WHY_BYTES)).unwrap_or_default().to_owned(),
        at: app.clock.unix(),
        receives: item.receive_count,
    };
    tracing::error!(id = item.message_id, why, "a job is given up: {why}");
    match timeout(NOTE_LIMIT, app.store.note_failure(&failure)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the log alone says why: {error}"),
        Err(_) => tracing::warn!("the log alone says why: the database did not answer"),
    }
}
