//! Customer-service messages: within the windows that a follower's actions open.

use serde_json::{Value, json};

use super::endpoint::{ApiRequest, ok};
use crate::error::ApiError;
use crate::state::chat::{ChatItem, Sender};

/// Longest text.
const MAX_TEXT_BYTES: usize = 2048;
/// How long after a follower's action typing may be shown.
const TYPING_SECONDS: i64 = 30;

/// `message/custom/send`.
pub(super) fn send(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    let openid = request.require("touser", 40003)?;
    let kind = request.require("msgtype", 40008)?;
    let text = text_on_phone(&kind, request.body.get(&kind))?;
    let (now, id, data) = (request.now, request.world.state.next_id(), request.body.clone());
    let account = request.account()?;
    let follower = account.followers.get(&openid).ok_or_else(|| ApiError::new(40003))?;
    if !follower.subscribed {
        return Err(ApiError::new(45015));
    }
    let chat = account.chats.entry(openid).or_default();
    chat.use_send(now).map_err(ApiError::new)?;
    chat.push(ChatItem {
        id,
        at: now,
        side: Sender::Account,
        channel: "customer_service".into(),
        kind,
        text,
        data,
    });
    Ok(ok())
}

/// What a phone shows, or the error of an invalid message.
fn text_on_phone(kind: &str, content: Option<&Value>) -> Result<String, ApiError> {
    let get =
        |path: &str| content.and_then(|c| c.pointer(path)).and_then(Value::as_str).filter(|t| !t.is_empty());
    let need = |path: &str, errcode: i64| get(path).map(str::to_owned).ok_or_else(|| ApiError::new(errcode));
    Ok(match kind {
        "text" => {
            let text = need("/content", 44004)?;
            if text.len() > MAX_TEXT_BYTES {
                return Err(ApiError::new(45002));
            }
            text
        }
        "image" => format!("[picture {}]", need("/media_id", 40007)?),
        "voice" => format!("[voice {}]", need("/media_id", 40007)?),
        "video" => format!("[video {}]", need("/media_id", 40007)?),
        "mpnews" => format!("[article {}]", need("/media_id", 40007)?),
        "mpnewsarticle" => format!("[article {}]", need("/article_id", 53600)?),
        "music" => format!("[music {}]", get("/title").unwrap_or("untitled")),
        "news" => match content.and_then(|c| c.get("articles")).and_then(Value::as_array).map(Vec::len) {
            Some(1) => format!(
                "{}\n{}",
                need("/articles/0/title", 45003)?,
                get("/articles/0/url").unwrap_or_default()
            ),
            _ => return Err(ApiError::new(45008)),
        },
        "msgmenu" => {
            let items =
                content.and_then(|c| c.get("list")).and_then(Value::as_array).cloned().unwrap_or_default();
            if items.is_empty() {
                return Err(ApiError::new(45098));
            }
            let lines = items
                .iter()
                .filter_map(|i| i.get("content").and_then(Value::as_str))
                .map(|i| format!("• {i}"));
            let lines: Vec<_> = lines.collect();
            [
                get("/head_content").unwrap_or_default(),
                &lines.join("\n"),
                get("/tail_content").unwrap_or_default(),
            ]
            .join("\n")
            .trim()
            .to_owned()
        }
        "wxcard" => format!("[card {}]", need("/card_id", 40078)?),
        "miniprogrampage" => {
            need("/appid", 40166)?;
            format!("[mini program {}]", get("/title").unwrap_or("untitled"))
        }
        _ => return Err(ApiError::new(40008)),
    })
}

/// `message/custom/typing`.
pub(super) fn typing(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    let (openid, command, now) = (request.require("touser", 40003)?, request.text("command"), request.now);
    let account = request.account()?;
    account.followers.get(&openid).filter(|f| f.subscribed).ok_or_else(|| ApiError::new(40003))?;
    let chat = account.chats.entry(openid).or_default();
    match command.as_str() {
        "Typing" if chat.interacted_at == 0 || now >= chat.interacted_at + TYPING_SECONDS => {
            Err(ApiError::new(45080))
        }
        "Typing" if chat.typing_since.is_some_and(|since| now < since + TYPING_SECONDS) => {
            Err(ApiError::new(45081))
        }
        "Typing" => {
            chat.typing_since = Some(now);
            Ok(json!({"errcode": 0, "errmsg": "ok"}))
        }
        "CancelTyping" => {
            chat.typing_since = None;
            Ok(ok())
        }
        _ => Err(ApiError::new(45072)),
    }
}
