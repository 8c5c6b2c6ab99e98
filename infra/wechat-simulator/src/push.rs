//! Pushes to the hub: encrypted, signed, sent up to three times, and the passive reply decrypted.
//!
//! Each attempt is encrypted again with its own timestamp and nonce, as WeChat does; the plaintext (`MsgId`,
//! `CreateTime`) stays the same. An attempt fails without a 2xx response within five seconds.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::crypto::{AesKey, signature};
use crate::faults::{FaultKind, take_fault};
use crate::log::{PushAttempt, PushDelivery, PushOutcome};
use crate::simulator::Simulator;
use crate::state::chat::Sender;
use crate::xml::{XmlBuilder, XmlDocument, first_value};

/// The hub's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubResponse {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// The hub's response, or why there is none.
pub type HubFuture<'a> = Pin<Box<dyn Future<Output = Result<HubResponse, String>> + Send + 'a>>;

/// How pushes reach the hub: over HTTP, or by a function call in tests.
pub trait HubTransport: Send + Sync {
    /// Posts an XML body to a URL with its query.
    fn post(&self, url: String, body: String) -> HubFuture<'_>;
}

/// Over HTTP.
pub struct HttpHub(reqwest::Client);

impl HttpHub {
    /// A separate client, without proxies: the hub is local.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        // Another part of the process may have installed the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().no_proxy().build().map(Self)
    }
}

impl HubTransport for HttpHub {
    fn post(&self, url: String, body: String) -> HubFuture<'_> {
        let sent = self.0.post(url).header("content-type", "text/xml").body(body).send();
        Box::pin(async move {
            let answer = sent.await.map_err(|error| error.without_url().to_string())?;
            let status = answer.status().as_u16();
            let body = answer.text().await.map_err(|error| error.without_url().to_string())?;
            Ok(HubResponse { status, body })
        })
    }
}

/// No hub: every push fails. For tests that only call the API.
pub struct NoHub;

impl HubTransport for NoHub {
    fn post(&self, _: String, _: String) -> HubFuture<'_> {
        Box::pin(async { Err("no hub".to_owned()) })
    }
}

/// The hub's two callback URLs, as WeChat's console names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackUrl {
    /// The authorization event URL.
    Component,
    /// The message and event URL of an account.
    Message,
}

impl CallbackUrl {
    fn name(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Message => "message",
        }
    }
}

/// One push, before encryption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingPush {
    /// Where to.
    pub target: CallbackUrl,
    /// The `InfoType`, `MsgType` or `Event`, for the log.
    pub kind: String,
    /// The account in the URL's path, for messages.
    pub app_id: Option<String>,
    /// The sender in the query, for messages.
    pub openid: Option<String>,
    /// The whole decrypted document.
    pub plaintext: String,
    /// Milliseconds to wait before sending.
    #[serde(default)]
    pub delay_ms: u64,
}

impl Simulator {
    /// Sends a push now and returns when it has been delivered or has failed.
    pub async fn deliver(&self, push: OutgoingPush) -> PushDelivery {
        let (target, kind) = (format!("push/{}", push.target.name()), format!("push/{}", push.kind));
        let about = XmlDocument::parse(&push.plaintext).unwrap_or_default();
        let app_id = push.app_id.as_deref().or_else(|| about.get("AuthorizerAppid"));
        let fault = take_fault(&mut self.state().faults, &[&target, &kind], app_id);
        let mut delivery = self.new_delivery(&push);
        if matches!(fault, Some(FaultKind::DropPush)) {
            delivery.note = Some("a fault dropped it".into());
            self.state().deliveries.add(delivery.clone());
            return delivery;
        }
        let (attempts, timeout, pause) = {
            let settings = &self.state().settings;
            (settings.push_attempts, settings.push_timeout_ms, settings.push_pause_ms)
        };
        let mut answer = None;
        for attempt in 0..attempts {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            let (url, body) = self.seal(&push);
            let at = self.now();
            let sent = tokio::time::timeout(Duration::from_millis(timeout), self.hub().post(url, body)).await;
            let (status, error) = match sent {
                Err(_) => (None, Some(format!("no answer within {timeout} ms"))),
                Ok(Err(why)) => (None, Some(why)),
                Ok(Ok(HubResponse { status, body })) if (200..300).contains(&status) => {
                    answer = Some(body);
                    (Some(status), None)
                }
                Ok(Ok(HubResponse { status, .. })) => (Some(status), Some(format!("HTTP {status}"))),
            };
            delivery.attempts.push(PushAttempt { at, status, error });
            if answer.is_some() {
                break;
            }
        }
        if matches!(fault, Some(FaultKind::RepeatPush)) {
            let (url, body) = self.seal(&push);
            let _ = tokio::time::timeout(Duration::from_millis(timeout), self.hub().post(url, body)).await;
        }
        self.apply_reply(&mut delivery, answer.as_deref());
        self.state().deliveries.add(delivery.clone());
        delivery
    }

