//! Messages to fans.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::{
    model::{
        content,
        message::{self, Channel, MessageError, MessageStatus},
    },
    problem::Problem,
    queue::jobs::SendJob,
    services::Services,
};
use utoipa::ToSchema;

use super::{content_schema::Content, find_account};
use crate::{
    caller::Caller,
    extract::{JsonBody, Path, content_problem, timestamp_ms},
};

/// Maximum characters of an openid: with the app id it forms the SQS message group id, which has at most 128.
const MAX_OPEN_ID_CHARS: usize = 100;
/// Maximum bytes of a template as JSON.
const MAX_TEMPLATE_BYTES: usize = 16 * 1024;

/// A message to be sent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "to": "oLVPpjqs9BhvzwPj5A-vTYAX3GLc",
    "content": {"msgtype": "text", "text": {"content": "Your table is ready."}},
    "template": {
        "template_id": "ngqIpbwh8bUfcSsECmogfXcV14J0tQlEpBO27izEYtY",
        "url": "https://cafe.example.com/tables/7",
        "data": {"thing1": {"value": "Table 7"}, "time2": {"value": "2026-01-15 18:30"}}
    }
}))]
pub struct NewMessage {
    /// The fan's openid.
    #[schema(min_length = 1, max_length = 100)]
    to: String,
    /// What is sent within a reply window.
    #[schema(value_type = Option<Content>)]
    content: Option<Value>,
    /// What is sent otherwise. At least one of the two must be there.
    template: Option<Template>,
}

/// A template message. The template is one that the account has added.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// WeChat's id of the template.
    #[schema(min_length = 1)]
    template_id: String,
    /// What a tap opens: http:// or https://.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// The Mini Program that a tap opens: `{"appid","pagepath"?}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    miniprogram: Option<Map<String, Value>>,
    /// WeChat's data: `{"thing1":{"value":"…"}}`, each value a string or a number.
    #[schema(value_type = Object)]
    data: Map<String, Value>,
}

/// A message and what became of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Message, example = json!({
    "id": "msg_01jd3v6m5s8qk2x9w4r7t0y1za", "app_id": "wx5a1b2c3d4e5f6071",
    "to": "oLVPpjqs9BhvzwPj5A-vTYAX3GLc", "status": "sent", "channel": "customer_service",
    "wechat_msg_id": null, "error": null,
    "created_at": "2026-01-15T08:30:00.120Z", "sent_at": "2026-01-15T08:30:00.480Z"
}))]
pub struct MessageState {
    /// `msg_…`
    id: String,
    /// The account that sends it.
    app_id: String,
    /// The fan's openid.
    to: String,
    /// Where it stands.
    status: MessageStatus,
    /// How it went; null until then.
    channel: Option<Channel>,
    /// WeChat's id of a template message.
    wechat_msg_id: Option<String>,
    /// Why it failed.
    error: Option<MessageError>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When WeChat took it.
    #[schema(value_type = Option<String>, format = DateTime)]
    sent_at: Option<Timestamp>,
}

/// Send a message
///
/// Within a reply window (48 hours after the fan wrote, 1 minute after a follow, scan or menu click) `content`
/// goes as a customer-service message; otherwise `template` goes as a template message. It is accepted at once
/// and sent in order for each fan, but one in a window does not wait for a quota of templates. Ask for the message to see what became of it: it fails with
/// `outside_reply_window` without a template, with `capability_missing` where the account may not, with
/// `account_not_bound` where it is unbound.
#[utoipa::path(post, path = "/v1/accounts/{app_id}/messages", tag = "Messages",
    params(("app_id" = String, Path, description = "WeChat's app id")),
    request_body = NewMessage,
    responses((status = 202, description = "Accepted", body = MessageState)))]
pub async fn send_message(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(app_id): Path<String>,
    JsonBody(new): JsonBody<NewMessage>,
) -> Result<(StatusCode, Json<MessageState>), Problem> {
    // A cached entry is enough: message-send checks the account again.
    let known = app.store.accounts().entry(&app_id).await?;
    if known.is_none_or(|known| known.account.tenant_id != caller.tenant) {
        find_account(&app, &caller.tenant, &app_id).await?;
    }
    let (content, template) = validate(&new)?;
    let text = |json: &Option<Value>| json.as_ref().map(Value::to_string);
    let message = message::MessageRecord {
        id: caller.new_id(&app, "msg"),
        tenant_id: caller.tenant,
        app_id,
        to: new.to,
        status: MessageStatus::Queued,
        channel: None,
        content: text(&content),
        template: text(&template),
        wechat_msg_id: None,
        error: None,
        created_at: app.clock.now().as_millisecond(),
        sent_at: None,
        claimed_at: None,
        claimed_by: None,
        first_claimed_at: None,
    };
    let before = app.store.messages().create(&message).await?; // from an earlier attempt with the same key
    let message = before.unwrap_or(message);
    if message.status == MessageStatus::Queued {
        let job = SendJob::MessageV1 {
            message_id: message.id.clone(),
            tenant_id: message.tenant_id.clone(),
            app_id: message.app_id.clone(),
            to: message.to.clone(),
            content,
            template,
            created_at: message.created_at,
        };
        app.queues.send(&job, &message.id).await?;
    }
    Ok((StatusCode::ACCEPTED, Json(to_api(message))))
}

