//! Messages that go out, from accepted to delivered. Ten at a time where a batch allows it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Store,
    fans::FanId,
    keys,
    table::{Attributes, Update, Written, any, item, n, read, s},
    timeline::StoredEvent,
};
use crate::{
    error::Error,
    model::window::{WindowKind, Windows},
};

/// How long messages are kept, seconds: 90 days.
pub const KEPT_SECONDS: i64 = 90 * 24 * 3600;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// Accepted.
    Queued,
    /// A worker has it.
    Sending,
    /// WeChat took it.
    Sent,
    /// WeChat says that it reached the fan (template messages).
    Delivered,
    /// It did not go out; `error` says why.
    Failed,
}

/// How a message goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Within a reply window.
    CustomerService,
    /// At any time, from a template.
    Template,
}

/// Why a message did not go out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MessageError {
    /// A stable word: `outside_reply_window`, `capability_missing`, `wechat_error`, `outcome_unknown`, …
    pub code: String,
    /// WeChat's errcode, if it was WeChat who refused.
    pub errcode: Option<i64>,
    /// What happened, and what to do.
    pub detail: String,
}

/// A message as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    /// `msg_…`.
    pub id: String,
    /// Whose.
    pub tenant_id: String,
    /// The account that sends it.
    pub app_id: String,
    /// The openid that gets it.
    pub to: String,
    /// Where it stands.
    pub status: MessageStatus,
    /// How it goes out.
    pub channel: Option<Channel>,
    /// JSON text of the content.
    pub content: Option<String>,
    /// JSON text of the template.
    pub template: Option<String>,
    /// WeChat's id.
    pub wechat_msg_id: Option<String>,
    /// Why it failed.
    pub error: Option<MessageError>,
    /// When it was accepted, unix milliseconds.
    pub created_at: i64,
    /// When WeChat took it, unix milliseconds.
    pub sent_at: Option<i64>,
    /// When a worker took it (last), unix seconds.
    pub claimed_at: Option<i64>,
    /// When a worker first took it for a template message, unix seconds: WeChat deduplicates for 10 minutes.
    pub first_claimed_at: Option<i64>,
}

/// What a claim found.
#[derive(Debug)]
pub enum Claimed {
    /// It is ours.
    Yes,
    /// Somebody took it before.
    No(Box<Message>),
    /// There is no such message.
    Gone,
}

