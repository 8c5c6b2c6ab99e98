//! WeChat's XML: written with CDATA sections, read into a map of paths.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use quick_xml::Reader;
use quick_xml::events::Event;

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 16;

/// `]]>` split over two CDATA sections.
const SPLIT_SECTION_END: &str = "]]]]><![CDATA[>";

/// Builds an `<xml>` document.
#[derive(Debug, Default, Clone)]
pub struct XmlBuilder(String);

impl XmlBuilder {
    /// `<name><![CDATA[value]]></name>`.
    #[must_use]
    pub fn text(mut self, name: &str, value: &str) -> Self {
        // `]]>` inside the value would end the section, so it is split over two.
        let value = value.replace("]]>", SPLIT_SECTION_END);
        let _ = write!(self.0, "<{name}><![CDATA[{value}]]></{name}>");
        self
    }

    /// `<name><![CDATA[value]]></name>` as WeChat writes text that users chose: it does not escape, so a
    /// `]]>` inside ends the section.
    #[must_use]
    pub fn unescaped_text(mut self, name: &str, value: &str) -> Self {
        let _ = write!(self.0, "<{name}><![CDATA[{value}]]></{name}>");
        self
    }

    /// `<name>value</name>`, as WeChat writes numbers.
    #[must_use]
    pub fn number(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        let _ = write!(self.0, "<{name}>{value}</{name}>");
        self
    }

    /// Appends the elements of another builder.
    #[must_use]
    pub fn append(mut self, other: &Self) -> Self {
        self.0.push_str(&other.0);
        self
    }

    /// The document.
    #[must_use]
    pub fn build(self) -> String {
        format!("<xml>{}</xml>", self.0)
    }
}

/// The content of an XML document: path (`Articles/item/Title`, without the root) to text; a repeated path
/// keeps every value.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct XmlDocument(BTreeMap<String, Vec<String>>);

impl XmlDocument {
    /// Parses a document whose root is `xml`. Refuses DTDs and entities other than the predefined five. Text
    /// that users chose may contain anything ([`XmlBuilder::unescaped_text`]).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = escape_user_text(text);
        let mut reader = Reader::from_str(&text);
        let (mut path, mut document): (Vec<String>, _) = (Vec::new(), Self::default());
        let mut current = String::new();
        let mut closed = false;
        loop {
            match reader.read_event().ok()? {
                Event::Start(tag) => {
                    let name = tag.name().as_ref().to_owned();
                    if closed || path.len() >= MAX_DEPTH || (path.is_empty() && name != "xml") {
                        return None;
                    }
                    path.push(name);
                    current.clear();
                }
                Event::Empty(tag) => {
                    path.push(tag.name().as_ref().to_owned());
                    document.insert(&path, "");
                    path.pop();
                }
                Event::Text(text) => current.push_str(&text),
                Event::CData(text) => current.push_str(&text),
                Event::GeneralRef(entity) => current.push(match entity.resolve_char_ref().ok()? {
                    Some(character) => character,
                    None => match &*entity {
                        "lt" => '<',
                        "gt" => '>',
                        "amp" => '&',
                        "quot" => '"',
                        "apos" => '\'',
                        _ => return None,
                    },
                }),
                Event::End(_) => {
                    document.insert(&path, current.trim());
                    path.pop();
                    current.clear();
                    closed = path.is_empty();
                }
                Event::DocType(_) => return None,
                Event::Eof => break,
                _ => {}
            }
        }
        closed.then_some(document)
    }

    fn insert(&mut self, path: &[String], value: &str) {
        if let Some((_, inner)) = path.split_first()
            && !inner.is_empty()
        {
            self.0.entry(inner.join("/")).or_default().push(value.to_owned());
        }
    }

    /// The first value at `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).and_then(|values| values.first()).map(String::as_str)
    }

    /// Every path with its first value.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(path, values)| Some((path.as_str(), values.first()?.as_str())))
    }

    /// Every value at `path`.
    #[must_use]
    pub fn all(&self, path: &str) -> &[String] {
        self.0.get(path).map_or(&[], Vec::as_slice)
    }
}

