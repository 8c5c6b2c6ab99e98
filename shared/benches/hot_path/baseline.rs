//! The same message handled by a baseline program that checks only the signature and knows where everything
//! is: the cost of processor and ciphers alone. Our figure is compared with it, since machines differ.

use std::fmt::Write as _;

use aes::{Aes256Dec, Aes256Enc};
use base64::Engine;
use base64::engine::Simd;
use base64::engine::general_purpose::PAD;
use base64::prelude::BASE64_STANDARD;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use sha1::{Digest, Sha1};
use shared::envelope::CallbackQuery;

/// Keys and encoder, made once.
pub struct BaselineProgram {
    token: String,
    app_id: String,
    encrypt: Aes256Enc,
    decrypt: Aes256Dec,
    iv: [u8; 16],
    base64: Simd,
}

impl BaselineProgram {
    pub fn new(token: &str, app_id: &str, aes_key: &str) -> Self {
        let key = BASE64_STANDARD.decode(format!("{aes_key}=")).expect("the key ends in zero bits");
        let key: [u8; 32] = key.try_into().expect("the key has 32 bytes");
        Self {
            token: token.to_owned(),
            app_id: app_id.to_owned(),
            encrypt: Aes256Enc::new(&key.into()),
            decrypt: Aes256Dec::new(&key.into()),
            iv: *key.first_chunk().expect("the key has 16 bytes"),
            base64: Simd::standard(PAD),
        }
    }

    /// Verifies, decrypts, finds sender, recipient and text, responds with `answer`, encrypts and signs.
    pub fn respond(
        &self,
        query: &CallbackQuery,
        body: &str,
        nonce: &str,
        random: [u8; 16],
        answer: &str,
    ) -> String {
        let encrypted = between(body, "<Encrypt><![CDATA[", "]]>");
        let (time, given) = (query.timestamp.as_deref(), query.msg_signature.as_deref());
        let signed =
            self.sign(time.unwrap_or_default(), query.nonce.as_deref().unwrap_or_default(), encrypted);
        assert_eq!(Some(signed.as_str()), given, "the signature");
        let mut plain = self.base64.decode(encrypted).expect("base64");
        let decryptor = cbc::Decryptor::inner_iv_init(&self.decrypt, &self.iv.into());
        decryptor.decrypt_padded::<NoPadding>(&mut plain).expect("whole blocks");
        let text = std::str::from_utf8(plain.get(20..).unwrap_or_default()).expect("UTF-8");
        let to = between(text, "<ToUserName><![CDATA[", "]]>");
        let from = between(text, "<FromUserName><![CDATA[", "]]>");
        assert!(between(text, "<Content><![CDATA[", "]]>").contains("hours"), "the keyword");

        let mut buffer = String::with_capacity(512);
        write!(
            buffer,
            "<xml><ToUserName><![CDATA[{from}]]></ToUserName><FromUserName><![CDATA[{to}]]></FromUserName>\
             <CreateTime>1735689600</CreateTime><MsgType><![CDATA[text]]></MsgType>\
             <Content><![CDATA[{answer}]]></Content></xml>"
        )
        .expect("writing to a String");
        let mut sealed = Vec::with_capacity(buffer.len() + self.app_id.len() + 52);
        sealed.extend_from_slice(&random);
        sealed.extend_from_slice(&u32::try_from(buffer.len()).expect("is short").to_be_bytes());
        sealed.extend_from_slice(buffer.as_bytes());
        sealed.extend_from_slice(self.app_id.as_bytes());
        let pad = 32 - sealed.len() % 32;
        sealed.resize(sealed.len() + pad, u8::try_from(pad).expect("is at most 32"));
        let whole = sealed.len();
        let encryptor = cbc::Encryptor::inner_iv_init(&self.encrypt, &self.iv.into());
        encryptor.encrypt_padded::<NoPadding>(&mut sealed, whole).expect("whole blocks");
        let sealed = self.base64.encode(sealed);
        let signature = self.sign("1735689600", nonce, &sealed);
        format!(
            "<xml><Encrypt><![CDATA[{sealed}]]></Encrypt><MsgSignature><![CDATA[{signature}]]></MsgSignature>\
             <TimeStamp>1735689600</TimeStamp><Nonce><![CDATA[{nonce}]]></Nonce></xml>"
        )
    }

    fn sign(&self, time: &str, nonce: &str, encrypted: &str) -> String {
        let mut parts = [self.token.as_str(), time, nonce, encrypted];
        parts.sort_unstable();
        let mut hash = Sha1::new();
        for part in parts {
            hash.update(part);
        }
        let mut digits = String::with_capacity(40);
        for byte in hash.finalize() {
            let digit = |value: u8| char::from(value + if value < 10 { b'0' } else { b'a' - 10 });
            digits.push(digit(byte >> 4));
            digits.push(digit(byte & 15));
        }
        digits
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).expect("starts");
    rest.split_once(end).expect("ends").0
}
