//! Leases messages, so that one worker sends each, and counts sends in their reply windows.

use std::time::Duration;

use futures::future::join_all;
use shared::{
    error::Error,
    model::window::WindowKind,
    services::Services,
    store::{
        message_leases::{LeaseAttempt, LeaseRetake, WindowUse},
        messages::{Channel, MessageRecord, MessageStatus},
        writer_id::WriterId,
    },
};

use crate::{
    account_context::AccountContext,
    channel_choice::{ChannelChoice, NotSentReason, RecipientState, choose_channel},
    recovery::{RecoveryAction, recovery_action},
    work::Work,
};

/// Tries to count a send in a reply window that other workers use at the same time.
const MAX_WRITE_ATTEMPTS: usize = 4;
/// Tries to release a message.
const MAX_RELEASE_ATTEMPTS: u32 = 3;
/// The wait between two tries.
const RELEASE_RETRY_WAIT: Duration = Duration::from_millis(100);

/// A message that this worker has leased.
#[derive(Debug, Clone, Copy)]
pub struct MessageLease {
    /// The id under which it is leased.
    pub owner: WriterId,
    /// How it goes out.
    pub decision: SendDecision,
    /// An earlier try may have reached the fan.
    pub may_have_happened: bool,
    /// When the first try may have reached them, unix seconds.
    pub first_try_at: i64,
}

/// How a leased message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendDecision {
    /// By this channel.
    Send(Channel),
    /// As a customer-service message, once a send is counted in this window.
    UseWindow(WindowKind),
    /// Not, for this reason.
    Refuse(NotSentReason),
    /// Not, because it may have been sent before.
    Unknown,
}

impl From<ChannelChoice> for SendDecision {
    fn from(plan: ChannelChoice) -> Self {
        match plan {
            ChannelChoice::CustomerService(Some(kind)) => Self::UseWindow(kind),
            ChannelChoice::CustomerService(None) => Self::Send(Channel::CustomerService),
            ChannelChoice::Template => Self::Send(Channel::Template),
            ChannelChoice::Fail(why) => Self::Refuse(why),
        }
    }
}

impl SendDecision {
    fn channel(self) -> Option<Channel> {
        match self {
            Self::Send(channel) => Some(channel),
            Self::UseWindow(_) => Some(Channel::CustomerService),
            Self::Refuse(_) | Self::Unknown => None,
        }
    }
}

/// What the round's request did for one message.
#[derive(Debug)]
pub struct LeaseResult {
    /// The id under which it is leased, if it is.
    pub owner: WriterId,
    /// Whether the lease was acquired.
    pub attempt: LeaseAttempt,
    /// A send was counted in the window.
    pub window_used: bool,
}

/// Leases messages that were never leased before, in one request.
pub async fn lease_untried(
    app: &Services,
    planned: &[(&Work, &AccountContext, ChannelChoice)],
) -> Result<Vec<LeaseResult>, Error> {
    if planned.is_empty() {
        return Ok(Vec::new());
    }
    let messages: Vec<_> = planned
        .iter()
        .map(|(work, _, plan)| (work.id.as_str(), SendDecision::from(*plan).channel()))
        .collect();
    let uses: Vec<_> = planned
        .iter()
        .filter_map(|(work, ground, plan)| match plan {
            ChannelChoice::CustomerService(Some(kind)) => {
                Some(WindowUse { fan: work.fan(), kind: *kind, windows: ground.windows(&work.to) })
            }
            _ => None,
        })
        .collect();
    let owner = app.store.new_writer_id();
    let (attempts, used) = match app.store.lease_messages(owner, app.clock.unix(), &messages, &uses).await {
        Ok(answers) => answers,
        Err(error) => {
            // Some leases may still have been written; nothing was sent.
            join_all(planned.iter().map(|(work, ..)| release(app, work, owner, false))).await;
            return Err(error);
        }
    };
    let mut used = used.into_iter();
    let claimed = planned.iter().zip(attempts).map(|((.., plan), claim)| {
        let used = matches!(plan, ChannelChoice::CustomerService(Some(_))) && used.next().unwrap_or_default();
        LeaseResult { owner, attempt: claim, window_used: used }
    });
    Ok(claimed.collect())
}

/// The result of retaking a message.
#[derive(Debug)]
pub enum RetakeResult {
    /// Its end is known, or it is gone.
    Ended,
    /// Another worker has it; try again after this long.
    Busy(Duration),
    /// This worker has leased it.
    Leased(MessageLease),
}

