//! Bytes from WeChat to values and back: signature, AES, XML. Pure, no I/O.
//!
//! In: a query and a body. Out: the plaintext that WeChat encrypted for this platform, or a [`Refusal`]. Only the
//! decrypted part is ever trusted: in compatibility mode the same members also come in clear, unsigned.

mod aes_key;
pub mod crypto;
pub mod element;
mod flat;
mod query;
mod refusal;
pub mod signature;
pub mod xml;

pub use aes_key::AesKey;
pub use element::MAX_BODY_BYTES;
pub use query::{CallbackQuery, STALE_AFTER_SECONDS, is_stale};
pub use refusal::Refusal;

use crate::config::{Component, ConfigError, SETTINGS};
use crate::secret::Secret;
use element::Element;

/// Bytes of an `echostr`; real ones have 20 or, encrypted, 88.
const MAX_ECHO_BYTES: usize = 4096;
/// Bytes of a reply envelope around its ciphertext.
const REPLY_FRAME_BYTES: usize = 256;

/// Which key opened a request. The reply must be sealed with the same one (WeChat, technical plan).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUsed {
    /// The key of the settings.
    Current,
    /// The key before a rotation.
    Previous,
}

/// A request that WeChat signed and encrypted for this platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The key to reply with.
    pub key: KeyUsed,
    /// The decrypted XML or JSON.
    pub plaintext: Vec<u8>,
}

