//! Leasing a message to send it, and returning it. One worker holds a message at a time: a lease is
//! conditional on the state that was read and carries the worker's [`WriterId`], on which all later writes
//! depend. So a worker whose lease was written, but whose answer was lost, finds that it holds the message.
//!
//! The attribute is stored as `claimed_by`. It is `""` in a message that was never leased; messages of 0.1 do
//! not have it, and are leased like those that were leased before.

use serde::Deserialize;

use super::{
    Store,
    batches::{Answer, Statement},
    fans::FanId,
    keys,
    messages::{Channel, Message, MessageStatus},
    owner::Owner,
    table::{Update, Written, any, n, read, s},
};
use crate::{
    error::Error,
    model::window::{WindowKind, Windows},
};

/// How long a lease lasts, seconds: longer than its worker runs, which `message-send` makes sure of.
pub const CLAIM_SECONDS: i64 = 35;
/// Attribute of a message: who leased it last.
pub(super) const CLAIMED_BY: &str = "claimed_by";
/// Attribute of a fan: who last used a send of one of their reply windows.
const WINDOW_USED_BY: &str = "window_used_by";

/// A fan's reply window to use a send of, as it was read.
#[derive(Debug, Clone, Copy)]
pub struct WindowUse<'a> {
    /// The fan.
    pub fan: FanId<'a>,
    /// Which window.
    pub kind: WindowKind,
    /// The windows as they were read.
    pub windows: Windows,
}

/// The result of leasing a message that was never leased before.
#[derive(Debug)]
pub enum Claim {
    /// We hold it.
    Ours,
    /// It was leased before, or is gone: the message as it is.
    Taken(Option<Box<Message>>),
    /// Unknown whether it is leased, or the stored message cannot be read.
    Undone(Error),
}

/// Leases a message that was leased before.
#[derive(Debug, Clone, Copy)]
pub struct Reclaim<'a> {
    /// The message, as it was read.
    pub message: &'a Message,
    /// Who leases it.
    pub owner: Owner,
    /// Now, unix seconds.
    pub at: i64,
    /// The channel; none where it is not sent.
    pub channel: Option<Channel>,
    /// Whether an earlier attempt may have reached the fan: then the time of that attempt is kept.
    pub may_have_happened: bool,
}

impl Store {
    /// Leases messages that were never leased and uses a send of each window, in one request, at the unix
    /// second `at`. Returns the result of each lease, and for each window whether it was as it was read.
    ///
    /// # Errors
    /// [`Error::Store`]: some may be leased by us.
    pub async fn claim_messages(
        &self,
        owner: Owner,
        at: i64,
        claims: &[(&str, Option<Channel>)],
        uses: &[WindowUse<'_>],
    ) -> Result<(Vec<Claim>, Vec<bool>), Error> {
        let mut statements = Vec::with_capacity(claims.len() + uses.len());
        for (id, channel) in claims {
            let mut set = vec![
                ("status", any(&MessageStatus::Sending)?),
                ("claimed_at", n(at)),
                ("first_claimed_at", n(at)),
                (CLAIMED_BY, owner.value()),
            ];
            if let Some(channel) = channel {
                set.push(("channel", any(channel)?));
            }
            let when = vec![("status", any(&MessageStatus::Queued)?), (CLAIMED_BY, s(""))];
            statements.push(Statement::update(&self.work, keys::message(id), set, when));
        }
        statements.extend(uses.iter().map(|one| self.use_statement(owner, one)));
        let mut answers = self.statements(&statements).await?;
        let used = answers.split_off(claims.len());
        let claims = answers.into_iter().map(|answer| claim(answer.or_own(CLAIMED_BY, owner))).collect();
        // a window whose write failed is decided again, like one whose condition failed
        let used = used.into_iter().map(|one| one.or_own(WINDOW_USED_BY, owner).done().unwrap_or(false));
        Ok((claims, used.collect()))
    }

    /// Uses a send of one window; `false` where the window is not as it was read.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn use_window(&self, owner: Owner, one: &WindowUse<'_>) -> Result<bool, Error> {
        let mut answers = self.statements(&[self.use_statement(owner, one)]).await?;
        answers.pop().map_or(Ok(false), |answer| answer.or_own(WINDOW_USED_BY, owner).done())
    }

