//! Leases messages, so that one worker sends each, and counts sends in their reply windows.

use std::time::Duration;

use futures::future::join_all;
use shared::{
    app::App,
    error::Error,
    model::window::WindowKind,
    store::{
        claims::{Claim, Reclaim, WindowUse},
        messages::{Channel, Message, MessageStatus},
        owner::Owner,
    },
};

use crate::{
    decide::{Plan, Recipient, Refusal, decide},
    found::{Found, found},
    ground::Ground,
    work::Work,
};

/// Tries to count a send in a reply window that other workers use at the same time.
const RACES: usize = 4;
/// Tries to release a message.
const GIVE_BACK_TRIES: u32 = 3;
/// The wait between two tries.
const GIVE_BACK_PAUSE: Duration = Duration::from_millis(100);

/// A message that this worker has leased.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// The id under which it is leased.
    pub owner: Owner,
    /// How it goes out.
    pub way: Way,
    /// An earlier try may have reached the fan.
    pub may_have_happened: bool,
    /// When the first try may have reached them, unix seconds.
    pub since: i64,
}

/// How a leased message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By this channel.
    Send(Channel),
    /// As a customer-service message, once a send is counted in this window.
    Window(WindowKind),
    /// Not, for this reason.
    Refuse(Refusal),
    /// Not, because it may have been sent before.
    Unknown,
}

impl From<Plan> for Way {
    fn from(plan: Plan) -> Self {
        match plan {
            Plan::CustomerService(Some(kind)) => Self::Window(kind),
            Plan::CustomerService(None) => Self::Send(Channel::CustomerService),
            Plan::Template => Self::Send(Channel::Template),
            Plan::Fail(why) => Self::Refuse(why),
        }
    }
}

impl Way {
    fn channel(self) -> Option<Channel> {
        match self {
            Self::Send(channel) => Some(channel),
            Self::Window(_) => Some(Channel::CustomerService),
            Self::Refuse(_) | Self::Unknown => None,
        }
    }
}

/// What the round's request did for one message.
#[derive(Debug)]
pub struct Claimed {
    /// The id under which it is leased, if it is.
    pub owner: Owner,
    /// Whether the lease was acquired.
    pub claim: Claim,
    /// A send was counted in the window.
    pub used: bool,
}

/// Leases messages that were never leased before, in one request.
pub async fn first(app: &App, planned: &[(&Work, &Ground, Plan)]) -> Result<Vec<Claimed>, Error> {
    if planned.is_empty() {
        return Ok(Vec::new());
    }
    let claims: Vec<_> =
        planned.iter().map(|(work, _, plan)| (work.id.as_str(), Way::from(*plan).channel())).collect();
    let uses: Vec<_> = planned
        .iter()
        .filter_map(|(work, ground, plan)| match plan {
            Plan::CustomerService(Some(kind)) => {
                Some(WindowUse { fan: work.fan(), kind: *kind, windows: ground.windows(&work.to) })
            }
            _ => None,
        })
        .collect();
    let owner = app.store.owner();
    let (claims, used) = match app.store.claim_messages(owner, app.clock.unix(), &claims, &uses).await {
        Ok(answers) => answers,
        Err(error) => {
            // Some leases may still have been written; nothing was sent.
            join_all(planned.iter().map(|(work, ..)| give_back(app, work, owner, false))).await;
            return Err(error);
        }
    };
    let mut used = used.into_iter();
    let claimed = planned.iter().zip(claims).map(|((.., plan), claim)| {
        let used = matches!(plan, Plan::CustomerService(Some(_))) && used.next().unwrap_or_default();
        Claimed { owner, claim, used }
    });
    Ok(claimed.collect())
}

/// The result of retaking a message.
#[derive(Debug)]
pub enum Again {
    /// Its end is known, or it is gone.
    Ended,
    /// Another worker has it; try again after this long.
    Later(Duration),
    /// This worker has leased it.
    Ours(Held),
}

