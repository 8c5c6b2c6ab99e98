//! Pushes made by hand.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use shared::{
    clock::{Clock, SystemClock},
    config::PlatformCredentials,
    envelope::{CallbackQuery, Envelope, PushRecipient},
    secret::Secret,
};

use crate::{
    api::{HttpResponse, http_client},
    hub::{AES_KEY_PREVIOUS, Hub, component},
};

/// The platform's envelope, as WeChat has it.
pub static ENVELOPE: LazyLock<Envelope> = LazyLock::new(|| Envelope::new(&component()).unwrap());
/// The same with the previous AES key.
pub static ENVELOPE_PREVIOUS: LazyLock<Envelope> = LazyLock::new(|| {
    let key = Secret::new(AES_KEY_PREVIOUS);
    Envelope::new(&PlatformCredentials { aes_key: key, aes_key_previous: None, ..component() }).unwrap()
});

/// Unix seconds.
#[must_use]
pub fn now() -> i64 {
    SystemClock.unix()
}

/// A number unique among this run's pushes.
#[must_use]
pub fn unique_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(7_000_000_000_000_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A push's plaintext: the common members, then `rest`.
#[must_use]
pub fn push_xml(to: &str, from: &str, at: i64, rest: &str) -> String {
    format!(
        "<xml><ToUserName><![CDATA[{to}]]></ToUserName><FromUserName><![CDATA[{from}]]></FromUserName>\
         <CreateTime>{at}</CreateTime>{rest}</xml>"
    )
}

/// The members of a text message.
#[must_use]
pub fn text_members(words: &str, msg_id: u64) -> String {
    format!(
        "<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[{words}]]></Content><MsgId>{msg_id}</MsgId>"
    )
}

/// The members of an event.
#[must_use]
pub fn event_members(name: &str, rest: &str) -> String {
    format!("<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[{name}]]></Event>{rest}")
}

/// An encrypted and signed push, as WeChat would send it now.
#[must_use]
pub fn seal_push(envelope: &Envelope, plaintext: &str) -> (CallbackQuery, String) {
    seal_push_bytes(envelope, plaintext.as_bytes())
}

fn seal_push_bytes(envelope: &Envelope, plaintext: &[u8]) -> (CallbackQuery, String) {
    let number = unique_number();
    let mut random = [7; 16];
    random[..8].copy_from_slice(&number.to_be_bytes());
    envelope.seal_push(PushRecipient::ToUserName("gh_0"), plaintext, now(), &number.to_string(), random)
}

impl Hub {
    /// Seals and pushes to an account's URL.
    pub async fn push(&self, app_id: &str, plaintext: &str) -> HttpResponse {
        self.push_bytes(app_id, plaintext.as_bytes()).await
    }

    /// Seals and pushes bytes that need not be UTF-8.
    pub async fn push_bytes(&self, app_id: &str, plaintext: &[u8]) -> HttpResponse {
        let (query, body) = seal_push_bytes(&ENVELOPE, plaintext);
        self.push_sealed(&format!("/wechat/accounts/{app_id}"), &query, body).await
    }

    /// Pushes bytes to a path.
    pub async fn push_sealed(
        &self,
        path: &str,
        query: &CallbackQuery,
        body: impl Into<Vec<u8>>,
    ) -> HttpResponse {
        let url = format!("{}{path}", self.url);
        let post = http_client()
            .post(url)
            .query(&query.pairs())
            .header("Content-Type", "text/xml")
            .body(body.into());
        HttpResponse::send(post).await.unwrap()
    }
}

/// Decrypts the passive reply in a response.
#[must_use]
pub fn open_reply(envelope: &Envelope, answer: &HttpResponse) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let opened = envelope.open_reply(answer.text.as_bytes());
    String::from_utf8(opened.unwrap_or_else(|error| panic!("{error}: {answer:?}"))).unwrap()
}
