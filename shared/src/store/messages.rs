//! Outgoing messages, from accepted to delivered. Written ten at a time where a batch allows it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{
    Store,
    batch_operations::{Statement, StatementResult},
    dynamo::{Attributes, ConditionalWrite, Update, from_item, n, s, to_attr, to_item},
    keys::{self, Key},
    message_leases::LEASED_BY,
    writer_id::WriterId,
};
use crate::{
    error::{Error, StoreError},
    model::{
        event::StoredEvent,
        fan::FanId,
        message::{Channel, MessageError, MessageRecord, MessageStatus},
    },
};

/// How long messages are stored, seconds: 90 days.
pub const MESSAGE_RETENTION_SECONDS: i64 = 90 * 24 * 3600;

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