/// Leases a message that was leased before, if the rule for crashes allows it. `window_counted`: a send was
/// counted for it. `seen`: its record, if it was read already.
pub async fn again(
    app: &App,
    work: &Work,
    ground: &Ground,
    counted: bool,
    seen: Option<Message>,
) -> Result<Again, Error> {
    let seen = match seen.filter(|message| message.tenant_id == work.tenant_id) {
        Some(message) => Some(message),
        None => app.store.message(&work.tenant_id, &work.id).await?,
    };
    let message = match seen {
        Some(message) => message,
        None => create(app, work).await?,
    };
    let now = app.clock.unix();
    let (way, may_have_happened) = match found(&message, now) {
        Found::Ended => return Ok(Again::Ended),
        Found::Busy(wait) => return Ok(Again::Later(wait)),
        Found::Free { counted: before } => (Way::from(ground.plan(work, counted || before, now)), false),
        // only if this tenant still has the account, whose token it uses
        Found::Resend if ground.standing.bound && ground.standing.template && !ground.standing.suspended => {
            (Way::Send(Channel::Template), true)
        }
        Found::Resend => (Way::Unknown, true),
        Found::Unknown => (Way::Unknown, true),
    };
    let owner = app.store.owner();
    let claim = Reclaim { message: &message, owner, at: now, channel: way.channel(), may_have_happened };
    if app.store.reclaim_message(&claim).await? {
        let since = message.first_claimed_at.filter(|_| may_have_happened).unwrap_or(now);
        Ok(Again::Ours(Held { owner, way, may_have_happened, since }))
    } else {
        Ok(Again::Later(Duration::from_secs(1)))
    }
}

/// Creates the record of a reply rule's message. The callback saves that write, so the job comes first and
/// the record is made here.
pub async fn create(app: &App, work: &Work) -> Result<Message, Error> {
    let text = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
    let message = Message {
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
    let fresh = Message { claimed_by: Some(String::new()), ..message.clone() };
    Ok(app.store.create_message(&message).await?.unwrap_or(fresh))
}

/// Counts a send in the window, and chooses the channel again if the window has changed.
pub async fn window(
    app: &App,
    work: &Work,
    ground: &Ground,
    owner: Owner,
    mut known: Option<WindowKind>,
) -> Result<Way, Error> {
    let mut windows = ground.windows(&work.to);
    for _ in 0..RACES {
        if let Some(kind) = known.take()
            && app.store.use_window(app.store.owner(), &WindowUse { fan: work.fan(), kind, windows }).await?
        {
            return Ok(Way::Send(Channel::CustomerService));
        }
        let fans = app.store.fans(&work.tenant_id, &work.app_id, &[&work.to]).await?;
        let to = fans.first().map(Recipient::of).unwrap_or_default();
        windows = to.windows;
        match decide(ground.standing, work.carries(), &to, false, app.clock.unix()) {
            Plan::CustomerService(kind) => known = kind,
            Plan::Template => {
                return to_template(app, work, owner).await.map(|()| Way::Send(Channel::Template));
            }
            Plan::Fail(why) => return Ok(Way::Refuse(why)),
        }
    }
    Err(Error::Store("a reply window is used by several at once".into()))
}

/// Stores that the message is sent as a template before it is: the rule for crashes reads it.
pub async fn to_template(app: &App, work: &Work, owner: Owner) -> Result<(), Error> {
    if app.store.switch_channel(&work.id, owner, Channel::Template).await? {
        Ok(())
    } else {
        Err(Error::Store("the message was taken by another worker".into()))
    }
}

/// Releases a message. Returns how often that has happened. If the database does not answer, the lease stays
/// until it expires, and the rule for crashes decides.
pub async fn give_back(app: &App, work: &Work, owner: Owner, may_have_happened: bool) -> Option<u32> {
    for attempt in 1..=GIVE_BACK_TRIES {
        match app.store.requeue_message(&work.id, owner, may_have_happened).await {
            Ok(tries) => return tries,
            Err(error) if attempt == GIVE_BACK_TRIES => {
                tracing::error!(message_id = work.id, %error, "a message could not be given back: {error}");
            }
            Err(_) => tokio::time::sleep(GIVE_BACK_PAUSE).await,
        }
    }
    None
}
