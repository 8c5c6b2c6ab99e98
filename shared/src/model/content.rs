//! What an account sends: WeChat's customer-service message JSON without `touser`, validated.
//!
//! # Source
//! WeChat "Send customer-service message" for the members; lengths from the error codes 45002 and 45008.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// Bytes of a text.
pub const MAX_TEXT_BYTES: usize = 2048;
/// Bytes of every other string: ids, titles, URLs.
const MAX_STRING_BYTES: usize = 2048;
/// Entries of a `msgmenu`; WeChat returns 45098 beyond its own, undocumented, limit.
const MAX_MENU_ITEMS: usize = 50;
/// Bytes of the whole JSON. WeChat's own members are far below.
pub const MAX_CONTENT_BYTES: usize = 16 * 1024;

/// What is wrong with a content, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path}: {message}")]
pub struct ContentError {
    /// The JSON path, such as `news.articles[0].title`.
    pub path: String,
    /// What a valid value is.
    pub message: String,
}

impl ContentError {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }

    /// The same error with `parent` before its path.
    #[must_use]
    pub fn with_parent_path(self, parent: &str) -> Self {
        let path = if self.path.is_empty() { parent.to_owned() } else { format!("{parent}.{}", self.path) };
        Self { path, ..self }
    }
}

/// Whether a member must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}
use Presence::{Optional, Required};

/// The message types that a customer-service message may have.
pub fn message_types() -> impl Iterator<Item = &'static str> {
    MESSAGE_TYPES.iter().map(|(name, _)| *name)
}

/// Message types and the string members of their object. `news` and `msgmenu` also have lists.
const MESSAGE_TYPES: [(&str, &[(&str, Presence)]); 11] = [
    ("text", &[("content", Required)]),
    ("image", &[("media_id", Required)]),
    ("voice", &[("media_id", Required)]),
    (
        "video",
        &[
            ("media_id", Required),
            ("thumb_media_id", Optional),
            ("title", Optional),
            ("description", Optional),
        ],
    ),
    (
        "music",
        &[
            ("musicurl", Required),
            ("thumb_media_id", Required),
            ("hqmusicurl", Optional),
            ("title", Optional),
            ("description", Optional),
        ],
    ),
    ("news", &[]),
    ("mpnews", &[("media_id", Required)]),
    ("mpnewsarticle", &[("article_id", Required)]),
    ("msgmenu", &[("head_content", Optional), ("tail_content", Optional)]),
    ("wxcard", &[("card_id", Required)]),
    (
        "miniprogrampage",
        &[("appid", Required), ("pagepath", Required), ("thumb_media_id", Required), ("title", Optional)],
    ),
];
const ARTICLE_MEMBERS: [(&str, Presence); 4] =
    [("title", Required), ("url", Required), ("description", Optional), ("picurl", Optional)];

/// A validated message; WeChat's JSON is kept as it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Content(CheckedJson);

/// The JSON behind a [`Content`], checked wherever it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
struct CheckedJson(Value);

impl TryFrom<Value> for CheckedJson {
    type Error = ContentError;

    fn try_from(value: Value) -> Result<Self, ContentError> {
        check(&value)?;
        Ok(Self(value))
    }
}

impl From<CheckedJson> for Value {
    fn from(checked: CheckedJson) -> Self {
        checked.0
    }
}

impl TryFrom<Value> for Content {
    type Error = ContentError;

    fn try_from(value: Value) -> Result<Self, ContentError> {
        CheckedJson::try_from(value).map(Self)
    }
}

impl Content {
    /// Validates a new message by the current rules; stored messages stay readable when rules are added here.
    ///
    /// # Errors
    /// The first member that is wrong.
    pub fn parse(value: Value) -> Result<Self, ContentError> {
        let content = Self::try_from(value)?;
        check_other_objects(content.as_json())?;
        check_link(content.as_json(), "/news/articles/0/url", "news.articles[0].url")?;
        Ok(content)
    }

    /// A text, truncated to what WeChat accepts.
    #[must_use]
    pub fn text(content: &str) -> Self {
        let mut end = content.len().min(MAX_TEXT_BYTES);
        while !content.is_char_boundary(end) {
            end -= 1;
        }
        let content = content.get(..end).unwrap_or_default();
        Self(CheckedJson(serde_json::json!({"msgtype": "text", "text": {"content": content}})))
    }

    /// WeChat's JSON, without `touser`.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.0.0
    }

    /// Its `msgtype`.
    #[must_use]
    pub fn msg_type(&self) -> &str {
        self.as_json().get("msgtype").and_then(Value::as_str).unwrap_or_default()
    }
}

pub(super) fn string_member<'v>(of: Option<&'v Value>, name: &str) -> &'v str {
    of.and_then(|value| value.get(name)).and_then(Value::as_str).unwrap_or_default()
}

