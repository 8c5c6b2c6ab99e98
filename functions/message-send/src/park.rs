//! Messages that wait: in a timer, not in the queue, of which all tenants together have one. What waits is noted
//! before its message leaves the queue, and later messages to the same fan wait behind it.

use jiff::Timestamp;
use shared::{
    app::App,
    error::Error,
    queue::jobs::SendJob,
    store::{
        lines::{Line, Waiting},
        messages::Channel,
    },
    timers::{self, Job},
};

use crate::{claim, work::Work};

/// How a message waits.
#[derive(Debug, Clone, Copy)]
pub struct Parked {
    /// How it would go.
    pub channel: Channel,
    /// Until this unix millisecond.
    pub due: i64,
    /// It leads its line, or waits behind others.
    pub leads: bool,
}

/// Whether a message may go, or waits behind others, until which unix millisecond. `line`: who waits
/// to reach its fan by the same channel.
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

/// Has a message come again. Where this fails, its message stays in the queue.
pub async fn park(app: &App, work: &Work, parked: Parked) -> Result<(), Error> {
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
    let due_at = Timestamp::from_millisecond(parked.due).unwrap_or_else(|_| app.clock.now());
    // Those of one line that are due together go in the order in which they were accepted. A job that waits twice is one
    // timer. One that was handed over and waits again, be it by a slow clock for the very same time, is another one: who
    // handed it over deletes the first, and the queue would take a second of that name for the first.
    let id = format!("{}#{}", work.place(), work.job);
    timers::set(app, &id, due_at, Job::Send(&job)).await?;
    let waiting =
        Waiting { fan: work.fan(), channel: parked.channel, message: &work.id, created_at: work.created_at };
    app.store.join_line(&waiting, parked.due, parked.leads).await
}

/// After the end of a message: a line ends with its last.
pub async fn leave(app: &App, work: &Work, lines: &[(Channel, Line)]) {
    for (channel, line) in lines {
        if line.newest == work.place()
            && let Err(error) = app.store.end_line(work.fan(), *channel, &line.newest).await
        {
            tracing::warn!(message_id = work.id, %error, "a line stays for the next message to end: {error}");
        }
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
