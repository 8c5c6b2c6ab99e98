//! Automatic replies of an account.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::content::{ContentError, Reply};
use super::push::{Push, PushKind};

/// Keywords of one account.
pub const MAX_KEYWORDS: usize = 200;
/// Characters of one keyword.
pub const MAX_KEYWORD_CHARS: usize = 60;
/// Bytes of all rules as JSON: they are one item, and a DynamoDB item ends at 400 KB.
pub const MAX_RULES_BYTES: usize = 256 * 1024;

/// How a keyword is compared with a text; surrounding whitespace and case are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeywordMatch {
    /// The text is the keyword.
    Exact,
    /// The text contains the keyword.
    Contains,
}

/// One keyword with its reply.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeywordRule {
    /// As the tenant wrote it.
    pub keyword: String,
    /// How it is compared.
    #[serde(rename = "match")]
    pub matching: KeywordMatch,
    /// The reply.
    pub reply: Reply,
    /// In lower case, computed once and not for every push.
    #[serde(skip)]
    normalized: String,
}

/// The rules of one account. The API's JSON and the stored JSON are the same.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct ReplyRules {
    /// To a follow.
    pub on_subscribe: Option<Reply>,
    /// To a text; the first that matches, exact ones before the others.
    pub keywords: Vec<KeywordRule>,
    /// To every message that no keyword matches.
    pub default: Option<Reply>,
}

impl TryFrom<Value> for ReplyRules {
    type Error = ContentError;

    /// Reads stored rules. Missing members are empty.
    fn try_from(value: Value) -> Result<Self, ContentError> {
        Self::from_json(value, Reply::try_from)
    }
}

impl ReplyRules {
    /// Validates new rules: they replace all others, so each member must be present.
    ///
    /// # Errors
    /// The first member that is wrong, with its path.
    pub fn parse(value: Value) -> Result<Self, ContentError> {
        for name in ["on_subscribe", "keywords", "default"] {
            if value.is_object() && value.get(name).is_none() {
                let none = if name == "keywords" { "[]" } else { "null" };
                let message = format!("must be there: these rules replace all others; {none} for none");
                return Err(ContentError::new(name, message));
            }
        }
        if value.get("keywords").is_some_and(Value::is_null) {
            return Err(ContentError::new("keywords", "must be an array; [] for none"));
        }
        let rules = Self::from_json(value, Reply::parse)?;
        for (index, keyword) in rules.keywords.iter().enumerate() {
            let same = |other: &KeywordRule| {
                (other.matching, &other.normalized) == (keyword.matching, &keyword.normalized)
            };
            if let Some(first) = rules.keywords.iter().take(index).position(same) {
                let message = format!("is the same as keywords[{first}]'s, which would always be taken");
                return Err(ContentError::new(format!("keywords[{index}].keyword"), message));
            }
        }
        Ok(rules)
    }

    fn from_json(
        mut value: Value,
        parse: impl Fn(Value) -> Result<Reply, ContentError>,
    ) -> Result<Self, ContentError> {
        if !value.is_object() {
            return Err(ContentError::new("", "must be an object"));
        }
        if value.to_string().len() > MAX_RULES_BYTES {
            return Err(ContentError::new("", format!("must have at most {MAX_RULES_BYTES} bytes of JSON")));
        }
        let mut reply = |name: &str| match value.get_mut(name).map(Value::take) {
            None | Some(Value::Null) => Ok(None),
            Some(reply) => parse(reply).map(Some).map_err(|error| error.with_parent_path(name)),
        };
        let (on_subscribe, default) = (reply("on_subscribe")?, reply("default")?);
        let keywords = match value.get_mut("keywords").map(Value::take) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(keywords)) if keywords.len() <= MAX_KEYWORDS => keywords,
            Some(_) => {
                let message = format!("must be an array of at most {MAX_KEYWORDS} keywords");
                return Err(ContentError::new("keywords", message));
            }
        };
        let keywords = keywords.into_iter().enumerate().map(|(index, keyword)| {
            KeywordRule::from_json(keyword, &parse)
                .map_err(|error| error.with_parent_path(&format!("keywords[{index}]")))
        });
        Ok(Self { on_subscribe, keywords: keywords.collect::<Result<_, _>>()?, default })
    }

    /// The reply to a push, if there is one.
    #[must_use]
    pub fn choose(&self, push: &Push<'_>) -> Option<&Reply> {
        match &push.kind {
            PushKind::Subscribe { .. } => self.on_subscribe.as_ref(),
            PushKind::Text { content } => self.by_keyword(content).or(self.default.as_ref()),
            _ if push.is_message() => self.default.as_ref(),
            _ => None,
        }
    }

    fn by_keyword(&self, text: &str) -> Option<&Reply> {
        if self.keywords.is_empty() {
            return None;
        }
        let text = normalize(text);
        let first = |matching, fits: &dyn Fn(&str) -> bool| {
            self.keywords.iter().find(|rule| rule.matching == matching && fits(&rule.normalized))
        };
        first(KeywordMatch::Exact, &|keyword| text == keyword)
            .or_else(|| first(KeywordMatch::Contains, &|keyword| text.contains(keyword)))
            .map(|rule| &rule.reply)
    }
}

