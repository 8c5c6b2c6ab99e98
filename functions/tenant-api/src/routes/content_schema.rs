//! The API description's schema of WeChat's message JSON. [`shared::model::content`] validates it.

#![expect(dead_code, reason = "only described, never built")]

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// WeChat's customer-service message JSON without `touser`: `msgtype` and the object of that name. What WeChat
/// defines besides is passed on as it is.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"msgtype": "text", "text": {"content": "Your table is ready."}}))]
pub struct Content {
    /// Which object says what is sent.
    msgtype: MsgType,
    /// A text: `{"content"}`, at most 2,048 bytes of UTF-8.
    #[schema(value_type = Option<Object>)]
    text: Option<Value>,
    /// A picture: `{"media_id"}`.
    #[schema(value_type = Option<Object>)]
    image: Option<Value>,
    /// A voice message: `{"media_id"}`.
    #[schema(value_type = Option<Object>)]
    voice: Option<Value>,
    /// A video: `{"media_id","thumb_media_id"?,"title"?,"description"?}`.
    #[schema(value_type = Option<Object>)]
    video: Option<Value>,
    /// Music: `{"musicurl","hqmusicurl"?,"thumb_media_id","title"?,"description"?}`.
    #[schema(value_type = Option<Object>)]
    music: Option<Value>,
    /// A link to a web page: `{"articles":[{"title","description"?,"url","picurl"?}]}`, exactly one article.
    #[schema(value_type = Option<Object>)]
    news: Option<Value>,
    /// Articles of the account's library: `{"media_id"}`.
    #[schema(value_type = Option<Object>)]
    mpnews: Option<Value>,
    /// A published article: `{"article_id"}`.
    #[schema(value_type = Option<Object>)]
    mpnewsarticle: Option<Value>,
    /// A menu to choose from: `{"head_content"?,"list":[{"id","content"}],"tail_content"?}`.
    #[schema(value_type = Option<Object>)]
    msgmenu: Option<Value>,
    /// A coupon: `{"card_id"}`.
    #[schema(value_type = Option<Object>)]
    wxcard: Option<Value>,
    /// A page of a Mini Program: `{"appid","pagepath","thumb_media_id","title"?}`.
    #[schema(value_type = Option<Object>)]
    miniprogrampage: Option<Value>,
}

/// Message types.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MsgType {
    Text,
    Image,
    Voice,
    Video,
    Music,
    News,
    Mpnews,
    Mpnewsarticle,
    Msgmenu,
    Wxcard,
    Miniprogrampage,
}

/// A reply: a Content, or `{"msgtype":"transfer_customer_service","kf_account"?}`, which hands the fan's
/// message to WeChat's own customer-service client.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Reply {
    /// A message.
    Content(Box<Content>),
    /// A transfer.
    Transfer(Transfer),
}

/// Hands the fan's message to WeChat's customer-service client.
#[derive(Serialize, ToSchema)]
pub struct Transfer {
    /// `transfer_customer_service`
    msgtype: TransferType,
    /// One agent, `name@account`; anybody if left out.
    #[schema(min_length = 1, max_length = 2048)]
    kf_account: Option<String>,
}

/// The type of a transfer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransferType {
    TransferCustomerService,
}

/// The rules by which an account answers by itself.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "on_subscribe": {"msgtype": "text", "text": {"content": "Welcome!"}},
    "keywords": [{
        "keyword": "menu", "match": "contains",
        "reply": {"msgtype": "news", "news": {"articles": [{"title": "Menu", "url": "https://cafe.example.com/menu"}]}}
    }],
    "default": {"msgtype": "transfer_customer_service"}
}))]
pub struct ReplyRules {
    /// What a new follower is answered; null for nothing.
    #[schema(required)]
    on_subscribe: Option<Reply>,
    /// What a text is answered: the first that fits, exact ones before the others. At most 200, none twice.
    #[schema(max_items = 200)]
    keywords: Vec<Keyword>,
    /// What every other message is answered; null for nothing.
    #[schema(required)]
    default: Option<Reply>,
}

/// A keyword and its reply.
#[derive(Serialize, ToSchema)]
pub struct Keyword {
    /// Compared without case and without blanks around: 1 to 60 characters.
    #[schema(min_length = 1, max_length = 60)]
    keyword: String,
    /// How it is compared.
    r#match: Match,
    /// What is answered.
    reply: Reply,
}

/// How a keyword is compared.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// The text is the keyword.
    Exact,
    /// The keyword is somewhere in the text.
    Contains,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use shared::model::content::message_types;

    #[test]
    fn the_description_knows_the_types_that_are_taken() {
        let description: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
        let schemas = &description["components"]["schemas"];
        let types: BTreeSet<&str> = message_types().collect();
        let words = schemas["MsgType"]["enum"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
        assert_eq!(words.collect::<BTreeSet<_>>(), types);
        let objects = schemas["Content"]["properties"].as_object().unwrap().keys().map(String::as_str);
        assert_eq!(objects.filter(|name| *name != "msgtype").collect::<BTreeSet<_>>(), types);
    }
}
