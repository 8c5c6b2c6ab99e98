//! Outgoing messages, from accepted to delivered. Written ten at a time where a batch allows it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Store,
    batch_operations::{Statement, StatementResult},
    dynamo::{Attributes, ConditionalWrite, Update, from_item, n, s, to_attr, to_item},
    fans::FanId,
    keys::{self, Key},
    message_leases::LEASED_BY,
    timeline::StoredEvent,
    writer_id::WriterId,
};
use crate::{
    error::{Error, StoreError},
    model::failure_code::FailureCode,
};

/// How long messages are stored, seconds: 90 days.
pub const MESSAGE_RETENTION_SECONDS: i64 = 90 * 24 * 3600;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// Accepted.
    Queued,
    /// A worker holds it.
    Sending,
    /// WeChat accepted it.
    Sent,
    /// WeChat reported that it reached the fan (template messages).
    Delivered,
    /// It was not sent; `error` says why.
    Failed,
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Within a reply window.
    CustomerService,
    /// At any time, from a template.
    Template,
}

impl Channel {
    /// Both channels.
    pub const ALL: [Self; 2] = [Self::CustomerService, Self::Template];

    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CustomerService => "customer_service",
            Self::Template => "template",
        }
    }
}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MessageError {
    /// Why it failed.
    pub code: FailureCode,
    /// WeChat's errcode, if WeChat refused it.
    pub errcode: Option<i64>,
    /// What happened, and what to do.
    pub detail: String,
}

/// A message as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MessageRecord {
    /// `msg_…`.
    pub id: String,
    /// The tenant.
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
    /// When WeChat accepted it, unix milliseconds.
    pub sent_at: Option<i64>,
    /// When a worker last leased it, unix seconds.
    pub claimed_at: Option<i64>,
    /// Who leased it; empty if never leased, none in messages of 0.1 and after WeChat reported the delivery.
    pub claimed_by: Option<String>,
    /// Since when a template message may have been sent, unix seconds: WeChat deduplicates
    /// for 10 minutes from there. Removed where certainly nothing was sent.
    pub first_claimed_at: Option<i64>,
}

impl Store {
    /// Stores an accepted message; for an id that exists it returns the stored one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn create_message(&self, message: &MessageRecord) -> Result<Option<MessageRecord>, Error> {
        match self.put_if_absent(&self.work, message_item(message)?).await? {
            ConditionalWrite::Done(_) => Ok(None),
            ConditionalWrite::ConditionFailed(before) => before.map(from_item).transpose(),
        }
    }

    /// A tenant's message.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn message(&self, tenant: &str, id: &str) -> Result<Option<MessageRecord>, Error> {
        let found: Option<MessageRecord> = self.get(&self.work, &keys::message(id)).await?;
        Ok(found.filter(|m| m.tenant_id == tenant))
    }

    /// Stores the results of messages that `owner`s leased, with their events, in one request. Returns for
    /// each whether its end is stored: not where another worker leased it meanwhile, or the message is gone.
    ///
    /// # Errors
    /// [`Error::Store`]: some may be stored; repeating is safe.
    pub async fn store_ended_messages(
        &self,
        done: &[EndedMessage],
    ) -> Result<Vec<Result<bool, Error>>, Error> {
        let (mut statements, mut pointers) = (Vec::new(), HashMap::new());
        let mut statement_indexes: Vec<Vec<usize>> = Vec::with_capacity(done.len());
        for EndedMessage { owner, message, event } in done {
            let mut place = vec![statements.len()];
            let mut set = vec![("status", to_attr(&message.status)?)];
            if let Some(channel) = &message.channel {
                set.push(("channel", to_attr(channel)?));
            }
            if let Some(error) = &message.error {
                set.push(("error", to_attr(error)?));
            }
            if let Some(sent_at) = message.sent_at {
                set.push(("sent_at", n(sent_at)));
            }
            if let Some(wechat) = &message.wechat_msg_id {
                set.push(("wechat_msg_id", s(wechat)));
            }
            // WeChat's delivery report removes the owner: this write, repeated, does not undo it
            let when = vec![(LEASED_BY, owner.to_attr())];
            statements.push(Statement::update(&self.work, keys::message(&message.id), set, when));
            if let Some(event) = event {
                place.push(statements.len());
                statements.push(self.event_statement(message, event)?);
            }
            if let Some((key, insert)) = self.pointer_statement(message)? {
                // should WeChat return one id twice: DynamoDB takes no batch that names an item twice
                place.push(*pointers.entry(key).or_insert_with(|| {
                    statements.push(insert);
                    statements.len() - 1
                }));
            }
            statement_indexes.push(place);
        }
        let answers = self.execute_statements(&statements).await?;
        Ok(statement_indexes
            .iter()
            .map(|place| is_end_stored(place.iter().filter_map(|n| answers.get(*n))))
            .collect())
    }

    /// Stores what [`Store::store_ended_messages`] stores besides a message that was sent, its event and WeChat's
    /// id, where they are missing: that request is not atomic, and its worker may have died in the middle.
    ///
    /// # Errors
    /// [`Error::Store`]: repeating is safe.
    pub async fn restore_sent_records(&self, message: &MessageRecord) -> Result<(), Error> {
        let Some(event) = message.sent_event() else { return Ok(()) };
        let mut statements = vec![self.event_statement(message, &event)?];
        statements.extend(self.pointer_statement(message)?.map(|(_, insert)| insert));
        are_inserted(&self.execute_statements(&statements).await?)
    }

    fn event_statement(&self, message: &MessageRecord, event: &StoredEvent) -> Result<Statement, Error> {
        let fan = FanId { tenant: &message.tenant_id, app_id: &message.app_id, open_id: &message.to };
        let (table, item) = self.event_item(fan, event)?;
        Ok(Statement::insert(table, item))
    }

    /// The insert of the pointer by which WeChat's delivery report finds a template message.
    fn pointer_statement(&self, message: &MessageRecord) -> Result<Option<(Key, Statement)>, Error> {
        let (Some(Channel::Template), Some(wechat)) = (message.channel, &message.wechat_msg_id) else {
            return Ok(None);
        };
        let pointer = WechatMessagePointer { message_id: message.id.clone() };
        let ttl = message.created_at / 1000 + MESSAGE_RETENTION_SECONDS;
        let key = keys::wechat_message(&message.app_id, wechat);
        let insert = Statement::insert(&self.work, to_item(&key, &pointer, Some(ttl))?);
        Ok(Some((key, insert)))
    }

    /// The message that has WeChat's id `wechat_msg_id`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn message_by_wechat_id(
        &self,
        tenant: &str,
        app_id: &str,
        wechat_msg_id: &str,
    ) -> Result<Option<MessageRecord>, Error> {
        match self
            .get::<WechatMessagePointer>(&self.work, &keys::wechat_message(app_id, wechat_msg_id))
            .await?
        {
            Some(pointer) => self.message(tenant, &pointer.message_id).await,
            None => Ok(None),
        }
    }

    /// Stores WeChat's report of the delivery of a template message.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn record_delivery_status(
        &self,
        id: &str,
        status: MessageStatus,
        error: Option<&MessageError>,
    ) -> Result<bool, Error> {
        let to = to_attr(&status)?;
        let update = Update::new()
            .set("status", to.clone())
            .set_some("error", error.map(to_attr).transpose()?)
            .remove(LEASED_BY)
            .when("#status = :sent", &[(":sent", to_attr(&MessageStatus::Sent)?)]);
        let written = self.update(&self.work, &keys::message(id), update).await?;
        Ok(written.or_done_if(|item| item.get("status") == Some(&to)).is_done())
    }
}

