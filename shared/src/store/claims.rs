//! Taking a message to send it, and giving it back. One worker has a message at a time: a claim names the
//! state that it found, and carries its worker's [`Owner`], whom all that comes after names. So a worker whose claim
//! landed without an answer finds that the message is its own.
//!
//! `claimed_by` is `""` in a message that nobody took yet; messages of 0.1 do not have it, and are taken as those are
//! that somebody took before.

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

/// How long a claim stands, seconds: longer than its worker goes on, which `message-send` sees to.
pub const CLAIM_SECONDS: i64 = 35;
/// Attribute of a message: who took it last.
pub(super) const CLAIMED_BY: &str = "claimed_by";
/// Attribute of a fan: who used a send of one of their windows last.
const WINDOW_USED_BY: &str = "window_used_by";

/// One fan's window to take a send from, as it was read.
#[derive(Debug, Clone, Copy)]
pub struct WindowUse<'a> {
    /// The fan.
    pub fan: FanId<'a>,
    /// Which window.
    pub kind: WindowKind,
    /// What was read.
    pub windows: Windows,
}

/// What became of a claim on a message that nobody took before.
#[derive(Debug)]
pub enum Claim {
    /// It is ours.
    Ours,
    /// Somebody took it before, or it is gone: as it is.
    Taken(Option<Box<Message>>),
    /// It may be taken, or not; or what is there cannot be read.
    Undone(Error),
}

/// Takes one message that was taken before.
#[derive(Debug, Clone, Copy)]
pub struct Reclaim<'a> {
    /// The message, as it was read.
    pub message: &'a Message,
    /// Who takes it.
    pub owner: Owner,
    /// Now, unix seconds.
    pub at: i64,
    /// How it goes out; none where it does not.
    pub channel: Option<Channel>,
    /// Whether an earlier try may have reached the fan, so that its time still counts.
    pub may_have_happened: bool,
}

impl Store {
    /// Takes messages that nobody took before and uses a send of each window, in one request. `at` is now, unix
    /// seconds. Answers for each claim what became of it, and for each use whether the ledger still was as read.
    ///
    /// # Errors
    /// [`Error::Store`]: some may be ours.
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
        // a use that was left undone is decided anew, as one that was refused
        let used = used.into_iter().map(|one| one.or_own(WINDOW_USED_BY, owner).done().unwrap_or(false));
        Ok((claims, used.collect()))
    }

    /// Uses a send of one window; `false` where the ledger is not as it was read.
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

    /// Takes a message that was taken before; `false` where it is not as it was read any more.
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

    /// Notes that a message which this worker has goes out another way.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn switch_channel(&self, id: &str, owner: Owner, channel: Channel) -> Result<bool, Error> {
        let update = held_by(Update::new().set("channel", any(&channel)?), owner)?;
        Ok(self.update(&self.work, &keys::message(id), update).await?.done())
    }

    /// Gives back a message which this worker has, to be taken again, and answers how often it was given back by
    /// now; [`None`] where it was not ours. `may_have_happened` where it may have reached the fan all the same.
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
        // whoever takes it puts another owner there: one that is queued and still ours was given back by us
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

/// Under the condition that `owner` has the message.
fn held_by(update: Update, owner: Owner) -> Result<Update, Error> {
    Ok(update.when(
        "#status = :sending AND claimed_by = :owner",
        &[(":sending", any(&MessageStatus::Sending)?), (":owner", owner.value())],
    ))
}
