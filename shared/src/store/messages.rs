//! Outgoing messages, from accepted to delivered. Written ten at a time where a batch allows it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{
    dynamo::{
        Attributes,
        conditional_write::ConditionalWrite,
        database::Database,
        from_item, n, s,
        statement::{Statement, StatementResult},
        to_attr, to_item,
        update::Update,
        writer_id::WriterId,
    },
    keys::{self, Key},
    message_leases::LEASED_BY,
    timeline::Timeline,
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

/// Outgoing messages.
#[derive(Clone, Copy)]
pub struct Messages<'a> {
    pub(super) db: &'a Database,
    pub(super) timeline: Timeline<'a>,
}

impl Messages<'_> {
    /// Stores an accepted message; for an id that exists it returns the stored one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn create(self, message: &MessageRecord) -> Result<Option<MessageRecord>, Error> {
        match self.db.put_if_absent(&self.db.work, message_item(message)?).await? {
            ConditionalWrite::Done(_) => Ok(None),
            ConditionalWrite::ConditionFailed(before) => before.map(from_item).transpose(),
        }
    }

    /// A tenant's message.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get(self, tenant: &str, id: &str) -> Result<Option<MessageRecord>, Error> {
        let found: Option<MessageRecord> = self.db.get(&self.db.work, &keys::message(id)).await?;
        Ok(found.filter(|m| m.tenant_id == tenant))
    }

    /// Stores the results of messages that `owner`s leased, with their events, in one request. Returns for
    /// each whether its end is stored: not where another worker leased it meanwhile, or the message is gone.
    ///
    /// # Errors
    /// [`Error::Store`]: some may be stored; repeating is safe.
    pub async fn store_ended(self, done: &[EndedMessage]) -> Result<Vec<Result<bool, Error>>, Error> {
        let (mut statements, mut pointers) = (Vec::new(), HashMap::new());
        let mut statement_indexes: Vec<Vec<usize>> = Vec::with_capacity(done.len());
        for EndedMessage { owner, message, event } in done {
            let mut place = vec![statements.len()];
            let update = Statement::update(&self.db.work, keys::message(&message.id))
                .set("status", to_attr(&message.status)?)
                .set_some("channel", message.channel.as_ref().map(to_attr).transpose()?)
                .set_some("error", message.error.as_ref().map(to_attr).transpose()?)
                .set_some("sent_at", message.sent_at.map(n))
                .set_some("wechat_msg_id", message.wechat_msg_id.as_ref().map(s))
                // WeChat's delivery report removes the owner: this write, repeated, does not undo it
                .when(LEASED_BY, owner.to_attr());
            statements.push(update.build());
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
        let answers = self.db.execute_statements(&statements).await?;
        Ok(statement_indexes
            .iter()
            .map(|place| is_end_stored(place.iter().filter_map(|n| answers.get(*n))))
            .collect())
    }

    /// Stores what [`Messages::store_ended`] stores besides a message that was sent, its event and WeChat's
    /// id, where they are missing: that request is not atomic, and its worker may have died in the middle.
    ///
    /// # Errors
    /// [`Error::Store`]: repeating is safe.
    pub async fn restore_sent_records(self, message: &MessageRecord) -> Result<(), Error> {
        let Some(event) = message.sent_event() else { return Ok(()) };
        let mut statements = vec![self.event_statement(message, &event)?];
        statements.extend(self.pointer_statement(message)?.map(|(_, insert)| insert));
        are_inserted(&self.db.execute_statements(&statements).await?)
    }

    fn event_statement(self, message: &MessageRecord, event: &StoredEvent) -> Result<Statement, Error> {
        let fan = FanId { tenant: &message.tenant_id, app_id: &message.app_id, open_id: &message.to };
        self.timeline.insert_statement(fan.into(), event)
    }

    /// The insert of the pointer by which WeChat's delivery report finds a template message.
    fn pointer_statement(self, message: &MessageRecord) -> Result<Option<(Key, Statement)>, Error> {
        let (Some(Channel::Template), Some(wechat)) = (message.channel, &message.wechat_msg_id) else {
            return Ok(None);
        };
        let pointer = WechatMessagePointer { message_id: message.id.clone() };
        let ttl = message.created_at / 1000 + MESSAGE_RETENTION_SECONDS;
        let key = keys::wechat_message(&message.app_id, wechat);
        let insert = Statement::insert(&self.db.work, to_item(&key, &pointer, Some(ttl))?);
        Ok(Some((key, insert)))
    }

    /// The message that has WeChat's id `wechat_msg_id`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn by_wechat_id(
        self,
        tenant: &str,
        app_id: &str,
        wechat_msg_id: &str,
    ) -> Result<Option<MessageRecord>, Error> {
        match self
            .db
            .get::<WechatMessagePointer>(&self.db.work, &keys::wechat_message(app_id, wechat_msg_id))
            .await?
        {
            Some(pointer) => self.get(tenant, &pointer.message_id).await,
            None => Ok(None),
        }
    }

    /// Stores WeChat's report of the delivery of a template message.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn record_delivery(
        self,
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
        let written = self.db.update(&self.db.work, &keys::message(id), update).await?;
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
