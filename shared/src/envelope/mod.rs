//! Bytes from WeChat to values and back: signature, AES, XML. Pure, no I/O.
//!
//! In: a query and a body. Out: the plaintext that WeChat encrypted for us, or a [`CallbackError`]. Only
//! the decrypted part is trusted: in compatibility mode the same members also come in clear, unsigned.

mod aes_key;
mod callback_error;
pub mod crypto;
pub mod element;
mod flat_xml;
mod parse;
mod query;
pub mod signature;
mod unescaped_xml;
pub mod xml;
pub mod xml_writer;

pub use aes_key::AesKey;
pub use callback_error::CallbackError;
pub use element::MAX_BODY_BYTES;
pub use query::{CallbackQuery, STALE_AFTER_SECONDS, is_stale};

use crate::config::{ConfigError, PlatformCredentials};
use crate::secret::Secret;
use element::Element;
use xml_writer::Writer;

/// Bytes of an `echostr`; real ones have 20 or, encrypted, 88.
const MAX_ECHOSTR_BYTES: usize = 4096;
/// Bytes of a reply envelope around its ciphertext.
const REPLY_FRAME_BYTES: usize = 256;

/// Which of the two values of a secret: both are accepted while a rotation is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The current setting.
    Current,
    /// The one before a rotation.
    Previous,
}

/// Which token and key matched a request. The reply must use the same (WeChat,
/// technical plan). Token and key are changed independently in WeChat's console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsed {
    /// The token of the signature.
    pub token: Generation,
    /// The key that decrypted it.
    pub aes_key: Generation,
}

/// A request that WeChat signed and encrypted for this platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecryptedPush {
    /// The key to reply with.
    pub key: KeyUsed,
    /// The decrypted XML or JSON.
    pub plaintext: Vec<u8>,
}

