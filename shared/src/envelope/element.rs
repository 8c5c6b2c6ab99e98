//! One push as a tree that borrows from its text. XML and JSON bodies become the same tree.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::callback_error::CallbackError;

/// Levels of elements. Real pushes have 5 at most (`MASSSENDJOBFINISH`).
pub const MAX_DEPTH: usize = 16;
/// Elements of one body. A broadcast of 8 articles, the largest real push, has about 80.
pub const MAX_ELEMENTS: usize = 2_000;
/// Bytes of one body. A text of 2,048 bytes encrypted is below 4 KiB.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// Members that have members. Other text in them is ignored; markup in any other member is its text.
pub(super) const BRANCH_NAMES: [&str; 15] = [
    "ScanCodeInfo",
    "SendPicsInfo",
    "PicList",
    "SendLocationInfo",
    "CopyrightCheckResult",
    "ArticleUrlResult",
    "ResultList",
    "item",
    "PublishEventInfo",
    "article_detail",
    "SubscribeMsgPopupEvent",
    "SubscribeMsgChangeEvent",
    "SubscribeMsgSentEvent",
    "List",
    "GuideScanEvent",
];

/// An element: a leaf with a text, or a branch with children. Never both.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element<'a> {
    /// The tag's name.
    pub name: Cow<'a, str>,
    /// The trimmed text of a leaf; empty for a branch.
    pub text: Cow<'a, str>,
    /// The children of a branch, in order.
    pub children: Vec<Element<'a>>,
}

/// The text of a body.
///
/// Invalid UTF-8 becomes U+FFFD: WeChat cuts some values in the middle of
/// a character, and refusing such a push would show its sender an error.
///
/// # Errors
/// [`CallbackError::TooLarge`] beyond [`MAX_BODY_BYTES`].
pub fn decode(body: &[u8]) -> Result<Cow<'_, str>, CallbackError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(CallbackError::TooLarge);
    }
    // `from_utf8_lossy` checks valid bytes one by one; `from_utf8` checks whole words.
    Ok(match std::str::from_utf8(body) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(body),
    })
}

impl<'a> Element<'a> {
    /// Reads a JSON object into the tree that the same push has as XML.
    pub(super) fn from_json(text: &str) -> Result<Self, CallbackError> {
        let value: Value = serde_json::from_str(text).map_err(|_| CallbackError::Malformed)?;
        let mut root = Self { name: "xml".into(), ..Self::default() };
        let mut left = MAX_ELEMENTS;
        root.fill_from_json(value, MAX_DEPTH, &mut left)?;
        Ok(root)
    }

    /// Adds a JSON value: an array becomes siblings of one name, as in XML.
    fn fill_from_json(&mut self, value: Value, depth: usize, left: &mut usize) -> Result<(), CallbackError> {
        let depth = depth.checked_sub(1).ok_or(CallbackError::TooLarge)?;
        match value {
            Value::Null => {}
            Value::Bool(truth) => self.text = if truth { "1" } else { "0" }.into(),
            Value::Number(number) => self.text = number.to_string().into(),
            Value::String(text) => self.text = text.trim().to_owned().into(),
            Value::Object(members) => {
                for (name, value) in members {
                    self.add_children(name, value, depth, left)?;
                }
            }
            Value::Array(items) => self.add_children("item".into(), Value::Array(items), depth, left)?,
        }
        Ok(())
    }

    fn add_children(
        &mut self,
        name: String,
        value: Value,
        depth: usize,
        left: &mut usize,
    ) -> Result<(), CallbackError> {
        let values = match value {
            Value::Array(values) => values,
            one => vec![one],
        };
        for value in values {
            *left = left.checked_sub(1).ok_or(CallbackError::TooLarge)?;
            let mut child = Self { name: name.clone().into(), ..Self::default() };
            child.fill_from_json(value, depth, left)?;
            self.children.push(child);
        }
        Ok(())
    }

    /// The same tree, without its text to borrow from.
    #[must_use]
    pub fn into_owned(self) -> Element<'static> {
        Element {
            name: Cow::Owned(self.name.into_owned()),
            text: Cow::Owned(self.text.into_owned()),
            children: self.children.into_iter().map(Element::into_owned).collect(),
        }
    }

    /// The first child of that name, ignoring case: WeChat
    /// writes `MsgId` and `MsgID`, `OpenID` and `openid`.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name.eq_ignore_ascii_case(name))
    }

    /// The text of the first child of that name, if it is not empty.
    #[must_use]
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_ref()).filter(|text| !text.is_empty())
    }

    /// All children as a JSON object; siblings of one name become an array.
    #[must_use]
    pub fn members(&self) -> Map<String, Value> {
        let mut members = Map::with_capacity(self.children.len());
        for child in &self.children {
            child.merge_into(&mut members);
        }
        members
    }

    pub(crate) fn merge_into(&self, members: &mut Map<String, Value>) {
        match members.get_mut(self.name.as_ref()) {
            None => {
                members.insert(self.name.to_string(), self.to_value());
            }
            Some(Value::Array(items)) => items.push(self.to_value()),
            Some(first) => *first = Value::Array(vec![first.take(), self.to_value()]),
        }
    }

    fn to_value(&self) -> Value {
        if self.children.is_empty() {
            Value::String(self.text.to_string())
        } else {
            Value::Object(self.members())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_and_json_of_the_same_push_are_the_same_members() {
        let xml = "<xml><MsgType><![CDATA[event]]></MsgType><CreateTime> 7 </CreateTime>\
                   <E><List><Id>1</Id></List><List><Id>2</Id></List></E><Empty/></xml>";
        let json = r#" {"MsgType":"event","CreateTime":7,"E":{"List":[{"Id":1},{"Id":"2"}]},"Empty":null}"#;
        let members = |text| Element::parse(text).unwrap().members();
        assert_eq!(members(xml), members(json));
        assert_eq!(
            serde_json::to_string(&members(xml)).unwrap(),
            r#"{"MsgType":"event","CreateTime":"7","E":{"List":[{"Id":"1"},{"Id":"2"}]},"Empty":""}"#
        );
    }

    #[test]
    fn json_has_the_bounds_of_xml() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(MAX_DEPTH + 1), "}".repeat(MAX_DEPTH + 1));
        let wide = format!(r#"{{"a":[{}1]}}"#, "1,".repeat(MAX_ELEMENTS));
        for (what, text, refusal) in [
            ("too deep", deep.as_str(), CallbackError::TooLarge),
            ("too wide", &wide, CallbackError::TooLarge),
            ("cut", r#"{"a":"#, CallbackError::Malformed),
            ("two bodies", "{}{}", CallbackError::Malformed),
        ] {
            assert_eq!(Element::parse(text), Err(refusal), "{what}");
        }
    }
}
