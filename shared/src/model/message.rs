//! Outgoing messages, from accepted to delivered.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{event::StoredEvent, failure_code::FailureCode};

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
