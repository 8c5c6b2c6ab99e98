//! Leases messages, so that one worker sends each, and counts sends in their reply windows.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use shared::{
    error::{Error, StoreError},
    model::{
        message::{Channel, MessageRecord},
        window::WindowKind,
    },
    services::Services,
    store::{
        WriterId,
        message_leases::{LeaseAttempt, LeaseRetake, WindowUse},
    },
};

use crate::{
    account_context::AccountContext,
    channel_choice::{ChannelChoice, NotSentReason, RecipientState, choose_channel},
    recovery::{RecoveryAction, recovery_action},
    states::{MessageLease, SendDecision, SendResult},
    work::Work,
};

/// Tries to count a send in a reply window that other workers use at the same time.
const MAX_WRITE_ATTEMPTS: usize = 4;
/// Tries to release a message.
const MAX_RELEASE_ATTEMPTS: u32 = 3;
/// The wait between two tries.
const RELEASE_RETRY_WAIT: Duration = Duration::from_millis(100);

/// A message of a round, and what is to be done with it.
#[derive(Debug)]
pub struct Start<'a> {
    /// Its index in the round.
    pub index: usize,
    /// The message.
    pub work: &'a Work,
    /// Its account.
    pub account: Arc<AccountContext>,
    /// What is to be done with it.
    pub decision: SendDecision,
}