/// The clear-text recipient beside the ciphertext of a push.
#[derive(Debug, Clone, Copy)]
pub enum PushRecipient<'a> {
    /// A message or an event of an account: its original id, `gh_…`.
    ToUserName(&'a str),
    /// An event of the component: its app id.
    AppId(&'a str),
}

/// A secret and its predecessor.
#[derive(Debug, Clone)]
struct Generations<T> {
    current: Option<T>,
    previous: Option<T>,
}

impl<T> Generations<T> {
    fn get(&self, generation: Generation) -> Option<&T> {
        match generation {
            Generation::Current => self.current.as_ref(),
            Generation::Previous => self.previous.as_ref(),
        }
    }

    /// Those that are set, the current one first.
    fn iter(&self) -> impl Iterator<Item = (Generation, &T)> {
        [Generation::Current, Generation::Previous].into_iter().filter_map(|g| Some((g, self.get(g)?)))
    }
}

/// The platform's token and keys: one set for authorization events
/// and for all bound accounts. Without keys it refuses everything.
#[derive(Debug, Clone)]
pub struct Envelope {
    app_id: String,
    tokens: Generations<Secret>,
    keys: Generations<AesKey>,
}

impl Envelope {
    /// Takes the platform's credentials.
    ///
    /// # Errors
    /// The setting whose value is not an EncodingAESKey.
    pub fn new(component: &PlatformCredentials) -> Result<Self, ConfigError> {
        let non_empty = |secret: &Secret| (!secret.is_empty()).then(|| secret.clone());
        let parse = |key: Option<Secret>, previous: bool| {
            let parse = |key: Secret| {
                AesKey::parse(key.expose()).ok_or_else(|| ConfigError::malformed_aes_key(previous))
            };
            key.map(parse).transpose()
        };
        Ok(Self {
            app_id: component.app_id.clone(),
            tokens: Generations {
                current: non_empty(&component.token),
                previous: component.token_previous.as_ref().and_then(non_empty),
            },
            keys: Generations {
                current: parse(non_empty(&component.aes_key), false)?,
                previous: parse(component.aes_key_previous.as_ref().and_then(non_empty), true)?,
            },
        })
    }

    /// Verifies and decrypts a POST of WeChat.
    ///
    /// # Errors
    /// Any [`CallbackError`] but [`CallbackError::Stale`]: the caller decides whether to check the time.
    pub fn open(&self, query: &CallbackQuery, body: &[u8]) -> Result<DecryptedPush, CallbackError> {
        let text = element::decode(body)?;
        let outer = Element::parse(&text)?;
        let encrypted = outer.text_of("Encrypt").ok_or(CallbackError::Malformed)?;
        let token = self.verify(query, Some(encrypted))?;
        let (aes_key, plaintext) = self.decrypt(encrypted)?;
        Ok(DecryptedPush { key: KeyUsed { token, aes_key }, plaintext })
    }

    /// Returns the response to a GET that verifies the URL: the `echostr`, decrypted where it came encrypted.
    ///
    /// # Errors
    /// Any [`CallbackError`] but [`CallbackError::Stale`].
    pub fn verify_url(&self, query: &CallbackQuery) -> Result<String, CallbackError> {
        let echo = query.echostr.as_deref().ok_or(CallbackError::Malformed)?;
        if echo.len() > MAX_ECHOSTR_BYTES {
            return Err(CallbackError::TooLarge);
        }
        if query.msg_signature.is_none() {
            self.verify(query, None)?;
            return Ok(echo.to_owned());
        }
        // An unescaped `+` arrives as a space, which base64 does not contain.
        let encrypted = echo.replace(' ', "+");
        self.verify(query, Some(&encrypted))?;
        let (_, plaintext) = self.decrypt(&encrypted)?;
        String::from_utf8(plaintext).map_err(|_| CallbackError::Malformed)
    }

    /// The encrypted passive reply. Empty, which WeChat takes as no reply, where `key` does not exist here.
    #[must_use]
    pub fn seal_reply(
        &self,
        key: KeyUsed,
        xml: &str,
        timestamp: i64,
        nonce: &str,
        random: [u8; 16],
    ) -> String {
        let (Some(token), Some(key)) = (self.tokens.get(key.token), self.keys.get(key.aes_key)) else {
            return String::new();
        };
        let encrypted = crypto::seal(key, random, xml.as_bytes(), &self.app_id);
        let time = timestamp.to_string();
        let signature = signature::sign(&[token.expose(), &time, nonce, &encrypted]);
        let mut out = Writer::new(encrypted.len() + nonce.len() + REPLY_FRAME_BYTES);
        out.verbatim("Encrypt", &encrypted)
            .verbatim("MsgSignature", &signature)
            .plain("TimeStamp", &time)
            .text("Nonce", nonce);
        out.finish()
    }

    /// The request that WeChat would send for `plaintext`: the inverse of [`Envelope::open`], for the
    /// simulator and tests. The query has no `openid`; set it where needed. Without a key the body is empty.
    #[must_use]
    pub fn seal_push(
        &self,
        recipient: PushRecipient<'_>,
        plaintext: &[u8],
        timestamp: i64,
        nonce: &str,
        random: [u8; 16],
    ) -> (CallbackQuery, String) {
        let (Some(token), Some(key)) = (&self.tokens.current, &self.keys.current) else {
            return (CallbackQuery::default(), String::new());
        };
        let encrypted = crypto::seal(key, random, plaintext, &self.app_id);
        let (token, time) = (token.expose(), timestamp.to_string());
        let query = CallbackQuery {
            signature: Some(signature::sign(&[token, &time, nonce])),
            msg_signature: Some(signature::sign(&[token, &time, nonce, &encrypted])),
            timestamp: Some(time),
            nonce: Some(nonce.to_owned()),
            encrypt_type: Some("aes".to_owned()),
            ..CallbackQuery::default()
        };
        let mut body = Writer::new(encrypted.len() + REPLY_FRAME_BYTES);
        match recipient {
            PushRecipient::ToUserName(original_id) => body.text("ToUserName", original_id),
            PushRecipient::AppId(app_id) => body.text("AppId", app_id),
        };
        body.verbatim("Encrypt", &encrypted);
        (query, body.finish())
    }

    /// Decrypts a passive reply, as WeChat would: for the simulator and for tests.
    ///
    /// # Errors
    /// [`CallbackError::Malformed`], [`CallbackError::Signature`] or [`CallbackError::Undecryptable`].
    pub fn open_reply(&self, body: &[u8]) -> Result<Vec<u8>, CallbackError> {
        let text = element::decode(body)?;
        let outer = Element::parse(&text)?;
        let member = |name| outer.text_of(name).unwrap_or_default();
        let (time, nonce, encrypted) = (member("TimeStamp"), member("Nonce"), member("Encrypt"));
        let signed = |token: &Secret| {
            signature::matches(&[token.expose(), time, nonce, encrypted], member("MsgSignature"))
        };
        if !self.tokens.iter().any(|(_, token)| signed(token)) {
            return Err(CallbackError::Signature);
        }
        Ok(self.decrypt(member("Encrypt"))?.1)
    }

    /// `msg_signature` over the ciphertext decides; a `signature`
    /// beside it must match too. Returns which token signed.
    fn verify(&self, query: &CallbackQuery, encrypted: Option<&str>) -> Result<Generation, CallbackError> {
        let timestamp = query.timestamp.as_deref().unwrap_or_default();
        let nonce = query.nonce.as_deref().unwrap_or_default();
        let signed = |token: &str| {
            let message = encrypted.is_none_or(|encrypted| {
                let given = query.msg_signature.as_deref().unwrap_or_default();
                signature::matches(&[token, timestamp, nonce, encrypted], given)
            });
            let plain = match query.signature.as_deref() {
                Some(given) => signature::matches(&[token, timestamp, nonce], given),
                None => encrypted.is_some(),
            };
            message && plain
        };
        let token = self.tokens.iter().find(|(_, token)| signed(token.expose()));
        token.map(|(generation, _)| generation).ok_or(CallbackError::Signature)
    }

    fn decrypt(&self, encrypted: &str) -> Result<(Generation, Vec<u8>), CallbackError> {
        let mut refused = CallbackError::Undecryptable;
        for (generation, key) in self.keys.iter() {
            match crypto::open(key, encrypted, &self.app_id) {
                Ok(plaintext) => return Ok((generation, plaintext)),
                Err(refusal) => refused = refusal,
            }
        }
        Err(refused)
    }
}
