//! Messages that wait: in a timer, not in the queue, of which all tenants together have one. What waits is noted
//! before its message leaves the queue, and later messages to the same fan wait behind it.

use jiff::Timestamp;
use shared::{
    app::App,
    error::Error,
    queue::jobs::SendJob,
    store::lines::Line,
    timers::{self, Job},
};

use crate::{claim, send::Work};

/// Whether a message may go, or waits behind others, until which unix millisecond. `line`: who waits to reach its fan.
///
/// One that comes from the queue is newer than all that wait. One that waited goes when the line does: its timer was
/// handed over behind those before it.
pub fn behind(work: &Work, line: Option<&Line>, now: i64) -> Option<i64> {
    let line = line?;
    match work.waited {
        false => Some(line.until.max(now)),
        true if line.until > now && line.first != work.id => Some(line.until),
        true => None,
    }
}

/// Has a message come again at the unix millisecond `due`. `leads`: it says for how long the line waits; otherwise it
/// waits behind somebody. Where this fails, its message stays in the queue.
pub async fn park(app: &App, work: &Work, due: i64, leads: bool) -> Result<(), Error> {
    if !work.waited {
        // of a reply rule, whose job alone had it so far
        claim::create(app, work).await?;
    }
    let job = SendJob::WaitedV1 {
        message_id: work.id.clone(),
        tenant_id: work.tenant_id.clone(),
        app_id: work.app_id.clone(),
        to: work.to.clone(),
        created_at: work.created_at,
    };
    let due_at = Timestamp::from_millisecond(due).unwrap_or_else(|_| app.clock.now());
    // those of one line that are due together go in the order in which they were accepted
    let id = format!("{:013}#{}", work.created_at.max(0), work.id);
    timers::set(app, &id, due_at, Job::Send(&job, &work.group())).await?;
    app.store.join_line(work.fan(), &work.id, due, leads, !work.waited).await
}

/// After the end of a message: the line ends with its last.
pub async fn leave(app: &App, work: &Work, line: Option<&Line>) {
    if line.is_some_and(|line| line.newest == work.id)
        && let Err(error) = app.store.end_line(work.fan(), &work.id).await
    {
        tracing::warn!(message_id = work.id, %error, "a line stays for the next message to end: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_to_one_fan_go_in_the_order_in_which_they_were_accepted() {
        let line = |until, first: &str| Line { until, first: first.into(), newest: "msg_3".into() };
        for (what, waited, line, behind_until) in [
            ("nobody waits", false, None, None),
            ("somebody waits", false, Some(line(5_000, "msg_0")), Some(5_000)),
            ("those before it go just now", false, Some(line(900, "msg_0")), Some(1_000)),
            ("its turn came", true, Some(line(900, "msg_0")), None),
            ("the first waits again", true, Some(line(5_000, "msg_0")), Some(5_000)),
            ("it is the first itself, early", true, Some(line(5_000, "msg_1")), None),
            ("its line was forgotten", true, None, None),
        ] {
            let work = Work { waited, ..Work::example("msg_1") };
            assert_eq!(behind(&work, line.as_ref(), 1_000), behind_until, "{what}");
        }
    }
}
