//! Template messages: to any follower at any time; the result is pushed as an event.

use serde_json::{Value, json};

use super::endpoint::ApiRequest;
use crate::error::ApiError;
use crate::state::account::MessageTemplate;
use crate::state::chat::{ChatItem, Sender};
use crate::state::is_cleanup_due;
use crate::state::outgoing_push::{CallbackUrl, OutgoingPush};
use crate::xml::XmlBuilder;

/// Repeating a `client_msg_id` to the same follower within this time sends no second message.
const DEDUP_SECONDS: i64 = 600;

/// `template/get_all_private_template`.
pub(super) fn list(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    let templates = &request.account()?.templates;
    let list: Vec<Value> = templates
        .iter()
        .map(|t| {
            json!({
                "template_id": t.template_id, "title": t.title, "primary_industry": "", "deputy_industry": "",
                "content": t.content, "example": t.example,
            })
        })
        .collect();
    Ok(json!({"template_list": list}))
}

/// `message/template/send`.
pub(super) fn send(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    let openid = request.require("touser", 40003)?;
    let template_id = request.require("template_id", 40037)?;
    let client_msg_id = request.text("client_msg_id");
    let (now, app_id, delay_ms) =
        (request.now, request.app_id().to_owned(), request.world.state.settings.result_delay_ms);
    let msg_id = request.world.next_msg_id();
    let item_id = request.world.state.next_id();
    let data = request.body.clone();
    let account = request.account()?;
    let template = account.templates.iter().find(|t| t.template_id == template_id);
    let text = fill_template(template.ok_or_else(|| ApiError::new(40037))?, data.get("data"))?;
    let follower = account.followers.get(&openid).ok_or_else(|| ApiError::new(40003))?;
    if !follower.subscribed {
        return Err(ApiError::new(43004));
    }
    if is_cleanup_due(account.template_dedup.len()) {
        account.template_dedup.retain(|_, (_, at)| now < *at + DEDUP_SECONDS);
    }
    if !client_msg_id.is_empty() {
        let key = format!("{openid} {client_msg_id}");
        if let Some((earlier, _)) =
            account.template_dedup.get(&key).filter(|(_, at)| now < *at + DEDUP_SECONDS)
        {
            return Ok(json!({"errcode": 0, "errmsg": "ok", "msgid": earlier}));
        }
        account.template_dedup.insert(key, (msg_id, now));
    }
    let status = if follower.blocks_templates { "failed:user block" } else { "success" };
    let result = XmlBuilder::default()
        .text("ToUserName", &account.original_id)
        .text("FromUserName", &openid)
        .number("CreateTime", now)
        .text("MsgType", "event")
        .text("Event", "TEMPLATESENDJOBFINISH")
        .number("MsgID", msg_id)
        .text("Status", status)
        .build();
    if !follower.blocks_templates {
        let (side, channel, kind) = (Sender::Account, "template".to_owned(), "template".to_owned());
        let chat = account.chats.entry(openid.clone()).or_default();
        chat.push(ChatItem { id: item_id, at: now, side, channel, kind, text, data });
    }
    let push = OutgoingPush {
        target: CallbackUrl::Message,
        kind: "TEMPLATESENDJOBFINISH".into(),
        app_id: Some(app_id),
        openid: Some(openid),
        plaintext: result,
        delay_ms,
    };
    request.world.state.enqueue(push);
    Ok(json!({"errcode": 0, "errmsg": "ok", "msgid": msg_id}))
}

/// The template filled with its values; a missing or empty value is an error that names it.
fn fill_template(template: &MessageTemplate, data: Option<&Value>) -> Result<String, ApiError> {
    let mut text = template.content.clone();
    for name in template.data_names() {
        let value = data.and_then(|d| d.get(name)).and_then(|v| v.get("value")).and_then(Value::as_str);
        let value = value.filter(|v| !v.is_empty()).ok_or_else(|| {
            ApiError::with_errmsg(47003, format!("argument invalid! data.{name}.value is empty"))
        })?;
        text = text.replace(&format!("{{{{{name}.DATA}}}}"), value);
    }
    Ok(format!("{}\n{}", template.title, text.trim_end()))
}