impl Store {
    /// Stores a message that was accepted; the same id again answers the one that is there.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn create_message(&self, message: &Message) -> Result<Option<Message>, Error> {
        match self.put_new(&self.work, message_item(message)?).await? {
            Written::Done(_) => Ok(None),
            Written::Refused(before) => before.map(read).transpose(),
        }
    }

    /// A tenant's message.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn message(&self, tenant: &str, id: &str) -> Result<Option<Message>, Error> {
        let found: Option<Message> = self.get(&self.work, &keys::message(id)).await?;
        Ok(found.filter(|m| m.tenant_id == tenant))
    }

    /// Takes a queued message.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn claim_message(&self, id: &str) -> Result<Claimed, Error> {
        let now = self.clock.unix();
        let update = Update::new()
            .set("status", any(&MessageStatus::Sending)?)
            .set("claimed_at", n(now))
            .set_if_absent("first_claimed_at", n(now))
            .when("#status = :queued", &[(":queued", any(&MessageStatus::Queued)?)]);
        match self.update(&self.work, &keys::message(id), update).await? {
            Written::Done(_) => Ok(Claimed::Yes),
            Written::Refused(Some(before)) => Ok(Claimed::No(Box::new(read(before)?))),
            Written::Refused(None) => Ok(Claimed::Gone),
        }
    }

    /// Takes several queued messages in one request; answers for each whether it is ours.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn claim_messages(&self, ids: &[&str]) -> Result<Vec<bool>, Error> {
        let now = self.clock.unix();
        let table = &self.work;
        let statements = ids
            .iter()
            .map(|id| {
                let key = keys::message(id);
                let text = format!(
                    "UPDATE \"{table}\" SET \"status\" = ? SET claimed_at = ? SET first_claimed_at = ? \
                     WHERE pk = ? AND sk = ? AND \"status\" = ?"
                );
                let (sending, queued) = (any(&MessageStatus::Sending)?, any(&MessageStatus::Queued)?);
                Ok((text, vec![sending, n(now), n(now), s(key.pk), s(key.sk), queued]))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        self.statements(statements).await
    }

    /// Uses one send of each fan's window in one request; answers for each whether the ledger still was as read.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn use_windows(&self, uses: &[(FanId<'_>, WindowKind, Windows)]) -> Result<Vec<bool>, Error> {
        let table = &self.customers;
        let statements = uses
            .iter()
            .map(|(fan, kind, windows)| {
                let (at_name, used_name, at, used) = match kind {
                    WindowKind::Message => ("message_at", "message_used", windows.message_at, windows.message_used),
                    WindowKind::Menu => ("menu_at", "menu_used", windows.menu_at, windows.menu_used),
                    WindowKind::Follow => ("follow_at", "follow_used", windows.follow_at, windows.follow_used),
                };
                let key = keys::fan(fan.tenant, fan.app_id, fan.open_id);
                let text = format!(
                    "UPDATE \"{table}\" SET {used_name} = ? WHERE pk = ? AND sk = ? AND {at_name} = ? AND {used_name} = ?"
                );
                (text, vec![n(used + 1), s(key.pk), s(key.sk), n(at.unwrap_or(0)), n(used)])
            })
            .collect();
        self.statements(statements).await
    }

    /// Puts messages that this worker holds, with the events that tell of them, in one request.
    ///
    /// # Errors
    /// [`Error::Store`]: some may be stored; storing them again is safe.
    pub async fn keep_messages(&self, done: &[(Message, Option<StoredEvent>)]) -> Result<(), Error> {
        let mut items = Vec::new();
        for (message, event) in done {
            items.push((self.work.as_str(), message_item(message)?));
            if let Some(event) = event {
                let fan = FanId { tenant: &message.tenant_id, app_id: &message.app_id, open_id: &message.to };
                items.push(self.event_item(fan, event)?);
            }
            if let (Some(Channel::Template), Some(wechat)) = (message.channel, &message.wechat_msg_id) {
                let pointer = Pointer { message_id: message.id.clone() };
                let ttl = message.created_at / 1000 + KEPT_SECONDS;
                let key = keys::wechat_message(&message.app_id, wechat);
                items.push((self.work.as_str(), item(&key, &pointer, Some(ttl))?));
            }
        }
        self.put_many(items).await
    }

    /// The message that WeChat knows as `wechat_msg_id`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn message_of_wechat(
        &self,
        tenant: &str,
        app_id: &str,
        wechat_msg_id: &str,
    ) -> Result<Option<Message>, Error> {
        match self.get::<Pointer>(&self.work, &keys::wechat_message(app_id, wechat_msg_id)).await? {
            Some(pointer) => self.message(tenant, &pointer.message_id).await,
            None => Ok(None),
        }
    }

    /// Notes what became of a template message that was sent.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn settle_message(
        &self,
        id: &str,
        status: MessageStatus,
        error: Option<&MessageError>,
    ) -> Result<bool, Error> {
        let update = Update::new()
            .set("status", any(&status)?)
            .set_some("error", error.map(any).transpose()?)
            .when("#status = :sent", &[(":sent", any(&MessageStatus::Sent)?)]);
        Ok(self.update(&self.work, &keys::message(id), update).await?.done())
    }

    /// Gives a claimed message back, to be taken again.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn requeue_message(&self, id: &str) -> Result<(), Error> {
        let update = Update::new()
            .set("status", any(&MessageStatus::Queued)?)
            .when("#status = :sending", &[(":sending", any(&MessageStatus::Sending)?)]);
        self.update(&self.work, &keys::message(id), update).await.map(drop)
    }
}

impl Message {
    /// The content as JSON.
    #[must_use]
    pub fn content_json(&self) -> Option<Value> {
        self.content.as_deref().and_then(|text| serde_json::from_str(text).ok())
    }
}

#[derive(Serialize, Deserialize)]
struct Pointer {
    message_id: String,
}

fn message_item(message: &Message) -> Result<Attributes, Error> {
    item(&keys::message(&message.id), message, Some(message.created_at / 1000 + KEPT_SECONDS))
}