    /// Logs a push that WeChat would not send.
    pub(crate) fn record_unsent(&self, push: &OutgoingPush, why: &str) -> PushDelivery {
        let mut delivery = self.new_delivery(push);
        delivery.note = Some(why.to_owned());
        self.state().deliveries.add(delivery.clone());
        delivery
    }

    fn new_delivery(&self, push: &OutgoingPush) -> PushDelivery {
        PushDelivery {
            id: self.state().next_id(),
            at: self.now(),
            target: push.target.name().to_owned(),
            kind: push.kind.clone(),
            app_id: push.app_id.clone(),
            openid: push.openid.clone(),
            plaintext: push.plaintext.clone(),
            attempts: Vec::new(),
            outcome: PushOutcome::NotSent,
            reply: None,
            note: None,
        }
    }

    /// The signed URL and the encrypted body of one attempt.
    pub(crate) fn seal(&self, push: &OutgoingPush) -> (String, String) {
        let (timestamp, nonce) = (self.now().to_string(), self.random_digits(10));
        let (component, key) = self.platform();
        let encrypted = key.seal(self.random_bytes(), &push.plaintext, &component.app_id);
        let token = component.token.expose();
        let plain = signature(&[token, &timestamp, &nonce]);
        let whole = signature(&[token, &timestamp, &nonce, &encrypted]);
        let openid = push.openid.as_ref().map(|id| format!("&openid={id}")).unwrap_or_default();
        let query = format!(
            "signature={plain}&timestamp={timestamp}&nonce={nonce}{openid}&encrypt_type=aes&msg_signature={whole}"
        );
        let recipient = first_value(&push.plaintext, "ToUserName").unwrap_or_default();
        let (url, body) = match push.target {
            CallbackUrl::Component => {
                (self.component_url(), XmlBuilder::default().text("AppId", &component.app_id))
            }
            CallbackUrl::Message => (
                self.message_url(push.app_id.as_deref().unwrap_or_default()),
                XmlBuilder::default().text("ToUserName", recipient),
            ),
        };
        (format!("{url}?{query}"), body.text("Encrypt", &encrypted).build())
    }

    /// Evaluates the response and adds what the follower would see to the chat.
    fn apply_reply(&self, delivery: &mut PushDelivery, answer: Option<&str>) {
        let (component, key) = self.platform();
        delivery.outcome =
            match answer.map(|body| decrypt_reply(body, &component.app_id, component.token.expose(), &key)) {
                None => PushOutcome::Failed,
                Some(Ok(None)) => PushOutcome::Accepted,
                Some(Ok(Some(reply))) => {
                    delivery.reply = Some(reply);
                    PushOutcome::Replied
                }
                Some(Err(why)) => {
                    delivery.note = Some(why);
                    PushOutcome::Malformed
                }
            };
        let (Some(app_id), Some(openid)) = (&delivery.app_id, &delivery.openid) else { return };
        let push_xml = delivery.plaintext.clone();
        match delivery.outcome {
            PushOutcome::Replied => {
                let reply = delivery.reply.clone().unwrap_or_default();
                match passive_reply_text(&reply, &push_xml) {
                    Ok(Some((kind, text))) => {
                        self.add_chat_item(
                            app_id,
                            openid,
                            Sender::Account,
                            "passive",
                            &kind,
                            text,
                            reply.into(),
                        );
                    }
                    Ok(None) => {}
                    Err(why) => {
                        delivery.note = Some(why);
                        delivery.outcome = PushOutcome::Malformed;
                    }
                }
            }
            PushOutcome::Accepted | PushOutcome::Malformed | PushOutcome::Failed | PushOutcome::NotSent => {}
        }
        // WeChat shows this notice for messages only; a failed event push stays invisible.
        if matches!(delivery.outcome, PushOutcome::Failed | PushOutcome::Malformed)
            && first_value(&push_xml, "MsgType") != Some("event")
        {
            let words = "该公众号提供的服务出现故障，请稍后再试";
            self.add_chat_item(
                app_id,
                openid,
                Sender::System,
                "notice",
                "fault",
                words.into(),
                delivery.note.clone().into(),
            );
        }
    }
}

/// `None` for `success` and for an empty body; otherwise the decrypted reply.
fn decrypt_reply(body: &str, component: &str, token: &str, key: &AesKey) -> Result<Option<String>, String> {
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
fn passive_reply_text(reply: &str, push_xml: &str) -> Result<Option<(String, String)>, String> {
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
