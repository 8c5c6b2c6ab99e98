//! Leasing a message to send it, and releasing it. One worker holds a message at a time: a lease is
//! conditional on the state that was read and carries the worker's [`WriterId`], on which all later writes
//! depend. So a worker whose lease was written, but whose answer was lost, finds that it holds the message.
//!
//! The attribute is stored as `claimed_by`. It is `""` in a message that was never leased; messages of 0.1 do
//! not have it, and are leased like those that were leased before.

use super::{
    dynamo::{
        Attributes,
        conditional_write::ConditionalWrite,
        database::Database,
        from_item, n, s,
        statement::{Statement, StatementResult},
        to_attr,
        update::Update,
        writer_id::WriterId,
    },
    keys,
};
use crate::{
    error::Error,
    model::{
        fan::FanId,
        message::{Channel, MessageRecord, MessageStatus},
        window::{WindowKind, Windows},
    },
};

/// How long a lease lasts, seconds: longer than its worker runs, which `message-send` makes sure of.
pub const MESSAGE_LEASE_SECONDS: i64 = 35;
/// Attribute of a message: who leased it last.
pub(super) const LEASED_BY: &str = "claimed_by";
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
pub enum LeaseAttempt {
    /// We hold it.
    Acquired,
    /// It was leased before, or is gone: the message as it is.
    AlreadyTaken(Option<Box<MessageRecord>>),
    /// Unknown whether it is leased, or the stored message cannot be read.
    Failed(Error),
}

/// Leases a message that was leased before.
#[derive(Debug, Clone, Copy)]
pub struct LeaseRetake<'a> {
    /// The message, as it was read.
    pub message: &'a MessageRecord,
    /// Who leases it.
    pub owner: WriterId,
    /// Now, unix seconds.
    pub at: i64,
    /// The channel; none where it is not sent.
    pub channel: Option<Channel>,
    /// Whether an earlier attempt may have reached the fan: then the time of that attempt is kept.
    pub may_have_happened: bool,
}

/// Leases of messages.
#[derive(Clone, Copy)]
pub struct MessageLeases<'a> {
    pub(super) db: &'a Database,
}