/// Elements of pushes whose text users chose.
const USER_TEXT_ELEMENTS: [&str; 6] = ["EventKey", "Content", "Label", "Title", "Description", "Url"];

/// A push with every `]]>` inside text that users chose split over two sections, as an escaping writer would.
fn escape_user_text(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    if !text.contains("<MsgId>") && !text.contains("<Event>") {
        return text; // not a push
    }
    for name in USER_TEXT_ELEMENTS {
        let (start, end) = (format!("<{name}><![CDATA["), format!("]]></{name}>"));
        let Some((before, rest)) = text.split_once(&start) else { continue };
        let Some((value, after)) = rest.rsplit_once(&end) else { continue };
        if value.replace(SPLIT_SECTION_END, "").contains("]]>") {
            text = format!("{before}{start}{}{end}{after}", value.replace("]]>", SPLIT_SECTION_END)).into();
        }
    }
    text
}

/// The first element of that name in a push. WeChat writes these before any text that users chose, so
/// nothing that comes later can forge them.
#[must_use]
pub fn first_value<'a>(push: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = push.split_once(&format!("<{name}>"))?;
    let value = value.trim_start();
    let (value, _) = match value.strip_prefix("<![CDATA[") {
        Some(inside) => inside.split_once("]]>")?,
        None => value.split_once('<')?,
    };
    Some(value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let xml = XmlBuilder::default().text("Content", "a ]]> b & <c>").number("CreateTime", 7).build();
        let read = XmlDocument::parse(&xml).unwrap();
        assert_eq!(read.get("Content"), Some("a ]]> b & <c>"));
        assert_eq!(read.get("CreateTime"), Some("7"));
        let all: Vec<_> = read.values().collect();
        assert_eq!(all, [("Content", "a ]]> b & <c>"), ("CreateTime", "7")]);
    }

    #[test]
    fn what_a_follower_chose_is_not_escaped_and_hides_nothing_before_it() {
        let xml = XmlBuilder::default().text("MsgType", "text").number("CreateTime", 7);
        let xml = xml.unescaped_text("Content", "a]]></Content><MsgType>event</MsgType>").build();
        assert!(xml.ends_with("<Content><![CDATA[a]]></Content><MsgType>event</MsgType>]]></Content></xml>"));
        assert_eq!(
            (first_value(&xml, "MsgType"), first_value(&xml, "CreateTime")),
            (Some("text"), Some("7"))
        );
        assert_eq!(first_value(&xml, "Event"), None);
        let push =
            |value: &str| XmlBuilder::default().unescaped_text("Content", value).number("MsgId", 7).build();
        for value in ["a ]]> b", "<a><![CDATA[b]]></a>", "a]]></Content><MsgId>1</MsgId><Content><![CDATA[b"]
        {
            let read = XmlDocument::parse(&push(value)).unwrap();
            assert_eq!((read.get("Content"), read.all("MsgId")), (Some(value), ["7".to_owned()].as_slice()));
        }
    }

    #[test]
    fn nested_and_bare_values_are_read() {
        let read = XmlDocument::parse(
            "<xml><A>x &amp; &#20013;</A><L><item><T><![CDATA[1]]></T></item><item><T>2</T></item></L><E/></xml>",
        )
        .unwrap();
        assert_eq!(read.get("A"), Some("x & 中"));
        assert_eq!(read.all("L/item/T"), ["1", "2"]);
        assert_eq!(read.get("E"), Some(""));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for bad in [
            "",
            "success",
            "<xml>",
            "{}",
            "<a></a>",
            "<xml><a></xml>",
            "<!DOCTYPE x []><xml></xml>",
            "<xml>&x;</xml>",
        ] {
            assert_eq!(XmlDocument::parse(bad), None, "{bad}");
        }
    }
}