/// The result of a message that `owner` leased.
#[derive(Debug)]
pub struct EndedMessage {
    /// Who leased it.
    pub owner: WriterId,
    /// The message as it is now.
    pub message: MessageRecord,
    /// The event that records it.
    pub event: Option<StoredEvent>,
}

/// Whether the end of a message is stored, by this or another worker.
fn is_end_stored<'a>(mut answers: impl Iterator<Item = &'a StatementResult>) -> Result<bool, Error> {
    let is_end = |item: &Attributes| {
        let ends = [MessageStatus::Sent, MessageStatus::Delivered, MessageStatus::Failed];
        ends.iter().any(|end| to_attr(end).is_ok_and(|end| item.get("status") == Some(&end)))
    };
    let noted = match answers.next() {
        Some(StatementResult::Executed(ConditionalWrite::Done(_))) => true,
        Some(StatementResult::Executed(ConditionalWrite::ConditionFailed(item))) => {
            item.as_ref().is_some_and(is_end)
        }
        Some(StatementResult::Failed(why)) => return Err(why.clone().into()),
        None => return Err(StoreError::Unavailable("answers are missing".into()).into()),
    };
    are_inserted(answers).map(|()| noted)
}

/// Whether events and pointers are there: one whose insert is refused was stored before.
fn are_inserted<'a>(answers: impl IntoIterator<Item = &'a StatementResult>) -> Result<(), Error> {
    for answer in answers {
        if let StatementResult::Failed(why) = answer {
            return Err(why.clone().into());
        }
    }
    Ok(())
}

impl MessageRecord {
    /// The content as JSON.
    #[must_use]
    pub fn content_json(&self) -> Option<Value> {
        payload_json(self.content.as_deref())
    }

    /// The event of a message that WeChat accepted; none for any other.
    #[must_use]
    pub fn sent_event(&self) -> Option<StoredEvent> {
        let (channel, sent_at) = (self.channel?, self.sent_at?);
        let (name, payload) = match channel {
            Channel::CustomerService => ("content", &self.content),
            Channel::Template => ("template", &self.template),
        };
        let payload = payload_json(payload.as_deref());
        Some(StoredEvent {
            identity: format!("S{}", self.id),
            kind: "message_sent".into(),
            at: sent_at / 1000,
            app_id: self.app_id.clone(),
            open_id: self.to.clone(),
            detail: json!({ "message_id": self.id, "channel": channel, name: payload }).to_string(),
            reply: None,
            sends: None,
        })
    }
}

fn payload_json(text: Option<&str>) -> Option<Value> {
    text.and_then(|text| serde_json::from_str(text).ok())
}

#[derive(Serialize, Deserialize)]
struct WechatMessagePointer {
    message_id: String,
}

fn message_item(message: &MessageRecord) -> Result<Attributes, Error> {
    let ttl = message.created_at / 1000 + MESSAGE_RETENTION_SECONDS;
    let mut item = to_item(&keys::message(&message.id), message, Some(ttl))?;
    item.entry(LEASED_BY.to_owned()).or_insert_with(|| s("")); // a condition of PartiQL compares it
    Ok(item)
}