/// Leases a message that was leased before, if the rule for crashes allows it. `window_counted`: a send was
/// counted for it. `seen`: its record, if it was read already.
pub async fn retake(
    app: &Services,
    work: &Work,
    account: &AccountContext,
    window_counted: bool,
    seen: Option<MessageRecord>,
) -> Result<RetakeResult, Error> {
    let seen = match seen.filter(|message| message.tenant_id == work.tenant_id) {
        Some(message) => Some(message),
        None => app.store.message(&work.tenant_id, &work.id).await?,
    };
    let message = match seen {
        Some(message) => message,
        None => create_record(app, work).await?,
    };
    let now = app.clock.unix();
    let (decision, may_have_happened) = match recovery_action(&message, now) {
        RecoveryAction::Ended => return Ok(RetakeResult::Ended),
        RecoveryAction::Wait(wait) => return Ok(RetakeResult::Busy(wait)),
        RecoveryAction::StartAgain { window_counted: before } => {
            (SendDecision::from(account.choose_channel(work, window_counted || before, now)), false)
        }
        // only if this tenant still has the account, whose token it uses
        RecoveryAction::Resend
            if account.capabilities.bound
                && account.capabilities.template
                && !account.capabilities.suspended =>
        {
            (SendDecision::Send(Channel::Template), true)
        }
        RecoveryAction::Resend => (SendDecision::Unknown, true),
        RecoveryAction::FailUnknown => (SendDecision::Unknown, true),
    };
    let owner = app.store.new_writer_id();
    let retake =
        LeaseRetake { message: &message, owner, at: now, channel: decision.channel(), may_have_happened };
    if app.store.retake_message(&retake).await? {
        let first_try_at = message.first_claimed_at.filter(|_| may_have_happened).unwrap_or(now);
        Ok(RetakeResult::Leased(MessageLease { owner, decision, may_have_happened, first_try_at }))
    } else {
        Ok(RetakeResult::Busy(Duration::from_secs(1)))
    }
}

/// Creates the record of a reply rule's message. The callback saves that write, so the job comes first and
/// the record is made here.
pub async fn create_record(app: &Services, work: &Work) -> Result<MessageRecord, Error> {
    let text = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
    let message = MessageRecord {
        id: work.id.clone(),
        tenant_id: work.tenant_id.clone(),
        app_id: work.app_id.clone(),
        to: work.to.clone(),
        status: MessageStatus::Queued,
        channel: None,
        content: text(&work.content),
        template: text(&work.template),
        wechat_msg_id: None,
        error: None,
        created_at: work.created_at,
        sent_at: None,
        claimed_at: None,
        claimed_by: None,
        first_claimed_at: None,
    };
    // exactly as it is stored, because retaking compares it
    let stored = MessageRecord { claimed_by: Some(String::new()), ..message.clone() };
    Ok(app.store.create_message(&message).await?.unwrap_or(stored))
}

/// Counts a send in the window, and chooses the channel again if the window has changed.
pub async fn take_window_send(
    app: &Services,
    work: &Work,
    account: &AccountContext,
    owner: WriterId,
    mut known: Option<WindowKind>,
) -> Result<SendDecision, Error> {
    let mut windows = account.windows(&work.to);
    for _ in 0..MAX_WRITE_ATTEMPTS {
        if let Some(kind) = known.take()
            && app
                .store
                .use_window(app.store.new_writer_id(), &WindowUse { fan: work.fan(), kind, windows })
                .await?
        {
            return Ok(SendDecision::Send(Channel::CustomerService));
        }
        let fans = app.store.fans(&work.tenant_id, &work.app_id, &[&work.to]).await?;
        let to = fans.first().map(RecipientState::of).unwrap_or_default();
        windows = to.windows;
        match choose_channel(account.capabilities, work.payload(), &to, false, app.clock.unix()) {
            ChannelChoice::CustomerService(kind) => known = kind,
            ChannelChoice::Template => {
                return switch_to_template(app, work, owner)
                    .await
                    .map(|()| SendDecision::Send(Channel::Template));
            }
            ChannelChoice::Fail(why) => return Ok(SendDecision::Refuse(why)),
        }
    }
    Err(Error::Store("a reply window is used by several at once".into()))
}

/// Stores that the message is sent as a template before it is: the rule for crashes reads it.
pub async fn switch_to_template(app: &Services, work: &Work, owner: WriterId) -> Result<(), Error> {
    if app.store.switch_channel(&work.id, owner, Channel::Template).await? {
        Ok(())
    } else {
        Err(Error::Store("the message was taken by another worker".into()))
    }
}

/// Releases a message. Returns how often that has happened. If the database does not answer, the lease stays
/// until it expires, and the rule for crashes decides.
pub async fn release(app: &Services, work: &Work, owner: WriterId, may_have_happened: bool) -> Option<u32> {
    for attempt in 1..=MAX_RELEASE_ATTEMPTS {
        match app.store.requeue_message(&work.id, owner, may_have_happened).await {
            Ok(tries) => return tries,
            Err(error) if attempt == MAX_RELEASE_ATTEMPTS => {
                tracing::error!(message_id = work.id, %error, "a message could not be given back: {error}");
            }
            Err(_) => tokio::time::sleep(RELEASE_RETRY_WAIT).await,
        }
    }
    None
}
