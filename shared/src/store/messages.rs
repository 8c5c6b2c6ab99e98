//! Messages that go out, from accepted to delivered. Ten at a time where a batch allows it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Store,
    fans::FanId,
    keys,
    table::{Attributes, Update, Written, any, item, read},
    timeline::StoredEvent,
};
use crate::error::Error;

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
    /// The earliest time since which a template message may have gone out, unix seconds: WeChat deduplicates
    /// for 10 minutes from there. Gone where surely nothing went out.
    pub first_claimed_at: Option<i64>,
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
