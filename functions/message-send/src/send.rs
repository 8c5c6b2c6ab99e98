//! Does what is decided about one message: leases it again, sends it, and decides by WeChat's answer.

use shared::{
    deadline::Deadline,
    error::Error,
    model::message::{Channel, MessageError},
    retry::backoff,
    services::Services,
};

use crate::{
    account_context::AccountContext,
    call::call_wechat,
    channel_choice::ChannelChoice,
    lease, park,
    retry_policy::{NextAttempt, RetryReason, SendFailureAction, next_resend},
    states::{MessageLease, Parked, SendDecision, SendResult},
    work::Work,
};

/// Does what is decided about a message.
pub async fn carry_out(
    app: &Services,
    work: &Work,
    account: &AccountContext,
    decision: SendDecision,
    until: Deadline,
) -> SendResult {
    try_carry_out(app, work, account, decision, until).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "a message has to wait: {error}");
        SendResult::retry(&error, work.receive_count)
    })
}

async fn try_carry_out(
    app: &Services,
    work: &Work,
    account: &AccountContext,
    mut decision: SendDecision,
    until: Deadline,
) -> Result<SendResult, Error> {
    if let SendDecision::Retake { seen, window_counted } = decision {
        decision = lease::retake(app, work, account, window_counted, seen.map(|seen| *seen)).await?;
    }
    match decision {
        SendDecision::Finish(result) => Ok(result),
        SendDecision::Park(parked) => park::park(app, work, parked).await.map(|()| SendResult::Parked),
        SendDecision::Send(lease, choice) => send(app, work, account, &lease, choice, until).await,
        SendDecision::Release(owner, error) => {
            lease::release(app, work, owner, false).await;
            Err(error)
        }
        SendDecision::LeaseFirst(_) | SendDecision::Retake { .. } => {
            Ok(SendResult::Retry(backoff(work.receive_count), "answers are missing".to_owned()))
        }
    }
}

/// Sends a leased message as it was chosen, then as a template if the window turns out to be closed.
async fn send(
    app: &Services,
    work: &Work,
    account: &AccountContext,
    lease: &MessageLease,
    choice: ChannelChoice,
    until: Deadline,
) -> Result<SendResult, Error> {
    let owner = lease.owner;
    let chosen = match choice {
        ChannelChoice::Send(channel) => Ok(channel),
        ChannelChoice::Refuse(why) => Err(why),
        ChannelChoice::UseWindow(kind) => {
            let counted = lease::take_window_send(app, work, account, owner, kind).await;
            or_release(app, work, lease, counted).await?
        }
    };
    let mut channel = match chosen {
        Ok(channel) => channel,
        Err(why) => return Ok(work.failed(app, lease, None, why.error())),
    };
    loop {
        let action = match call_wechat(app, work, account, channel, until).await {
            Ok(wechat_msg_id) => return Ok(work.sent(app, lease, channel, wechat_msg_id)),
            Err(action) => action,
        };
        match action {
            // Happens once at most: a template needs no window.
            SendFailureAction::UseTemplate => {
                channel = Channel::Template;
                let stored = lease::switch_channel(app, work, owner, channel).await;
                or_release(app, work, lease, stored).await?;
            }
            SendFailureAction::Fail(error) => return Ok(work.failed(app, lease, Some(channel), error)),
            SendFailureAction::Retry { reason, may_have_happened, error } => {
                let may_have_happened = may_have_happened || lease.may_have_happened;
                let lease = MessageLease { may_have_happened, ..*lease };
                return try_later(app, work, account, &lease, channel, reason, error).await;
            }
        }
    }
}

/// Releases the message where `result` is an error, before anything was sent.
async fn or_release<T>(
    app: &Services,
    work: &Work,
    lease: &MessageLease,
    result: Result<T, Error>,
) -> Result<T, Error> {
    if result.is_err() {
        lease::release(app, work, lease.owner, false).await;
    }
    result
}

/// Releases a message and lets it wait, or records that it failed with `error` if it has waited long enough.
async fn try_later(
    app: &Services,
    work: &Work,
    account: &AccountContext,
    lease: &MessageLease,
    channel: Channel,
    reason: RetryReason,
    error: MessageError,
) -> Result<SendResult, Error> {
    let next = match lease.may_have_happened {
        true => next_resend(reason, lease.first_try_at, app.clock.now().as_millisecond()),
        false => park::next_attempt_in_window(app, work, account, reason, channel),
    };
    if next == NextAttempt::GiveUp {
        return Ok(work.failed(app, lease, Some(channel), error));
    }
    tracing::debug!(code = %error.code, errcode = error.errcode, "again");
    let released = lease::release(app, work, lease.owner, lease.may_have_happened).await;
    match next {
        NextAttempt::ByTimer(due) if released => {
            let parked = Parked { channel, due, leads: true };
            park::park(app, work, parked).await.map(|()| SendResult::Parked)
        }
        NextAttempt::InQueue(wait) if released => Ok(SendResult::Retry(wait, error.code.to_string())),
        // its lease expires, and the rule for crashes decides
        _ => Ok(SendResult::Retry(backoff(work.receive_count), error.code.to_string())),
    }
}
