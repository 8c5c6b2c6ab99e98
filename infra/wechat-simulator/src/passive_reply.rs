//! The hub's reply to a push: decrypted, and what a phone shows of it.

use crate::crypto::{AesKey, signature};
use crate::xml::{XmlDocument, first_value};

/// `None` for `success` and for an empty body; otherwise the decrypted reply.
pub(crate) fn decrypt_reply(
    body: &str,
    component: &str,
    token: &str,
    key: &AesKey,
) -> Result<Option<String>, String> {
    if body.is_empty() || body == "success" {
        return Ok(None);
    }
    let envelope = XmlDocument::parse(body).ok_or("the answer is neither `success` nor XML")?;
    let part = |name: &str| envelope.get(name).ok_or(format!("the reply has no {name}"));
    let (encrypted, timestamp, nonce) = (part("Encrypt")?, part("TimeStamp")?, part("Nonce")?);
    if signature(&[token, timestamp, nonce, encrypted]) != part("MsgSignature")? {
        return Err("the reply's MsgSignature is wrong".into());
    }
    let (reply, app_id) = key.open(encrypted).map_err(|error| format!("the reply: {error}"))?;
    if app_id != component {
        return Err(format!("the reply ends with `{app_id}`, not with the component's app id"));
    }
    Ok(Some(reply))
}

/// What a phone shows of a passive reply, if anything.
pub(crate) fn passive_reply_text(reply: &str, push_xml: &str) -> Result<Option<(String, String)>, String> {
    let read = XmlDocument::parse(reply).ok_or("the decrypted reply is not XML")?;
    if read.get("ToUserName") != first_value(push_xml, "FromUserName")
        || read.get("FromUserName") != first_value(push_xml, "ToUserName")
    {
        return Err("the reply's ToUserName and FromUserName are not those of the message, swapped".into());
    }
    if read.get("CreateTime").and_then(|t| t.parse::<i64>().ok()).is_none() {
        return Err("the reply has no CreateTime".into());
    }
    let need = |path: &str| read.get(path).map(str::to_owned).ok_or(format!("the reply has no {path}"));
    let kind = need("MsgType")?;
    let text = match kind.as_str() {
        "text" => need("Content")?,
        "image" => format!("[picture {}]", need("Image/MediaId")?),
        "voice" => format!("[voice {}]", need("Voice/MediaId")?),
        "video" => format!("[video {}]", need("Video/MediaId")?),
        "music" => format!("[music {}]", read.get("Music/Title").unwrap_or("untitled")),
        "news" => match read.all("Articles/item/Title") {
            // Since 2018 WeChat shows nothing for a reply with more than one article.
            [_] if read.get("ArticleCount") == Some("1") => {
                format!("{}\n{}", need("Articles/item/Title")?, need("Articles/item/Url")?)
            }
            [] => return Err("the news reply has no article".into()),
            _ => return Ok(None),
        },
        "transfer_customer_service" => return Ok(None),
        other => return Err(format!("`{other}` is no type of passive reply")),
    };
    Ok(Some((kind, text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::XmlBuilder;

    #[test]
    fn replies_are_accepted_only_as_wechat_does() {
        let key = AesKey::decode("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG").unwrap();
        let reply = |app: &str, token: &str| {
            let sealed = key.seal([7; 16], "<xml/>", app);
            let xml =
                XmlBuilder::default().text("Encrypt", &sealed).number("TimeStamp", 1).text("Nonce", "2");
            xml.text("MsgSignature", &signature(&[token, "1", "2", &sealed])).build()
        };
        for (what, body, good) in [
            ("success", "success".to_owned(), true),
            ("nothing", String::new(), true),
            ("JSON", "{}".to_owned(), false),
            ("success with a line break", "success\n".to_owned(), false),
            ("a right reply", reply("wxc", "t"), true),
            ("another app id", reply("wxother", "t"), false),
            ("another token", reply("wxc", "u"), false),
        ] {
            assert_eq!(decrypt_reply(&body, "wxc", "t", &key).is_ok(), good, "{what}");
        }
    }

    #[test]
    fn passive_replies_swap_names_and_carry_one_article() {
        let asked = "<xml><FromUserName>o1</FromUserName><ToUserName>gh_1</ToUserName></xml>";
        let reply = |rest: &str| {
            format!(
                "<xml><ToUserName>o1</ToUserName><FromUserName>gh_1</FromUserName><CreateTime>1</CreateTime>{rest}</xml>"
            )
        };
        let item = "<item><Title>T</Title><Url>U</Url></item>";
        for (what, xml, shown) in [
            ("text", reply("<MsgType>text</MsgType><Content>hi</Content>"), Ok(Some("hi"))),
            (
                "one article",
                reply(&format!(
                    "<MsgType>news</MsgType><ArticleCount>1</ArticleCount><Articles>{item}</Articles>"
                )),
                Ok(Some("T\nU")),
            ),
            (
                "two articles",
                reply(&format!(
                    "<MsgType>news</MsgType><ArticleCount>2</ArticleCount><Articles>{item}{item}</Articles>"
                )),
                Ok(None),
            ),
            ("a transfer", reply("<MsgType>transfer_customer_service</MsgType>"), Ok(None)),
            ("a mini program", reply("<MsgType>miniprogrampage</MsgType>"), Err(())),
            (
                "names not swapped",
                "<xml><ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName></xml>".into(),
                Err(()),
            ),
        ] {
            let got = passive_reply_text(&xml, asked).map(|s| s.map(|(_, text)| text)).map_err(|_| ());
            assert_eq!(got, shown.map(|s| s.map(str::to_owned)), "{what}");
        }
    }
}