    fn use_statement(&self, owner: Owner, one: &WindowUse<'_>) -> Statement {
        let windows = &one.windows;
        let (at_name, used_name, at, used) = match one.kind {
            WindowKind::Message => ("message_at", "message_used", windows.message_at, windows.message_used),
            WindowKind::Menu => ("menu_at", "menu_used", windows.menu_at, windows.menu_used),
            WindowKind::Follow => ("follow_at", "follow_used", windows.follow_at, windows.follow_used),
        };
        let key = keys::fan(one.fan.tenant, one.fan.app_id, one.fan.open_id);
        let set = vec![(used_name, n(used + 1)), (WINDOW_USED_BY, owner.value())];
        let when = vec![(at_name, n(at.unwrap_or(0))), (used_name, n(used))];
        Statement::update(&self.customers, key, set, when)
    }

    /// Leases a message that was leased before; `false` where it is not as it was read any more.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn reclaim_message(&self, claim: &Reclaim<'_>) -> Result<bool, Error> {
        let now = n(claim.at);
        let update = Update::new()
            .set("status", any(&MessageStatus::Sending)?)
            .set("claimed_at", now.clone())
            .set(CLAIMED_BY, claim.owner.value())
            .set_some("channel", claim.channel.as_ref().map(any).transpose()?);
        let update = if claim.may_have_happened {
            update.set_if_absent("first_claimed_at", now)
        } else {
            update.set("first_claimed_at", now)
        };
        let before = claim.message;
        let mut condition = "#status = :status".to_owned();
        let mut values = vec![(":status", any(&before.status)?)];
        match &before.claimed_by {
            Some(owner) => {
                condition += " AND claimed_by = :before";
                values.push((":before", s(owner)));
            }
            None => condition += " AND attribute_not_exists(claimed_by)",
        }
        if let Some(at) = before.claimed_at {
            condition += " AND claimed_at = :at";
            values.push((":at", n(at)));
        }
        let written =
            self.update(&self.work, &keys::message(&before.id), update.when(&condition, &values)).await?;
        Ok(written.or_own(CLAIMED_BY, claim.owner).done())
    }

    /// Changes the channel of a message that this worker holds.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn switch_channel(&self, id: &str, owner: Owner, channel: Channel) -> Result<bool, Error> {
        let update = held_by(Update::new().set("channel", any(&channel)?), owner)?;
        Ok(self.update(&self.work, &keys::message(id), update).await?.done())
    }

    /// Returns a message that this worker holds to the queue, and returns how often it was returned by
    /// now; [`None`] where we did not hold it. `may_have_happened`: it may have reached the fan all the same.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn requeue_message(
        &self,
        id: &str,
        owner: Owner,
        may_have_happened: bool,
    ) -> Result<Option<u32>, Error> {
        #[derive(Deserialize)]
        struct Tries {
            tries: u32,
        }
        let update = Update::new().set("status", any(&MessageStatus::Queued)?).add("tries", n(1));
        let update = if may_have_happened { update } else { update.remove("first_claimed_at") };
        let written = self.update(&self.work, &keys::message(id), held_by(update, owner)?).await?;
        // a later lease has another owner: a queued message that is still ours was returned by this very call
        let queued = any(&MessageStatus::Queued)?;
        match written.or_if(|i| owner.wrote(i, CLAIMED_BY) && i.get("status") == Some(&queued)) {
            Written::Done(now) => Ok(Some(read::<Tries>(now)?.tries)),
            Written::Refused(_) => Ok(None),
        }
    }
}

fn claim(answer: Answer) -> Claim {
    match answer {
        Answer::Written(Written::Done(_)) => Claim::Ours,
        Answer::Written(Written::Refused(item)) => match item.map(read).transpose() {
            Ok(message) => Claim::Taken(message.map(Box::new)),
            Err(error) => Claim::Undone(error), // its own trouble, and no other message's
        },
        Answer::Undone(why) => Claim::Undone(Error::Store(why)),
    }
}

/// On the condition that `owner` holds the message.
fn held_by(update: Update, owner: Owner) -> Result<Update, Error> {
    Ok(update.when(
        "#status = :sending AND claimed_by = :owner",
        &[(":sending", any(&MessageStatus::Sending)?), (":owner", owner.value())],
    ))
}
