//! Messages that wait do so in timers, because all tenants share one queue. The wait is stored before the
//! job leaves the queue, and later messages to the same fan wait behind it.

use jiff::Timestamp;
use shared::{
    error::Error,
    ids,
    model::{
        message::Channel,
        waiting_line::{WaitingLine, WaitingMessage},
    },
    services::Services,
    timers::{self, TimerJob},
};

use crate::{
    account_context::AccountContext,
    retry_policy::{MAX_AGE_MS, NextAttempt, RetryReason, next_attempt},
    states::Parked,
    work::Work,
};

/// Messages that wait for the same are spread over this, in milliseconds: a hundred thousand that wait for
/// midnight are 170 a second.
const SPREAD_MS: i64 = 10 * 60_000;
/// The number of steps of the spread.
const SPREAD_STEPS: u32 = 1_000;

/// Returns until which unix millisecond a message waits behind others, or [`None`] if it may go. `line`: the
/// messages that wait for its fan and channel.
///
/// A message from the queue is newer than all that wait. One that waited goes together with its line: its
/// timer was delivered after those before it.
pub fn waits_behind(work: &Work, line: Option<&WaitingLine>, now: i64) -> Option<i64> {
    let line = line?;
    match work.waited {
        false => Some(line.until.max(now)),
        true if line.until > now && line.first != work.id => Some(line.until),
        true => None,
    }
}

/// When to try again: at the latest when its window closes. Those that wait for the same are spread, so that
/// they do not all come at once.
pub fn next_attempt_in_window(
    app: &Services,
    work: &Work,
    account: &AccountContext,
    reason: RetryReason,
    channel: Channel,
) -> NextAttempt {
    let now = app.clock.now().as_millisecond();
    match next_attempt(reason, work.waited, work.receive_count, now - work.created_at, now) {
        NextAttempt::ByTimer(due) => {
            let over = work.created_at.saturating_add(MAX_AGE_MS).max(now);
            let due = due.saturating_add(spread(work, ((due - now) / 2).min(SPREAD_MS))).min(over);
            NextAttempt::ByTimer(due.min(window_closes_at_ms(app, work, account, channel)))
        }
        other => other,
    }
}

/// When the last usable window closes, in unix milliseconds; the maximum for a channel that needs none.
pub fn window_closes_at_ms(app: &Services, work: &Work, account: &AccountContext, channel: Channel) -> i64 {
    let closes = match channel {
        Channel::CustomerService => account.closes_at(&work.to, app.clock.unix()),
        Channel::Template => None,
    };
    closes.map_or(i64::MAX, |at| at.saturating_mul(1000))
}

/// A part of `over`, in milliseconds, that is the same for all messages to one fan.
pub fn spread(work: &Work, over: i64) -> i64 {
    i64::from(ids::shard(&work.queue_group, SPREAD_STEPS)) * over / i64::from(SPREAD_STEPS)
}

/// Sets a timer for a message. If this fails, its job stays in the queue.
pub async fn park(app: &Services, work: &Work, parked: Parked) -> Result<(), Error> {
    if !work.waited {
        // a reply rule's message has no record until here, only a job
        work.create_record(app).await?;
    }
    let due_at = Timestamp::from_millisecond(parked.due).unwrap_or_else(|_| app.clock.now());
    // Timers of one line that are due together go in the order of acceptance. A job that waits twice is one
    // timer. A delivered one that waits again gets another id, even for the same time: the sweeper
    // deletes the first, and SQS would drop a second message with the same deduplication id.
    let id = format!("{}#{}", work.line_position(), work.queue_message_id);
    timers::set(app, &id, due_at, TimerJob::Send(&work.waited_job())).await?;
    let waiting = WaitingMessage {
        fan: work.fan(),
        channel: parked.channel,
        message: &work.id,
        created_at: work.created_at,
    };
    app.store.waiting_lines().join(&waiting, parked.due, parked.leads).await
}

/// Called after a message's end: its waiting line ends with the last message in it.
pub async fn leave_lines(app: &Services, work: &Work, lines: &[(Channel, WaitingLine)]) {
    for (channel, line) in lines {
        if line.newest == work.line_position()
            && let Err(error) = app.store.waiting_lines().end(work.fan(), *channel, &line.newest).await
        {
            tracing::warn!(parent: &work.span, %error, "a line stays for the next message to end: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_to_one_fan_go_in_the_order_in_which_they_were_accepted() {
        let line = |until, first: &str| WaitingLine { until, first: first.into(), newest: "msg_3".into() };
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
            assert_eq!(waits_behind(&work, line.as_ref(), 1_000), behind_until, "{what}");
        }
    }
}