fn check(value: &Value) -> Result<(), ContentError> {
    let Some(whole) = value.as_object() else {
        return Err(ContentError::new("", "must be an object"));
    };
    if whole.contains_key("touser") {
        return Err(ContentError::new(
            "touser",
            "must not be there: the recipient is named outside of the content",
        ));
    }
    if value.to_string().len() > MAX_CONTENT_BYTES {
        return Err(ContentError::new("", format!("must have at most {MAX_CONTENT_BYTES} bytes of JSON")));
    }
    let Some(msg_type) = whole.get("msgtype").and_then(Value::as_str) else {
        return Err(ContentError::new("msgtype", "must be a string"));
    };
    let Some((name, members)) = MESSAGE_TYPES.iter().find(|(name, _)| *name == msg_type) else {
        let names: Vec<&str> = MESSAGE_TYPES.iter().map(|(name, _)| *name).collect();
        return Err(ContentError::new("msgtype", format!("must be one of {}", names.join(", "))));
    };
    let Some(object) = whole.get(*name).filter(|object| object.is_object()) else {
        return Err(ContentError::new(*name, "must be an object"));
    };
    check_strings(object, name, members)?;
    match *name {
        "news" => check_news(object),
        "msgmenu" => check_menu(object),
        _ => Ok(()),
    }
}

/// Objects of other message types have no effect; anything but an object there is a mistake.
fn check_other_objects(value: &Value) -> Result<(), ContentError> {
    let wrong = |name: &&str| value.get(*name).is_some_and(|v| !v.is_object() && !v.is_null());
    match MESSAGE_TYPES.iter().map(|(name, _)| name).find(|name| wrong(name)) {
        Some(name) => Err(ContentError::new(*name, "must be an object, or left out")),
        None => Ok(()),
    }
}

/// Whether `text` is a link that a follower can open.
#[must_use]
pub fn is_link(text: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
}

fn check_link(value: &Value, pointer: &str, path: &str) -> Result<(), ContentError> {
    match value.pointer(pointer).and_then(Value::as_str) {
        Some(url) if !is_link(url) => Err(ContentError::new(path, "must begin with http:// or https://")),
        _ => Ok(()),
    }
}

fn check_strings(object: &Value, path: &str, members: &[(&str, Presence)]) -> Result<(), ContentError> {
    for (name, need) in members {
        let at = format!("{path}.{name}");
        match object.get(name) {
            None | Some(Value::Null) if *need == Optional => {}
            Some(Value::String(text)) if text.is_empty() && *need == Required => {
                return Err(ContentError::new(at, "must not be empty"));
            }
            Some(Value::String(text)) => {
                let most = if path == "text" { MAX_TEXT_BYTES } else { MAX_STRING_BYTES };
                if text.len() > most {
                    return Err(ContentError::new(at, format!("must have at most {most} bytes")));
                }
            }
            _ => return Err(ContentError::new(at, "must be a string")),
        }
    }
    Ok(())
}

/// WeChat delivers one article; more are shown as nothing (reply) or refused with 45008 (customer service).
fn check_news(news: &Value) -> Result<(), ContentError> {
    match news.get("articles").and_then(Value::as_array).map(Vec::as_slice) {
        Some([article]) => check_strings(article, "news.articles[0]", &ARTICLE_MEMBERS),
        _ => Err(ContentError::new("news.articles", "must be an array of exactly 1 article")),
    }
}

fn check_menu(menu: &Value) -> Result<(), ContentError> {
    let list = menu.get("list").and_then(Value::as_array).filter(|list| !list.is_empty());
    let Some(list) = list.filter(|list| list.len() <= MAX_MENU_ITEMS) else {
        return Err(ContentError::new(
            "msgmenu.list",
            format!("must be an array of 1 to {MAX_MENU_ITEMS} items"),
        ));
    };
    for (index, item) in list.iter().enumerate() {
        let path = format!("msgmenu.list[{index}]");
        if !item.get("id").is_some_and(Value::is_number) {
            check_strings(item, &path, &[("id", Required)])?;
        }
        check_strings(item, &path, &[("content", Required)])?;
    }
    Ok(())
}

/// The `msgtype` that transfers the follower's message to WeChat's own customer-service client.
pub(super) const TRANSFER_MSG_TYPE: &str = "transfer_customer_service";

/// What a reply rule sends: a content, or a transfer to customer service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Reply {
    /// A message.
    Content(Content),
    /// `transfer_customer_service`, to one agent if `kf_account` names one.
    Transfer {
        /// `name@account`.
        kf_account: Option<String>,
    },
}

impl TryFrom<Value> for Reply {
    type Error = ContentError;

    fn try_from(value: Value) -> Result<Self, ContentError> {
        if value.get("msgtype").and_then(Value::as_str) != Some(TRANSFER_MSG_TYPE) {
            return Content::try_from(value).map(Self::Content);
        }
        match value.get("kf_account") {
            None | Some(Value::Null) => Ok(Self::Transfer { kf_account: None }),
            Some(Value::String(name)) if !name.is_empty() && name.len() <= MAX_STRING_BYTES => {
                Ok(Self::Transfer { kf_account: Some(name.clone()) })
            }
            Some(_) => Err(ContentError::new("kf_account", "must be an agent's account, `name@account`")),
        }
    }
}

