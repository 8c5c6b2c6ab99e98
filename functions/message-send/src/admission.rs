//! Decides how a round starts with a message, before anything is written.

use shared::{
    error::Error,
    model::{
        message::{Channel, MessageRecord},
        waiting_line::WaitingLine,
    },
    services::Services,
    store::send_context::SendContext,
};

use crate::{
    account_context::AccountContext,
    fair_share::{DEFER_MS, DEFER_SPREAD_MS},
    park,
    recovery::{RecoveryAction, recovery_action},
    retry_policy::{MAX_AGE_MS, NextAttempt, RetryReason, SendFailureAction, action_without_token},
    states::{Parked, SendDecision, SendResult},
    work::Work,
};

/// What is stored about one message.
#[derive(Debug)]
pub struct StoredState {
    /// Its record, if it was read and exists.
    pub message: Option<Box<MessageRecord>>,
    /// The waiting lines that it may be in, by channel.
    pub lines: Vec<(Channel, WaitingLine)>,
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
        let mut lines = Vec::new();
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

/// Decides how to start with a message. `defers_tenant`: it is the other tenants' turn.
pub fn admit(
    app: &Services,
    work: &Work,
    stored: &StoredState,
    account: &AccountContext,
    defers_tenant: bool,
) -> SendDecision {
    let now = app.clock.unix();
    let retake = || SendDecision::Retake { seen: stored.message.clone(), window_counted: false };
    let window_counted = match stored.message.as_ref().map(|message| recovery_action(message, now)) {
        Some(RecoveryAction::Ended) => {
            return SendDecision::Finish(SendResult::AlreadyEnded(stored.message.clone()));
        }
        Some(RecoveryAction::Wait(_) | RecoveryAction::Resend | RecoveryAction::FailUnknown) => {
            return retake();
        }
        Some(RecoveryAction::StartAgain { window_counted }) => window_counted,
        None if work.waited => return SendDecision::Finish(SendResult::AlreadyEnded(None)),
        None => false,
    };
    let choice = account.choose_channel(work, window_counted, now);
    if let Some(channel) = choice.channel()
        && let Some(not_now) = postponement(app, work, stored, account, channel, defers_tenant)
    {
        return not_now;
    }
    let untouched = stored.message.as_ref().is_some_and(|m| m.claimed_by.as_deref() == Some(""));
    if (work.waited || work.receive_count > 1) && !untouched {
        retake()
    } else {
        SendDecision::LeaseFirst(choice)
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
) -> Option<SendDecision> {
    let now = app.clock.now().as_millisecond();
    let closes = park::window_closes_at_ms(app, work, account, channel);
    if let Some(due) = park::waits_behind(work, stored.line(channel), now) {
        return Some(SendDecision::Park(Parked { channel, due: due.min(closes), leads: false }));
    }
    if defers_tenant && work.receive_count == 1 {
        let age = now - work.created_at;
        let due = now + age.clamp(DEFER_MS.0, DEFER_MS.1) + park::spread(work, DEFER_SPREAD_MS);
        // a message whose window may close by then is sent at once
        if due < closes && due < work.created_at.saturating_add(MAX_AGE_MS) {
            return Some(SendDecision::Park(Parked { channel, due, leads: true }));
        }
    }
    let reason = known_obstacle(app, account, channel)?;
    match park::next_attempt_in_window(app, work, account, reason, channel) {
        NextAttempt::InQueue(wait) => {
            Some(SendDecision::Finish(SendResult::Retry(wait, reason.description().to_owned())))
        }
        NextAttempt::ByTimer(due) => Some(SendDecision::Park(Parked { channel, due, leads: true })),
        NextAttempt::GiveUp => None,
    }
}

/// What a message by `channel` has to wait for, if anything.
fn known_obstacle(app: &Services, account: &AccountContext, channel: Channel) -> Option<RetryReason> {
    if let Some(refusal) = account.quota_refusal(channel, app.clock.unix()) {
        return Some(RetryReason::Quota(refusal.refused_until));
    }
    match action_without_token(account.token.as_ref()?.as_ref().err()?) {
        SendFailureAction::Retry { reason, .. } => Some(reason),
        SendFailureAction::UseTemplate | SendFailureAction::Fail(_) => None,
    }
}