/// Leases the messages that were never leased, in one request, and replaces their decisions by what follows.
pub async fn lease_first(app: &Services, starts: &mut [Start<'_>]) {
    let untried = starts.iter_mut().filter_map(|start| match start.decision {
        SendDecision::LeaseFirst(choice) => Some((start, choice)),
        _ => None,
    });
    let untried: Vec<_> = untried.collect();
    if untried.is_empty() {
        return;
    }
    let messages: Vec<_> =
        untried.iter().map(|(start, choice)| (start.work.id.as_str(), choice.channel())).collect();
    let uses: Vec<_> = untried
        .iter()
        .filter_map(|(Start { work, account, .. }, choice)| {
            let kind = choice.window()?;
            Some(WindowUse { fan: work.fan(), kind, windows: account.windows(&work.to) })
        })
        .collect();
    let (owner, now) = (app.store.new_writer_id(), app.clock.unix());
    let (attempts, counted) = match app.store.message_leases().acquire(owner, now, &messages, &uses).await {
        Ok(answers) => answers,
        Err(error) => {
            tracing::warn!(%error, "messages could not be taken: {error}");
            // Some leases may still have been written; nothing was sent.
            join_all(untried.iter().map(|(start, _)| release(app, start.work, owner, false))).await;
            for (start, _) in untried {
                start.decision = SendDecision::Finish(SendResult::retry(&error, start.work.receive_count));
            }
            return;
        }
    };
    let mut counted = counted.into_iter();
    for ((start, choice), attempt) in untried.into_iter().zip(attempts) {
        let window_counted = choice.window().is_some() && counted.next().unwrap_or_default();
        start.decision = match attempt {
            LeaseAttempt::Acquired => {
                let lease = MessageLease { owner, may_have_happened: false, first_try_at: now };
                let counted = ChannelChoice::Send(Channel::CustomerService);
                SendDecision::Send(lease, if window_counted { counted } else { choice })
            }
            LeaseAttempt::AlreadyTaken(seen) => SendDecision::Retake { seen, window_counted },
            LeaseAttempt::Failed(error) => SendDecision::Release(owner, error),
        };
    }
}

/// Leases a message that was leased before, if the rule for crashes allows it. `window_counted`: a send was
/// counted for it. `seen`: its record, if it was read already.
pub async fn retake(
    app: &Services,
    work: &Work,
    account: &AccountContext,
    window_counted: bool,
    seen: Option<MessageRecord>,
) -> Result<SendDecision, Error> {
    let taken = |wait| Ok(SendDecision::Finish(SendResult::Retry(wait, "another worker has it".to_owned())));
    let seen = match seen.filter(|message| message.tenant_id == work.tenant_id) {
        Some(message) => Some(message),
        None => app.store.messages().get(&work.tenant_id, &work.id).await?,
    };
    let message = match seen {
        Some(message) => message,
        None => work.create_record(app).await?,
    };
    let now = app.clock.unix();
    let (choice, may_have_happened) = match recovery_action(&message, now) {
        RecoveryAction::Ended => {
            return Ok(SendDecision::Finish(SendResult::AlreadyEnded(Some(Box::new(message)))));
        }
        RecoveryAction::Wait(wait) => return taken(wait),
        RecoveryAction::StartAgain { window_counted: before } => {
            (account.choose_channel(work, window_counted || before, now), false)
        }
        // only if this tenant still has the account, whose token it uses
        RecoveryAction::Resend if account.capabilities.may_send_template() => {
            (ChannelChoice::Send(Channel::Template), true)
        }
        RecoveryAction::Resend | RecoveryAction::FailUnknown => {
            (ChannelChoice::Refuse(NotSentReason::OutcomeUnknown), true)
        }
    };
    let owner = app.store.new_writer_id();
    let channel = choice.channel();
    let retake = LeaseRetake { message: &message, owner, at: now, channel, may_have_happened };
    if !app.store.message_leases().retake(&retake).await? {
        return taken(Duration::from_secs(1));
    }
    let first_try_at = message.first_claimed_at.filter(|_| may_have_happened).unwrap_or(now);
    Ok(SendDecision::Send(MessageLease { owner, may_have_happened, first_try_at }, choice))
}

/// Counts a send in the window `kind`, and chooses the channel again if that window has changed. Returns the
/// channel by which the message goes out, or why it does not.
pub async fn take_window_send(
    app: &Services,
    work: &Work,
    account: &AccountContext,
    owner: WriterId,
    mut kind: WindowKind,
) -> Result<Result<Channel, NotSentReason>, Error> {
    let mut windows = account.windows(&work.to);
    for _ in 0..MAX_WRITE_ATTEMPTS {
        let window = WindowUse { fan: work.fan(), kind, windows };
        if app.store.message_leases().use_window(app.store.new_writer_id(), &window).await? {
            return Ok(Ok(Channel::CustomerService));
        }
        let fans = app.store.fans().get_many(&work.tenant_id, &work.app_id, &[&work.to]).await?;
        let to = fans.first().map(RecipientState::of).unwrap_or_default();
        windows = to.windows;
        match choose_channel(account.capabilities, work.payload(), &to, false, app.clock.unix()) {
            ChannelChoice::UseWindow(open) => kind = open,
            ChannelChoice::Send(channel) => {
                return switch_channel(app, work, owner, channel).await.map(|()| Ok(channel));
            }
            ChannelChoice::Refuse(why) => return Ok(Err(why)),
        }
    }
    Err(StoreError::Contended("a reply window is used by several at once").into())
}

/// Stores by which channel the message is sent before it is: the rule for crashes reads it.
pub async fn switch_channel(
    app: &Services,
    work: &Work,
    owner: WriterId,
    channel: Channel,
) -> Result<(), Error> {
    if app.store.message_leases().switch_channel(&work.id, owner, channel).await? {
        Ok(())
    } else {
        Err(StoreError::Contended("the message was taken by another worker").into())
    }
}

/// Releases a message. Returns whether we held it. If the database does not answer, the lease stays
/// until it expires, and the rule for crashes decides.
pub async fn release(app: &Services, work: &Work, owner: WriterId, may_have_happened: bool) -> bool {
    for attempt in 1..=MAX_RELEASE_ATTEMPTS {
        match app.store.message_leases().release(&work.id, owner, may_have_happened).await {
            Ok(released) => return released,
            Err(error) if attempt == MAX_RELEASE_ATTEMPTS => {
                tracing::error!(parent: &work.span, %error, "a message could not be released: {error}");
            }
            Err(_) => tokio::time::sleep(RELEASE_RETRY_WAIT).await,
        }
    }
    false
}