/// Get a message
///
/// Kept for 90 days.
#[utoipa::path(get, path = "/v1/messages/{id}", tag = "Messages",
    params(("id" = String, Path, description = "The message's id")),
    responses((status = 200, description = "The message", body = MessageState)))]
pub async fn get_message(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<MessageState>, Problem> {
    let found = app.store.messages().get(&caller.tenant, &id).await?;
    found.map(|message| Json(to_api(message))).ok_or_else(|| Problem::not_found("message"))
}

/// Validates a message; returns content and template as they go to WeChat.
fn validate(new: &NewMessage) -> Result<(Option<Value>, Option<Value>), Problem> {
    if !(1..=MAX_OPEN_ID_CHARS).contains(&new.to.len()) || !new.to.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Problem::invalid(format!(
            "to: must be an openid: 1 to {MAX_OPEN_ID_CHARS} visible ASCII characters"
        )));
    }
    if new.content.is_none() && new.template.is_none() {
        return Err(Problem::invalid("content: must be there where there is no template"));
    }
    if let Some(content) = &new.content {
        content::Content::parse(content.clone()).map_err(|error| content_problem(error, "content"))?;
    }
    let Some(template) = &new.template else { return Ok((new.content.clone(), None)) };
    if template.template_id.is_empty() {
        return Err(Problem::invalid("template.template_id: must not be empty"));
    }
    if template.miniprogram.as_ref().is_some_and(|m| !m.get("appid").is_some_and(Value::is_string)) {
        return Err(Problem::invalid("template.miniprogram.appid: must be a string"));
    }
    if template.url.as_deref().is_some_and(|url| !url.is_empty() && !content::is_link(url)) {
        return Err(Problem::invalid("template.url: must begin with http:// or https://"));
    }
    let wrong = |value: &Value| !value.get("value").is_some_and(|v| v.is_string() || v.is_number());
    if let Some((name, _)) = template.data.iter().find(|(_, value)| wrong(value)) {
        return Err(Problem::invalid(format!(
            "template.data.{name}: must be an object with `value`, a string or a number"
        )));
    }
    let template = serde_json::to_value(template).map_err(|e| Problem::invalid(format!("template: {e}")))?;
    if template.to_string().len() > MAX_TEMPLATE_BYTES {
        return Err(Problem::invalid(format!(
            "template: must have at most {MAX_TEMPLATE_BYTES} bytes of JSON"
        )));
    }
    Ok((new.content.clone(), Some(template)))
}

fn to_api(message: message::MessageRecord) -> MessageState {
    MessageState {
        id: message.id,
        app_id: message.app_id,
        to: message.to,
        status: message.status,
        channel: message.channel,
        wechat_msg_id: message.wechat_msg_id,
        error: message.error,
        created_at: timestamp_ms(message.created_at),
        sent_at: message.sent_at.map(timestamp_ms),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn malformed_messages_are_told_where() {
        let text = json!({"msgtype": "text", "text": {"content": "hi"}});
        for (body, path) in [
            (json!({"to": "o1"}), "content"),
            (json!({"to": "", "content": text}), "to"),
            (json!({"to": "o 1", "content": text}), "to"),
            (json!({"to": "o1", "content": {"msgtype": "text"}}), "content.text"),
            (json!({"to": "o1", "template": {"template_id": "", "data": {}}}), "template.template_id"),
            (
                json!({"to": "o1", "template": {"template_id": "t", "data": {}, "miniprogram": {}}}),
                "template.miniprogram.appid",
            ),
            (
                json!({"to": "o1", "template": {"template_id": "t", "data": {"a": {"value": "x".repeat(MAX_TEMPLATE_BYTES)}}}}),
                "template",
            ),
            (
                json!({"to": "o1", "template": {"template_id": "t", "data": {"thing1": "Table 7"}}}),
                "template.data.thing1",
            ),
            (
                json!({"to": "o1", "template": {"template_id": "t", "data": {"thing1": {"value": null}}}}),
                "template.data.thing1",
            ),
            (
                json!({"to": "o1", "template": {"template_id": "t", "data": {}, "url": "notaurl"}}),
                "template.url",
            ),
        ] {
            let problem = validate(&serde_json::from_value(body).unwrap()).unwrap_err();
            assert!(problem.detail.starts_with(&format!("{path}: ")), "{}", problem.detail);
        }
        let both = json!({"to": "o1", "content": text, "template": {"template_id": "t", "data": {"a": {"value": 1}}}});
        let (content, template) = validate(&serde_json::from_value(both.clone()).unwrap()).unwrap();
        assert_eq!((content.as_ref(), template.as_ref()), (both.get("content"), both.get("template")));
    }
}
