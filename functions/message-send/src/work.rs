//! A message to be sent, and the records of its end.

use serde_json::Value;
use shared::{
    error::{Error, serde_error_text},
    metrics::Metric,
    model::{
        fan::FanId,
        message::{Channel, MessageError, MessageRecord, MessageStatus},
        waiting_line,
    },
    queue::{batch::ReceivedJob, jobs::SendJob},
    services::Services,
    store::messages::EndedMessage,
};
use tracing::Span;

use crate::{
    channel_choice::Payload,
    retry_policy::{failure_cause, outcome_unknown},
    states::{MessageLease, SendResult},
};

/// Tenant and account.
pub type AccountKey<'a> = (&'a str, &'a str);

/// A message to be sent, as its job carries it.
#[derive(Debug)]
pub struct Work {
    /// `msg_…`.
    pub id: String,
    /// The tenant that sends it.
    pub tenant_id: String,
    /// The account that sends it.
    pub app_id: String,
    /// The openid that gets it.
    pub to: String,
    /// WeChat's customer-service message, without `touser`.
    pub content: Option<Value>,
    /// WeChat's template message, without `touser`.
    pub template: Option<Value>,
    /// When it was accepted, unix milliseconds.
    pub created_at: i64,
    /// How often its job was received.
    pub receive_count: u32,
    /// It comes from a timer: its payload is in its record, not in its job.
    pub waited: bool,
    /// The SQS message id of this job; each wait in a timer gives it another one.
    pub queue_message_id: String,
    /// The queue's message group, within which order is kept.
    pub queue_group: String,
    /// How long its job was in the queue when it was received, milliseconds.
    pub lag_ms: i64,
    /// Names the job in each line of the log.
    pub span: Span,
}

impl Work {
    /// The message of a job that was received at `now_ms`. Returns the job where it sends no message.
    pub fn from_job(job: SendJob, item: &ReceivedJob<()>, now_ms: i64) -> Result<Self, Box<SendJob>> {
        let queue_group = job.group();
        let (waited, content, template, (id, tenant_id, app_id, to, created_at)) = match job {
            SendJob::MessageV1 { message_id, tenant_id, app_id, to, content, template, created_at } => {
                (false, content, template, (message_id, tenant_id, app_id, to, created_at))
            }
            SendJob::WaitedV1 { message_id, tenant_id, app_id, to, created_at } => {
                (true, None, None, (message_id, tenant_id, app_id, to, created_at))
            }
            other => return Err(Box::new(other)),
        };
        Ok(Self {
            id,
            tenant_id,
            app_id,
            to,
            content: content.filter(|c| !c.is_null()),
            template: template.filter(|t| !t.is_null()),
            created_at,
            receive_count: item.receive_count,
            waited,
            queue_message_id: item.message_id.clone(),
            queue_group,
            lag_ms: item.sent_at.map_or(0, |at| now_ms - at),
            span: item.span.clone(),
        })
    }

    /// The job that a timer brings back when the message has waited.
    pub fn waited_job(&self) -> SendJob {
        SendJob::WaitedV1 {
            message_id: self.id.clone(),
            tenant_id: self.tenant_id.clone(),
            app_id: self.app_id.clone(),
            to: self.to.clone(),
            created_at: self.created_at,
        }
    }

