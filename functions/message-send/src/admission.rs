//! Decides how a round starts with a message, before anything is written.

use std::time::Duration;

use shared::{
    error::{Error, Retry},
    ids,
    services::Services,
    store::{
        messages::{Channel, MessageRecord},
        send_context::SendContext,
        waiting_lines::WaitingLine,
    },
};

use crate::{
    account_context::AccountContext,
    channel_choice::ChannelChoice,
    fair_share::{DEFER_MS, DEFER_SPREAD_MS},
    park::{self, Parked},
    recovery::{RecoveryAction, recovery_action},
    retry_policy::{
        MAX_AGE_MS, NextAttempt, RetryReason, SendFailureAction, action_without_token, backoff, next_attempt,
    },
    send::SendResult,
    work::Work,
};

/// Messages that wait for the same are spread over this, in milliseconds: a hundred thousand that wait for
/// midnight are 170 a second.
const SPREAD_MS: i64 = 10 * 60_000;
/// The number of steps of the spread.
const SPREAD_STEPS: u32 = 1_000;

/// The waiting lines of a fan, by channel.
pub type FanWaitingLines = Vec<(Channel, WaitingLine)>;

/// What is stored about one message.
#[derive(Debug)]
pub struct StoredState {
    /// Its record, if it was read and exists.
    pub message: Option<Box<MessageRecord>>,
    /// The waiting lines that it may be in.
    pub lines: FanWaitingLines,
}

impl StoredState {
    /// Reads it, and the payload of a message that waited.
    ///
    /// # Errors
    /// [`Error::Item`]: an item is unreadable for this version, which must not be taken for a missing item.
    pub fn read(context: &SendContext, work: &mut Work) -> Result<Self, Error> {
        let message = context.message(&work.tenant_id, &work.id)?;
        if let (true, Some(message)) = (work.waited, &message) {
            work.load_payload(message)?;
        }
        let mut lines = FanWaitingLines::new();
        for channel in work.channels() {
            lines.extend(context.waiting_line(work.fan(), channel)?.map(|line| (channel, line)));
        }
        context.fan(work.fan())?;
        Ok(Self { message: message.map(Box::new), lines })
    }

    fn line(&self, channel: Channel) -> Option<&WaitingLine> {
        self.lines.iter().find(|(of, _)| *of == channel).map(|(_, line)| line)
    }
}

/// How a round starts with a message.
pub enum Admission {
    /// It does not: its job is done, or is delivered again.
    Finish(SendResult),
    /// It waits.
    Park(Parked),
    /// It was never leased: lease it in the round's one request.
    LeaseUntried(ChannelChoice),
    /// It was leased before.
    Retake,
}

/// Decides how to start with a message. `defers_tenant`: it is the other tenants' turn.
pub fn admit(
    app: &Services,
    work: &Work,
    stored: &StoredState,
    account: &AccountContext,
    defers_tenant: bool,
) -> Admission {
    let now = app.clock.now();
    let window_counted =
        match stored.message.as_ref().map(|message| recovery_action(message, now.as_second())) {
            Some(RecoveryAction::Ended) => return Admission::Finish(SendResult::AlreadyEnded),
            Some(RecoveryAction::Wait(_) | RecoveryAction::Resend | RecoveryAction::FailUnknown) => {
                return Admission::Retake;
            }
            Some(RecoveryAction::StartAgain { window_counted: counted }) => counted,
            None if work.waited => return Admission::Finish(SendResult::AlreadyEnded),
            None => false,
        };
    let plan = account.choose_channel(work, window_counted, now.as_second());
    if let Some(channel) = plan.channel()
        && let Some(not_now) = postponement(app, work, stored, account, channel, defers_tenant)
    {
        return not_now;
    }
    let untouched = stored.message.as_ref().is_some_and(|m| m.claimed_by.as_deref() == Some(""));
    if (work.waited || work.receive_count > 1) && !untouched {
        Admission::Retake
    } else {
        Admission::LeaseUntried(plan)
    }
}

/// Returns the wait of a message that `channel` cannot send now. Nothing is leased yet.
fn postponement(
    app: &Services,
    work: &Work,
    stored: &StoredState,
    account: &AccountContext,
    channel: Channel,
    defers_tenant: bool,
) -> Option<Admission> {
    let now = app.clock.now().as_millisecond();
    let closes = window_closes_at_ms(app, work, account, channel);
    if let Some(due) = park::waits_behind(work, stored.line(channel), now) {
        return Some(Admission::Park(Parked { channel, due: due.min(closes), leads: false }));
    }
    if defers_tenant && work.receive_count == 1 {
        let age = now - work.created_at;
        let due = now + age.clamp(DEFER_MS.0, DEFER_MS.1) + spread(work, DEFER_SPREAD_MS);
        // a message whose window may close by then is sent at once
        if due < closes && due < work.created_at.saturating_add(MAX_AGE_MS) {
            return Some(Admission::Park(Parked { channel, due, leads: true }));
        }
    }
    let reason = known_obstacle(app, account, channel)?;
    match next_attempt_in_window(app, work, account, &reason, channel) {
        NextAttempt::InQueue(wait) => {
            Some(Admission::Finish(SendResult::Retry(wait, reason.description().to_owned())))
        }
        NextAttempt::ByTimer(due) => Some(Admission::Park(Parked { channel, due, leads: true })),
        NextAttempt::GiveUp => None,
    }
}

/// What a message by `channel` has to wait for, if anything.
fn known_obstacle(app: &Services, account: &AccountContext, channel: Channel) -> Option<RetryReason> {
    if let Some(refusal) = account.quota_refusal(channel, app.clock.unix()) {
        return Some(RetryReason::Quota(refusal.refused_until));
    }
    match action_without_token(account.token.as_ref()?.as_ref().err()?) {
        SendFailureAction::Retry { reason: why, .. } => Some(why),
        _ => None,
    }
}

/// When to try again: at the latest when its window closes. Those that wait for the same are spread, so that
/// they do not all come at once.
pub fn next_attempt_in_window(
    app: &Services,
    work: &Work,
    account: &AccountContext,
    reason: &RetryReason,
    channel: Channel,
) -> NextAttempt {
    let now = app.clock.now().as_millisecond();
    match next_attempt(*reason, work.waited, work.receive_count, now - work.created_at, now) {
        NextAttempt::ByTimer(due) => {
            let over = work.created_at.saturating_add(MAX_AGE_MS).max(now);
            let due = due.saturating_add(spread(work, ((due - now) / 2).min(SPREAD_MS))).min(over);
            NextAttempt::ByTimer(due.min(window_closes_at_ms(app, work, account, channel)))
        }
        other => other,
    }
}

/// When the last usable window closes, in unix milliseconds; the maximum for a channel that needs none.
fn window_closes_at_ms(app: &Services, work: &Work, account: &AccountContext, channel: Channel) -> i64 {
    let closes = match channel {
        Channel::CustomerService => account.closes_at(&work.to, app.clock.unix()),
        Channel::Template => None,
    };
    closes.map_or(i64::MAX, |at| at.saturating_mul(1000))
}

/// A part of `over`, in milliseconds, that is the same for all messages to one fan.
fn spread(work: &Work, over: i64) -> i64 {
    i64::from(ids::shard(&work.queue_group(), SPREAD_STEPS)) * over / i64::from(SPREAD_STEPS)
}

/// The wait before a job that met `error` is delivered again.
pub fn retry_wait(error: &Error, receives: u32) -> Duration {
    match error.retry() {
        Retry::After(least) => backoff(receives).max(least),
        Retry::Never => backoff(receives),
    }
}