impl MessageLeases<'_> {
    /// Leases messages that were never leased and uses a send of each window, in one request, at the unix
    /// second `at`. Returns the result of each lease, and for each window whether it was as it was read.
    ///
    /// # Errors
    /// [`Error::Store`]: some may be leased by us.
    pub async fn acquire(
        self,
        owner: WriterId,
        at: i64,
        messages: &[(&str, Option<Channel>)],
        uses: &[WindowUse<'_>],
    ) -> Result<(Vec<LeaseAttempt>, Vec<bool>), Error> {
        let mut statements = Vec::with_capacity(messages.len() + uses.len());
        for (id, channel) in messages {
            let update = Statement::update(&self.db.work, keys::message(id))
                .set("status", to_attr(&MessageStatus::Sending)?)
                .set("claimed_at", n(at))
                .set("first_claimed_at", n(at))
                .set(LEASED_BY, owner.to_attr())
                .set_some("channel", channel.as_ref().map(to_attr).transpose()?)
                .when("status", to_attr(&MessageStatus::Queued)?)
                .when(LEASED_BY, s(""));
            statements.push(update.build());
        }
        statements.extend(uses.iter().map(|one| self.window_use_statement(owner, one)));
        let mut answers = self.db.execute_statements(&statements).await?;
        let used = answers.split_off(messages.len());
        let attempts =
            answers.into_iter().map(|answer| lease_attempt(answer.or_written_by(LEASED_BY, owner))).collect();
        // a window whose write failed is decided again, like one whose condition failed
        let used =
            used.into_iter().map(|one| one.or_written_by(WINDOW_USED_BY, owner).into_done().unwrap_or(false));
        Ok((attempts, used.collect()))
    }

    /// Uses a send of one window; `false` where the window is not as it was read.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn use_window(self, owner: WriterId, one: &WindowUse<'_>) -> Result<bool, Error> {
        let mut answers = self.db.execute_statements(&[self.window_use_statement(owner, one)]).await?;
        answers.pop().map_or(Ok(false), |answer| answer.or_written_by(WINDOW_USED_BY, owner).into_done())
    }

    fn window_use_statement(self, owner: WriterId, one: &WindowUse<'_>) -> Statement {
        let windows = &one.windows;
        let (at_name, used_name, at, used) = match one.kind {
            WindowKind::Message => ("message_at", "message_used", windows.message_at, windows.message_used),
            WindowKind::Menu => ("menu_at", "menu_used", windows.menu_at, windows.menu_used),
            WindowKind::Follow => ("follow_at", "follow_used", windows.follow_at, windows.follow_used),
        };
        let key = keys::fan(one.fan.tenant, one.fan.app_id, one.fan.open_id);
        Statement::update(&self.db.customers, key)
            .set(used_name, n(used + 1))
            .set(WINDOW_USED_BY, owner.to_attr())
            .when(at_name, n(at.unwrap_or(0)))
            .when(used_name, n(used))
            .build()
    }

    /// Leases a message that was leased before; `false` where it is not as it was read any more.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn retake(self, retake: &LeaseRetake<'_>) -> Result<bool, Error> {
        let now = n(retake.at);
        let update = Update::new()
            .set("status", to_attr(&MessageStatus::Sending)?)
            .set("claimed_at", now.clone())
            .set(LEASED_BY, retake.owner.to_attr())
            .set_some("channel", retake.channel.as_ref().map(to_attr).transpose()?);
        let update = if retake.may_have_happened {
            update.set_if_absent("first_claimed_at", now)
        } else {
            update.set("first_claimed_at", now)
        };
        let before = retake.message;
        let mut condition = "#status = :status".to_owned();
        let mut values = vec![(":status", to_attr(&before.status)?)];
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
        let written = self
            .db
            .update(&self.db.work, &keys::message(&before.id), update.when(&condition, &values))
            .await?;
        Ok(written.or_written_by(LEASED_BY, retake.owner).is_done())
    }

    /// Changes the channel of a message that this worker holds.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn switch_channel(self, id: &str, owner: WriterId, channel: Channel) -> Result<bool, Error> {
        let update = if_leased_by(Update::new().set("channel", to_attr(&channel)?), owner)?;
        Ok(self.db.update(&self.db.work, &keys::message(id), update).await?.is_done())
    }

    /// Releases a message that this worker holds: it is `queued` again. Returns whether we held it.
    /// `may_have_happened`: it may have reached the fan all the same.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn release(self, id: &str, owner: WriterId, may_have_happened: bool) -> Result<bool, Error> {
        let update = Update::new().set("status", to_attr(&MessageStatus::Queued)?);
        let update = if may_have_happened { update } else { update.remove("first_claimed_at") };
        let written = self.db.update(&self.db.work, &keys::message(id), if_leased_by(update, owner)?).await?;
        // a later lease has another owner: a queued message that is still ours was released by this very call
        let queued = to_attr(&MessageStatus::Queued)?;
        let ours = |i: &Attributes| owner.is_writer_of(i, LEASED_BY) && i.get("status") == Some(&queued);
        Ok(written.or_done_if(ours).is_done())
    }
}

fn lease_attempt(answer: StatementResult) -> LeaseAttempt {
    match answer {
        StatementResult::Executed(ConditionalWrite::Done(_)) => LeaseAttempt::Acquired,
        StatementResult::Executed(ConditionalWrite::ConditionFailed(item)) => {
            match item.map(from_item).transpose() {
                Ok(message) => LeaseAttempt::AlreadyTaken(message.map(Box::new)),
                Err(error) => LeaseAttempt::Failed(error), // concerns this message only
            }
        }
        StatementResult::Failed(why) => LeaseAttempt::Failed(why.into()),
    }
}

/// On the condition that `owner` holds the message.
fn if_leased_by(update: Update, owner: WriterId) -> Result<Update, Error> {
    Ok(update.when(
        "#status = :sending AND claimed_by = :owner",
        &[(":sending", to_attr(&MessageStatus::Sending)?), (":owner", owner.to_attr())],
    ))
}