impl Reply {
    /// Validates a new reply by the current rules.
    ///
    /// # Errors
    /// The first member that is wrong.
    pub fn parse(value: Value) -> Result<Self, ContentError> {
        if value.get("msgtype").and_then(Value::as_str) == Some(TRANSFER_MSG_TYPE) {
            return Self::try_from(value);
        }
        Content::parse(value).map(Self::Content).map_err(|mut error| {
            if error.path == "msgtype" && error.message.starts_with("must be one of") {
                error.message = format!("{}, {TRANSFER_MSG_TYPE}", error.message);
            }
            error
        })
    }
}

impl From<Reply> for Value {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Content(content) => content.0.0,
            Reply::Transfer { kf_account: None } => serde_json::json!({"msgtype": TRANSFER_MSG_TYPE}),
            Reply::Transfer { kf_account: Some(name) } => {
                serde_json::json!({"msgtype": TRANSFER_MSG_TYPE, "kf_account": name})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_wrong_content_is_told_where() {
        for (what, value, path) in [
            ("no object", json!("hi"), ""),
            ("a recipient", json!({"touser": "o1", "msgtype": "text", "text": {"content": "hi"}}), "touser"),
            ("no type", json!({"text": {"content": "hi"}}), "msgtype"),
            ("a type that does not exist", json!({"msgtype": "hologram"}), "msgtype"),
            ("a transfer is no message", json!({"msgtype": TRANSFER_MSG_TYPE}), "msgtype"),
            ("no object of its type", json!({"msgtype": "text", "image": {"media_id": "m"}}), "text"),
            ("an empty text", json!({"msgtype": "text", "text": {"content": ""}}), "text.content"),
            ("a number for a text", json!({"msgtype": "text", "text": {"content": 1}}), "text.content"),
            (
                "a text of 2,049 bytes",
                json!({"msgtype": "text", "text": {"content": "x".repeat(2049)}}),
                "text.content",
            ),
            (
                "a text of 683 characters",
                json!({"msgtype": "text", "text": {"content": "你".repeat(683)}}),
                "text.content",
            ),
            ("an image of nothing", json!({"msgtype": "image", "image": {}}), "image.media_id"),
            ("no article", json!({"msgtype": "news", "news": {"articles": []}}), "news.articles"),
            (
                "two articles",
                json!({"msgtype": "news", "news": {"articles": [{"title": "a", "url": "b"}, {"title": "a", "url": "b"}]}}),
                "news.articles",
            ),
            (
                "an article without a link",
                json!({"msgtype": "news", "news": {"articles": [{"title": "a"}]}}),
                "news.articles[0].url",
            ),
            (
                "an article that links nowhere",
                json!({"msgtype": "news", "news": {"articles": [{"title": "a", "url": "notaurl"}]}}),
                "news.articles[0].url",
            ),
            (
                "an object of another type that is none",
                json!({"msgtype": "text", "text": {"content": "a"}, "wxcard": [null, null]}),
                "wxcard",
            ),
            (
                "a menu without choices",
                json!({"msgtype": "msgmenu", "msgmenu": {"list": []}}),
                "msgmenu.list",
            ),
            (
                "a choice without a text",
                json!({"msgtype": "msgmenu", "msgmenu": {"list": [{"id": 1, "content": "a"}, {"id": "2"}]}}),
                "msgmenu.list[1].content",
            ),
            (
                "a page of no app",
                json!({"msgtype": "miniprogrampage", "miniprogrampage": {"title": "a"}}),
                "miniprogrampage.appid",
            ),
        ] {
            assert_eq!(Content::parse(value).unwrap_err().path, path, "{what}");
        }
    }

    #[test]
    fn what_is_right_is_kept_as_it_came() {
        for value in [
            json!({"msgtype": "text", "text": {"content": "x".repeat(2048)}}),
            json!({"msgtype": "video", "video": {"media_id": "m"}, "customservice": {"kf_account": "a@b"}}),
            json!({"msgtype": "mpnews", "mpnews": {"media_id": "m"}}),
            json!({"msgtype": TRANSFER_MSG_TYPE, "kf_account": "a@b"}),
            json!({"msgtype": TRANSFER_MSG_TYPE}),
        ] {
            let reply: Reply = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(&reply).unwrap(), value);
        }
        assert!(
            serde_json::from_value::<Reply>(json!({"msgtype": TRANSFER_MSG_TYPE, "kf_account": 1})).is_err()
        );
        assert_eq!(
            string_member(Content::text(&"你".repeat(1000)).as_json().get("text"), "content").len(),
            2046
        );
    }
}