/// What stands beside the ciphertext of an inbound push.
#[derive(Debug, Clone, Copy)]
pub enum Outer<'a> {
    /// A message or an event of an account: its original id, `gh_…`.
    ToUserName(&'a str),
    /// An event of the component: its app id.
    AppId(&'a str),
}

/// The platform's token and keys: one set for the authorization events and for every bound account.
#[derive(Debug, Clone)]
pub struct Envelope {
    app_id: String,
    token: Secret,
    current: AesKey,
    previous: Option<AesKey>,
}

impl Envelope {
    /// Takes the platform's credentials.
    ///
    /// # Errors
    /// The setting whose key is no EncodingAESKey.
    pub fn new(component: &Component) -> Result<Self, ConfigError> {
        let parse = |name: &'static str, key: &Secret| {
            AesKey::parse(key.expose()).ok_or_else(|| ConfigError {
                name,
                expected: SETTINGS.iter().find(|setting| setting.name == name).map_or("", |s| s.expected),
            })
        };
        let previous = component.aes_key_previous.as_ref();
        Ok(Self {
            app_id: component.app_id.clone(),
            token: component.token.clone(),
            current: parse("OAHUB_COMPONENT_AES_KEY", &component.aes_key)?,
            previous: previous.map(|key| parse("OAHUB_COMPONENT_AES_KEY_PREVIOUS", key)).transpose()?,
        })
    }

    /// Verifies and decrypts a POST of WeChat.
    ///
    /// # Errors
    /// Any [`Refusal`] but [`Refusal::Stale`]: whether to look at the clock is the caller's choice.
    pub fn open(&self, query: &CallbackQuery, body: &[u8]) -> Result<Opened, Refusal> {
        let text = element::decode(body)?;
        let outer = Element::parse(&text)?;
        let encrypted = outer.text_of("Encrypt").ok_or(Refusal::Malformed)?;
        self.verify(query, Some(encrypted))?;
        let (key, plaintext) = self.decrypt(encrypted)?;
        Ok(Opened { key, plaintext })
    }

    /// Answers a GET that verifies the URL: the `echostr` to send back, decrypted where it came encrypted.
    ///
    /// # Errors
    /// Any [`Refusal`] but [`Refusal::Stale`].
    pub fn echo(&self, query: &CallbackQuery) -> Result<String, Refusal> {
        let echo = query.echostr.as_deref().ok_or(Refusal::Malformed)?;
        if echo.len() > MAX_ECHO_BYTES {
            return Err(Refusal::TooLarge);
        }
        if query.msg_signature.is_none() {
            self.verify(query, None)?;
            return Ok(echo.to_owned());
        }
        // A `+` that was not escaped reaches us as a blank; base64 has none.
        let encrypted = echo.replace(' ', "+");
        self.verify(query, Some(&encrypted))?;
        let (_, plaintext) = self.decrypt(&encrypted)?;
        String::from_utf8(plaintext).map_err(|_| Refusal::Malformed)
    }

    /// The envelope of a passive reply.
    #[must_use]
    pub fn seal_reply(
        &self,
        key: KeyUsed,
        xml: &str,
        timestamp: i64,
        nonce: &str,
        random: [u8; 16],
    ) -> String {
        let encrypted = crypto::seal(self.key(key), random, xml.as_bytes(), &self.app_id);
        let time = timestamp.to_string();
        let signature = signature::sign(&[self.token.expose(), &time, nonce, &encrypted]);
        let mut out = xml::Writer::new(encrypted.len() + nonce.len() + REPLY_FRAME_BYTES);
        out.verbatim("Encrypt", &encrypted)
            .verbatim("MsgSignature", &signature)
            .plain("TimeStamp", &time)
            .text("Nonce", nonce);
        out.finish()
    }

    /// What WeChat would send for `plaintext`: the other side of [`Envelope::open`], for the simulator and for
    /// tests. The query has no `openid`; whoever needs one sets it.
    #[must_use]
    pub fn seal_push(
        &self,
        outer: Outer<'_>,
        plaintext: &[u8],
        timestamp: i64,
        nonce: &str,
        random: [u8; 16],
    ) -> (CallbackQuery, String) {
        let encrypted = crypto::seal(&self.current, random, plaintext, &self.app_id);
        let (token, time) = (self.token.expose(), timestamp.to_string());
        let query = CallbackQuery {
            signature: Some(signature::sign(&[token, &time, nonce])),
            msg_signature: Some(signature::sign(&[token, &time, nonce, &encrypted])),
            timestamp: Some(time),
            nonce: Some(nonce.to_owned()),
            encrypt_type: Some("aes".to_owned()),
            ..CallbackQuery::default()
        };
        let mut body = xml::Writer::new(encrypted.len() + REPLY_FRAME_BYTES);
        match outer {
            Outer::ToUserName(original_id) => body.text("ToUserName", original_id),
            Outer::AppId(app_id) => body.text("AppId", app_id),
        };
        body.verbatim("Encrypt", &encrypted);
        (query, body.finish())
    }

    /// Opens the envelope of a passive reply, as WeChat would: for the simulator and for tests.
    ///
    /// # Errors
    /// [`Refusal::Malformed`], [`Refusal::Signature`] or [`Refusal::Undecryptable`].
    pub fn open_reply(&self, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let text = element::decode(body)?;
        let outer = Element::parse(&text)?;
        let member = |name| outer.text_of(name).unwrap_or_default();
        let parts = [self.token.expose(), member("TimeStamp"), member("Nonce"), member("Encrypt")];
        if !signature::matches(&parts, member("MsgSignature")) {
            return Err(Refusal::Signature);
        }
        Ok(self.decrypt(member("Encrypt"))?.1)
    }

    /// `msg_signature` over the ciphertext is what counts; a `signature` beside it must not contradict.
    fn verify(&self, query: &CallbackQuery, encrypted: Option<&str>) -> Result<(), Refusal> {
        let token = self.token.expose();
        let timestamp = query.timestamp.as_deref().unwrap_or_default();
        let nonce = query.nonce.as_deref().unwrap_or_default();
        let message = encrypted.is_none_or(|encrypted| {
            let given = query.msg_signature.as_deref().unwrap_or_default();
            signature::matches(&[token, timestamp, nonce, encrypted], given)
        });
        let plain = match query.signature.as_deref() {
            Some(given) => signature::matches(&[token, timestamp, nonce], given),
            None => encrypted.is_some(),
        };
        if message && plain { Ok(()) } else { Err(Refusal::Signature) }
    }

    fn decrypt(&self, encrypted: &str) -> Result<(KeyUsed, Vec<u8>), Refusal> {
        let refused = match crypto::open(&self.current, encrypted, &self.app_id) {
            Ok(plaintext) => return Ok((KeyUsed::Current, plaintext)),
            Err(refused) => refused,
        };
        let previous = self.previous.as_ref().ok_or(refused)?;
        Ok((KeyUsed::Previous, crypto::open(previous, encrypted, &self.app_id)?))
    }

    fn key(&self, key: KeyUsed) -> &AesKey {
        match key {
            KeyUsed::Current => &self.current,
            KeyUsed::Previous => self.previous.as_ref().unwrap_or(&self.current),
        }
    }
}