    /// Tenant and account.
    pub fn account_key(&self) -> AccountKey<'_> {
        (&self.tenant_id, &self.app_id)
    }

    /// What it carries.
    pub fn payload(&self) -> Payload {
        Payload { content: self.content.is_some(), template: self.template.is_some() }
    }

    /// The fan that it is sent to.
    pub fn fan(&self) -> FanId<'_> {
        FanId { tenant: &self.tenant_id, app_id: &self.app_id, open_id: &self.to }
    }

    /// Its position among the messages to its fan.
    pub fn line_position(&self) -> String {
        waiting_line::position(self.created_at, &self.id)
    }

    /// The channels that it may use: both for one that waited, until its payload is read from its record.
    pub fn channels(&self) -> impl Iterator<Item = Channel> + use<> {
        let (carries, waited) = (self.payload(), self.waited);
        Channel::ALL.into_iter().filter(move |channel| match channel {
            Channel::CustomerService => waited || carries.content,
            Channel::Template => waited || carries.template,
        })
    }

    /// Reads the payload from its record.
    ///
    /// # Errors
    /// [`Error::Item`]: it is not what this version writes.
    pub fn load_payload(&mut self, message: &MessageRecord) -> Result<(), Error> {
        let json = |text: &Option<String>| {
            let read = text.as_deref().map(serde_json::from_str).transpose();
            read.map_err(|error| Error::Item(serde_error_text(&error)))
        };
        self.content = json(&message.content)?;
        self.template = json(&message.template)?;
        Ok(())
    }

    /// Creates the record of a reply rule's message, or returns the one that exists. The callback saves that
    /// write, so the job comes first and the record is made here.
    pub async fn create_record(&self, app: &Services) -> Result<MessageRecord, Error> {
        let message = self.record(None, MessageStatus::Queued);
        // exactly as it is stored, because retaking compares it
        let stored = MessageRecord { claimed_by: Some(String::new()), ..message.clone() };
        Ok(app.store.messages().create(&message).await?.unwrap_or(stored))
    }

    fn record(&self, channel: Option<Channel>, status: MessageStatus) -> MessageRecord {
        MessageRecord {
            id: self.id.clone(),
            tenant_id: self.tenant_id.clone(),
            app_id: self.app_id.clone(),
            to: self.to.clone(),
            status,
            channel,
            content: self.content.as_ref().map(Value::to_string),
            template: self.template.as_ref().map(Value::to_string),
            wechat_msg_id: None,
            error: None,
            created_at: self.created_at,
            sent_at: None,
            claimed_at: None,
            claimed_by: None,
            first_claimed_at: None,
        }
    }

    /// The record of a message that WeChat accepted.
    pub fn sent(
        &self,
        app: &Services,
        lease: &MessageLease,
        channel: Channel,
        wechat_msg_id: Option<String>,
    ) -> SendResult {
        let mut message = self.record(Some(channel), MessageStatus::Sent);
        message.wechat_msg_id = wechat_msg_id.filter(|id| !id.is_empty());
        message.sent_at = Some(app.clock.now().as_millisecond());
        let event = message.sent_event();
        SendResult::Record(Box::new(EndedMessage { owner: lease.owner, message, event }))
    }

    /// The record of a message that failed. If an earlier try may have reached the fan, a later refusal
    /// proves nothing about it: the outcome is unknown.
    pub fn failed(
        &self,
        app: &Services,
        lease: &MessageLease,
        channel: Option<Channel>,
        error: MessageError,
    ) -> SendResult {
        let error = if lease.may_have_happened { outcome_unknown(error.errcode) } else { error };
        app.metrics.count(Metric::FailedMessages(failure_cause(error.code)), app.clock.now());
        tracing::info!(code = %error.code, errcode = error.errcode, "a message failed: {}", error.code);
        let mut message = self.record(channel, MessageStatus::Failed);
        message.error = Some(error);
        SendResult::Record(Box::new(EndedMessage { owner: lease.owner, message, event: None }))
    }
}

#[cfg(test)]
impl Work {
    /// A text to a fan.
    pub fn example(id: &str) -> Self {
        Self {
            id: id.into(),
            tenant_id: "ten_1".into(),
            app_id: "wx1".into(),
            to: "o1".into(),
            content: Some(serde_json::json!({ "msgtype": "text", "text": { "content": id } })),
            template: None,
            created_at: 0,
            receive_count: 1,
            waited: false,
            queue_message_id: "job".into(),
            queue_group: "wx1#o1".into(),
            lag_ms: 0,
            span: Span::none(),
        }
    }
}