impl KeywordRule {
    fn from_json(
        mut value: Value,
        parse: impl Fn(Value) -> Result<Reply, ContentError>,
    ) -> Result<Self, ContentError> {
        let keyword = value.get("keyword").and_then(Value::as_str).unwrap_or_default().to_owned();
        let folded = normalize(&keyword);
        if folded.is_empty() || keyword.chars().count() > MAX_KEYWORD_CHARS {
            let message = format!("must be a string of 1 to {MAX_KEYWORD_CHARS} characters");
            return Err(ContentError::new("keyword", message));
        }
        let matching = match value.get("match").and_then(Value::as_str) {
            Some("exact") => KeywordMatch::Exact,
            Some("contains") => KeywordMatch::Contains,
            _ => return Err(ContentError::new("match", "must be `exact` or `contains`")),
        };
        let reply = value.get_mut("reply").map(Value::take).unwrap_or_default();
        let reply = parse(reply).map_err(|error| error.with_parent_path("reply"))?;
        Ok(Self { keyword, matching, reply, normalized: folded })
    }
}

fn normalize(text: &str) -> String {
    text.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::test_push::push;
    use serde_json::json;

    fn text(content: &str) -> Value {
        json!({"msgtype": "text", "text": {"content": content}})
    }

    #[test]
    fn the_first_rule_that_fits_answers() {
        let rules = ReplyRules::parse(json!({
            "on_subscribe": text("welcome"),
            "keywords": [
                {"keyword": "price", "match": "contains", "reply": text("contains price")},
                {"keyword": " Price ", "match": "exact", "reply": text("exactly price")},
                {"keyword": "ÄRGER", "match": "contains", "reply": text("sorry")},
                {"keyword": "人工", "match": "exact", "reply": {"msgtype": "transfer_customer_service"}},
            ],
            "default": text("default"),
        }))
        .unwrap();
        let said = |content: &str| push(&format!("<MsgType>text</MsgType><Content>{content}</Content>"));
        let event = |name: &str| push(&format!("<MsgType>event</MsgType><Event>{name}</Event>"));
        for (what, push, reply) in [
            ("a follow", event("subscribe"), Some("welcome")),
            ("exact goes before contains", said("PRICE"), Some("exactly price")),
            ("a keyword inside", said("the Price, please"), Some("contains price")),
            ("case of other letters", said("so viel ärger"), Some("sorry")),
            ("a text that nothing fits", said("hello"), Some("default")),
            ("a picture", push("<MsgType>image</MsgType>"), Some("default")),
            ("a message of a new kind", push("<MsgType>hologram</MsgType>"), Some("default")),
            ("a click", event("CLICK"), None),
            ("an unfollow", event("unsubscribe"), None),
        ] {
            let chosen = rules.choose(&push).map(|reply| Value::from(reply.clone()));
            assert_eq!(chosen, reply.map(text), "{what}");
        }
        assert_eq!(rules.choose(&said("人工")), Some(&Reply::Transfer { kf_account: None }));
        let stored = serde_json::to_value(&rules).unwrap();
        assert_eq!(serde_json::from_value::<ReplyRules>(stored).unwrap(), rules);
    }

    #[test]
    fn wrong_rules_are_told_where() {
        let keyword = |keyword: &str| json!({"keyword": keyword, "match": "exact", "reply": text("a")});
        let whole = |part: Value| {
            let mut whole = json!({"on_subscribe": null, "keywords": [], "default": null});
            for (name, value) in part.as_object().into_iter().flatten() {
                whole[name] = value.clone();
            }
            whole
        };
        for (what, rules, path) in [
            ("no object", json!([]), ""),
            ("nothing at all", json!({}), "on_subscribe"),
            ("no keywords", json!({"on_subscribe": null, "default": null}), "keywords"),
            (
                "keywords that are null",
                json!({"on_subscribe": null, "keywords": null, "default": null}),
                "keywords",
            ),
            ("no default", json!({"on_subscribe": null, "keywords": []}), "default"),
        ] {
            assert_eq!(ReplyRules::parse(rules).unwrap_err().path, path, "{what}");
        }
        for (what, rules, path) in [
            ("an empty welcome", json!({"on_subscribe": text("")}), "on_subscribe.text.content"),
            ("a default that is a string", json!({"default": "hi"}), "default"),
            ("keywords that are no list", json!({"keywords": {}}), "keywords"),
            (
                "the same keyword, spelled otherwise",
                json!({"keywords": [keyword("menu"), keyword("b"), keyword("MENU ")]}),
                "keywords[2].keyword",
            ),
            ("201 keywords", json!({"keywords": vec![keyword("a"); 201]}), "keywords"),
            ("a blank keyword", json!({"keywords": [keyword("a"), keyword(" ")]}), "keywords[1].keyword"),
            (
                "a keyword of 61 characters",
                json!({"keywords": [keyword(&"你".repeat(61))]}),
                "keywords[0].keyword",
            ),
            (
                "another way to compare",
                json!({"keywords": [{"keyword": "a", "match": "regex", "reply": text("a")}]}),
                "keywords[0].match",
            ),
            ("no reply", json!({"keywords": [{"keyword": "a", "match": "exact"}]}), "keywords[0].reply"),
            ("too much in all", json!({"x": "x".repeat(MAX_RULES_BYTES)}), ""),
        ] {
            assert_eq!(ReplyRules::parse(whole(rules)).unwrap_err().path, path, "{what}");
        }
        let longest = |n: u32| keyword(&format!("{n:03}{}", "你".repeat(57)));
        assert!(
            ReplyRules::parse(whole(json!({"keywords": (0..200).map(longest).collect::<Vec<_>>()}))).is_ok()
        );
        let both = json!([keyword("a"), {"keyword": "a", "match": "contains", "reply": text("b")}]);
        assert!(ReplyRules::parse(whole(json!({"keywords": both}))).is_ok(), "once exact, once inside");
        let stored: ReplyRules = serde_json::from_value(json!({})).unwrap();
        assert_eq!(stored, ReplyRules::default());
    }
}
