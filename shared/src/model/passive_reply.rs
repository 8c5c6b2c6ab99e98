//! A content as the XML of a passive reply, and back.
//!
//! # Source
//! WeChat "Passive reply".

use serde_json::{Map, Value, json};

use super::content::{Reply, TRANSFER_MSG_TYPE, string_member};
use crate::envelope::element::Element;
use crate::envelope::xml_writer::Writer;

/// A name in a passive reply, and the same in a content.
type MemberNames = (&'static str, &'static str);

/// Types that have one object: `msgtype`, its member in the reply, and the members of that.
const OBJECT_TYPES: [(&str, &str, &[MemberNames]); 4] = [
    ("image", "Image", &[("MediaId", "media_id")]),
    ("voice", "Voice", &[("MediaId", "media_id")]),
    ("video", "Video", &[("MediaId", "media_id"), ("Title", "title"), ("Description", "description")]),
    (
        "music",
        "Music",
        &[
            ("Title", "title"),
            ("Description", "description"),
            ("MusicUrl", "musicurl"),
            ("HQMusicUrl", "hqmusicurl"),
            ("ThumbMediaId", "thumb_media_id"),
        ],
    ),
];
const ARTICLE_MEMBERS: [MemberNames; 4] =
    [("Title", "title"), ("Description", "description"), ("PicUrl", "picurl"), ("Url", "url")];

impl Reply {
    /// The XML of a passive reply, unencrypted; `None` if a passive reply cannot
    /// carry it, so that it is sent as a customer-service message instead.
    #[must_use]
    pub fn passive_xml(&self, to_open_id: &str, from_original_id: &str, create_time: i64) -> Option<String> {
        let mut xml = Writer::new(512);
        xml.text("ToUserName", to_open_id)
            .text("FromUserName", from_original_id)
            .number("CreateTime", create_time);
        let content = match self {
            Self::Content(content) => content,
            Self::Transfer { kf_account } => {
                xml.text("MsgType", TRANSFER_MSG_TYPE);
                if let Some(name) = kf_account {
                    xml.open("TransInfo").text("KfAccount", name).close("TransInfo");
                }
                return Some(xml.finish());
            }
        };
        let msg_type = content.msg_type();
        let object = content.as_json().get(msg_type);
        xml.text("MsgType", msg_type);
        match msg_type {
            "text" => {
                xml.text("Content", string_member(object, "content"));
            }
            "news" => {
                let article = content.as_json().pointer("/news/articles/0");
                xml.number("ArticleCount", 1).open("Articles").open("item");
                for (name, member) in ARTICLE_MEMBERS {
                    xml.text(name, string_member(article, member));
                }
                xml.close("item").close("Articles");
            }
            _ => {
                let (_, name, members) = OBJECT_TYPES.iter().find(|(kind, ..)| *kind == msg_type)?;
                xml.open(name);
                for (name, member) in *members {
                    let value = string_member(object, member);
                    if !value.is_empty() {
                        xml.text(name, value); // members that the content lacks are left out
                    }
                }
                xml.close(name);
            }
        }
        Some(xml.finish())
    }
}

/// The content that [`Reply::passive_xml`] wrote; `None` for a transfer, which shows nothing to the follower.
#[must_use]
pub fn parse_passive_xml(xml: &str) -> Option<Value> {
    let root = Element::parse(xml).ok()?;
    let kind = root.text_of("MsgType")?;
    let object = |of: &Element<'_>, members: &[MemberNames]| -> Value {
        let value = |name| of.text_of(name).map(Value::from);
        let found = members.iter().filter_map(|(name, member)| Some(((*member).to_owned(), value(name)?)));
        found.collect::<Map<_, _>>().into()
    };
    let inside = match kind {
        "text" => object(&root, &[("Content", "content")]),
        "news" => json!({ "articles": [object(root.child("Articles")?.child("item")?, &ARTICLE_MEMBERS)] }),
        _ => {
            let (_, name, members) = OBJECT_TYPES.iter().find(|(known, ..)| *known == kind)?;
            object(root.child(name)?, members)
        }
    };
    Some(json!({ "msgtype": kind, kind: inside }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_passive_reply_carries_is_read_back_and_what_it_cannot_has_no_xml() {
        for (value, carried) in [
            (json!({"msgtype": "text", "text": {"content": "a]]>b <c> & \"d\"\n你"}}), true),
            (json!({"msgtype": "image", "image": {"media_id": "m"}}), true),
            (json!({"msgtype": "voice", "voice": {"media_id": "m"}}), true),
            (json!({"msgtype": "video", "video": {"media_id": "m", "title": "t", "description": "d"}}), true),
            (json!({"msgtype": "video", "video": {"media_id": "m"}}), true),
            (
                json!({"msgtype": "music", "music": {
                    "title": "t", "description": "d", "musicurl": "https://m.example/1", "hqmusicurl": "https://m.example/2",
                    "thumb_media_id": "m",
                }}),
                true,
            ),
            (
                json!({"msgtype": "news", "news": {"articles": [
                    {"title": "t", "description": "d", "picurl": "https://p.example", "url": "https://u.example?a=1&b=2"},
                ]}}),
                true,
            ),
            (json!({"msgtype": "mpnews", "mpnews": {"media_id": "m"}}), false),
            (json!({"msgtype": "mpnewsarticle", "mpnewsarticle": {"article_id": "m"}}), false),
            (json!({"msgtype": "msgmenu", "msgmenu": {"list": [{"id": "1", "content": "a"}]}}), false),
            (json!({"msgtype": "wxcard", "wxcard": {"card_id": "c"}}), false),
        ] {
            let xml = Reply::try_from(value.clone()).unwrap().passive_xml("o1", "gh_1", 1);
            assert_eq!(xml.is_some(), carried, "{value}");
            if let Some(xml) = xml {
                assert_eq!(parse_passive_xml(&xml), Some(value), "{xml}");
            }
        }
        for transfer in [
            json!({"msgtype": TRANSFER_MSG_TYPE}),
            json!({"msgtype": TRANSFER_MSG_TYPE, "kf_account": "a@b"}),
        ] {
            let xml = Reply::try_from(transfer).unwrap().passive_xml("o1", "gh_1", 1).unwrap();
            assert_eq!(parse_passive_xml(&xml), None, "{xml}");
        }
        assert_eq!(parse_passive_xml("no XML"), None);
    }
}
