//! Taking a message to send it, and giving it back. One worker has a message at a time: a claim names the
//! state that it found, and what comes after names the claim.

use serde::Deserialize;

use super::{
    Store,
    fans::FanId,
    keys,
    messages::{Channel, MessageStatus},
    table::{Update, Written, any, n, read, s},
};
use crate::{
    error::Error,
    model::window::{WindowKind, Windows},
};

/// How long a claim stands, seconds: longer than the function's timeout, after which its worker is gone.
pub const CLAIM_SECONDS: i64 = 35;

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

/// Takes one message that was taken before.
#[derive(Debug, Clone, Copy)]
pub struct Reclaim<'a> {
    /// The message.
    pub id: &'a str,
    /// Now, unix seconds: names the claim.
    pub at: i64,
    /// How it goes out; none where it does not.
    pub channel: Option<Channel>,
    /// The claim of a worker that is gone; none for a message that was given back.
    pub after: Option<i64>,
    /// Whether an earlier try may have reached the fan, so that its time still counts.
    pub may_have_happened: bool,
}

impl Store {
    /// Takes messages that nobody took before and uses a send of each window, in one request. `at` is now and
    /// names the claims, unix seconds. Answers for each claim whether the message is ours, and for each use
    /// whether the ledger still was as read.
    ///
    /// # Errors
    /// [`Error::Store`]: some may be ours.
    pub async fn claim_messages(
        &self,
        at: i64,
        claims: &[(&str, Option<Channel>)],
        uses: &[WindowUse<'_>],
    ) -> Result<(Vec<bool>, Vec<bool>), Error> {
        let table = &self.work;
        let mut statements = Vec::with_capacity(claims.len() + uses.len());
        for (id, channel) in claims {
            let key = keys::message(id);
            let mut values = vec![any(&MessageStatus::Sending)?, n(at), n(at)];
            let by = match channel {
                Some(channel) => {
                    values.push(any(channel)?);
                    " SET \"channel\" = ?"
                }
                None => "",
            };
            values.extend([s(key.pk), s(key.sk), any(&MessageStatus::Queued)?]);
            let text = format!(
                "UPDATE \"{table}\" SET \"status\" = ? SET claimed_at = ? SET first_claimed_at = ?{by} \
                 WHERE pk = ? AND sk = ? AND \"status\" = ? AND claimed_at IS MISSING"
            );
            statements.push((text, values));
        }
        statements.extend(uses.iter().map(|one| self.use_statement(one)));
        let mut held = self.statements(statements).await?;
        let used = held.split_off(claims.len());
        Ok((held, used))
    }

    /// Uses a send of one window; `false` where the ledger is not as it was read.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn use_window(&self, one: &WindowUse<'_>) -> Result<bool, Error> {
        Ok(self.statements(vec![self.use_statement(one)]).await? == [true])
    }

    fn use_statement(&self, one: &WindowUse<'_>) -> (String, Vec<aws_sdk_dynamodb::types::AttributeValue>) {
        let windows = &one.windows;
        let (at_name, used_name, at, used) = match one.kind {
            WindowKind::Message => ("message_at", "message_used", windows.message_at, windows.message_used),
            WindowKind::Menu => ("menu_at", "menu_used", windows.menu_at, windows.menu_used),
            WindowKind::Follow => ("follow_at", "follow_used", windows.follow_at, windows.follow_used),
        };
        let key = keys::fan(one.fan.tenant, one.fan.app_id, one.fan.open_id);
        let text = format!(
            "UPDATE \"{}\" SET {used_name} = ? WHERE pk = ? AND sk = ? AND {at_name} = ? AND {used_name} = ?",
            self.customers
        );
        (text, vec![n(used + 1), s(key.pk), s(key.sk), n(at.unwrap_or(0)), n(used)])
    }

    /// Takes a message that was taken before; `false` where it is not as `claim` says.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn reclaim_message(&self, claim: &Reclaim<'_>) -> Result<bool, Error> {
        let now = n(claim.at);
        let update = Update::new()
            .set("status", any(&MessageStatus::Sending)?)
            .set("claimed_at", now.clone())
            .set_some("channel", claim.channel.as_ref().map(any).transpose()?);
        let update = if claim.may_have_happened {
            update.set_if_absent("first_claimed_at", now)
        } else {
            update.set("first_claimed_at", now)
        };
        let update = match claim.after {
            None => update.when("#status = :queued", &[(":queued", any(&MessageStatus::Queued)?)]),
            Some(after) => update.when(
                "#status = :sending AND claimed_at = :after",
                &[(":sending", any(&MessageStatus::Sending)?), (":after", n(after))],
            ),
        };
        Ok(self.update(&self.work, &keys::message(claim.id), update).await?.done())
    }

    /// Notes that a message which this worker has since `claimed_at` goes out another way.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn switch_channel(&self, id: &str, claimed_at: i64, channel: Channel) -> Result<bool, Error> {
        let update = Update::new().set("channel", any(&channel)?);
        let update = held_since(update, claimed_at)?;
        Ok(self.update(&self.work, &keys::message(id), update).await?.done())
    }

    /// Gives back a message which this worker has since `claimed_at`, to be taken again, and answers how often
    /// it was given back by now; [`None`] where it was not ours. `may_have_happened` where it may have reached
    /// the fan all the same.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn requeue_message(
        &self,
        id: &str,
        claimed_at: i64,
        may_have_happened: bool,
    ) -> Result<Option<u32>, Error> {
        #[derive(Deserialize)]
        struct Tries {
            tries: u32,
        }
        let update = Update::new().set("status", any(&MessageStatus::Queued)?).add("tries", n(1));
        let update = if may_have_happened { update } else { update.remove("first_claimed_at") };
        match self.update(&self.work, &keys::message(id), held_since(update, claimed_at)?).await? {
            Written::Done(now) => Ok(Some(read::<Tries>(now)?.tries)),
            Written::Refused(_) => Ok(None),
        }
    }
}

fn held_since(update: Update, claimed_at: i64) -> Result<Update, Error> {
    Ok(update.when(
        "#status = :sending AND claimed_at = :claimed",
        &[(":sending", any(&MessageStatus::Sending)?), (":claimed", n(claimed_at))],
    ))
}
