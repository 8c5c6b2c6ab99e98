//! Compares our results with others': vectors from public SDKs, and payloads in WeChat's published shapes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use shared::config::PlatformCredentials;
use shared::envelope::element::Element;
use shared::envelope::{AesKey, CallbackError, CallbackQuery, Envelope, Generation, crypto, signature};
use shared::model::component_event::{ComponentEvent, ComponentEventKind};
use shared::model::content::{Content, Reply};
use shared::model::push::{Push, PushKind};
use shared::secret::Secret;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/wechat")
}

fn samples(prefix: &str) -> Vec<(String, String)> {
    let mut found: Vec<_> = fs::read_dir(fixtures().join("samples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix))
        .map(|path| {
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no samples of {prefix}");
    found
}

fn component(app_id: &str, token: &str, key: &str, previous: Option<&str>) -> PlatformCredentials {
    PlatformCredentials {
        app_id: app_id.to_owned(),
        token: Secret::new(token),
        aes_key: Secret::new(key),
        aes_key_previous: previous.map(Secret::new),
        ..PlatformCredentials::default()
    }
}

/// One test vector, with the members of its kind.
struct Vector(Value);

impl Vector {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn query(&self) -> CallbackQuery {
        let some = |name| self.0.get(name).and_then(Value::as_str).map(str::to_owned);
        CallbackQuery {
            signature: some("signature"),
            timestamp: some("timestamp"),
            nonce: some("nonce"),
            msg_signature: some("msg_signature"),
            ..CallbackQuery::default()
        }
    }

    fn body(&self) -> String {
        format!("<xml><Encrypt><![CDATA[{}]]></Encrypt></xml>", self.get("ciphertext"))
    }

    fn check(&self) {
        let id = self.get("id");
        match self.get("kind") {
            "sha1_sort" => {
                let parts: Vec<&str> =
                    self.0["parts"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
                assert_eq!(signature::sign(&parts), self.get("expect"), "{id}");
            }
            "jssdk_sha1" => {
                let text = format!(
                    "jsapi_ticket={}&noncestr={}&timestamp={}&url={}",
                    self.get("jsapi_ticket"),
                    self.get("noncestr"),
                    self.get("timestamp"),
                    self.get("url")
                );
                assert_eq!(signature::sign(&[&text]), self.get("expect"), "{id}");
            }
            "signature" => self.check_signature(),
            "decrypt" | "encrypt_decrypt" | "url_verify" => self.check_ciphertext(),
            other => panic!("{id}: no test for {other}"),
        }
    }

    fn check_signature(&self) {
        let parts = [self.get("token"), self.get("timestamp"), self.get("nonce")];
        let [a, b, c] = parts;
        if !self.get("msg_signature").is_empty() {
            let signed = signature::sign(&[a, b, c, self.get("ciphertext")]);
            assert_eq!(signed, self.get("msg_signature"), "{}", self.get("id"));
        }
        if !self.get("signature").is_empty() {
            assert_eq!(signature::sign(&parts), self.get("signature"), "{}", self.get("id"));
        }
    }

    fn check_ciphertext(&self) {
        let id = self.get("id");
        self.check_signature();
        let key = AesKey::parse(self.get("encoding_aes_key")).unwrap();
        let (ciphertext, app_id) = (self.get("ciphertext"), self.get("trailing_id"));
        let plaintext = crypto::open(&key, ciphertext, app_id).unwrap();
        assert_eq!(String::from_utf8_lossy(&plaintext), self.get("plaintext"), "{id}");
        let random: Vec<u8> = (0..16)
            .map(|at| u8::from_str_radix(&self.get("random_hex")[at * 2..at * 2 + 2], 16).unwrap())
            .collect();
        let sealed = crypto::seal(&key, random.try_into().unwrap(), &plaintext, app_id);
        assert_eq!(sealed, ciphertext, "{id}");
        self.check_envelope(&plaintext);
    }

    /// The same through [`Envelope`], where the vector has signatures.
    fn check_envelope(&self, plaintext: &[u8]) {
        let (id, current) = (self.get("id"), self.get("current_encoding_aes_key"));
        if self.get("msg_signature").is_empty() {
            return;
        }
        let key = self.get("encoding_aes_key");
        let (current, previous) = if current.is_empty() { (key, None) } else { (current, Some(key)) };
        let expected = self.get("expected_appid");
        let app_id = if expected.is_empty() { self.get("trailing_id") } else { expected };
        let envelope = Envelope::new(&component(app_id, self.get("token"), current, previous)).unwrap();
        if self.get("kind") == "url_verify" {
            let query = CallbackQuery { echostr: Some(self.get("ciphertext").to_owned()), ..self.query() };
            assert_eq!(envelope.verify_url(&query).unwrap().as_bytes(), plaintext, "{id}");
            return;
        }
        let opened = envelope.open(&self.query(), self.body().as_bytes());
        if expected.is_empty() {
            let opened = opened.unwrap();
            let used = if previous.is_some() { Generation::Previous } else { Generation::Current };
            assert_eq!((opened.key.aes_key, opened.plaintext.as_slice()), (used, plaintext), "{id}");
        } else {
            assert_eq!(opened, Err(CallbackError::Undecryptable), "{id}");
        }
    }
}

#[test]
fn every_vector_comes_out_as_published() {
    let file: Value = serde_json::from_slice(&fs::read(fixtures().join("vectors.json")).unwrap()).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 23, "vectors are missing");
    for vector in vectors {
        Vector(vector.clone()).check();
    }
}

#[test]
fn every_sample_of_a_push_has_its_typed_kind() {
    for (name, xml) in samples("msg_").into_iter().chain(samples("event_")) {
        let push = Push::parse(xml.as_bytes()).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let unknown = matches!(push.kind, PushKind::UnknownMessage | PushKind::UnknownEvent);
        assert_eq!(unknown, name.contains("unknown"), "{name}: {:?}", push.kind);
        assert_eq!(push.to_user_name, "gh_7b1c9d2e4f60", "{name}");
        assert_eq!(push.is_message(), name.starts_with("msg_"), "{name}");
        assert_eq!(push.msg_id.is_some(), push.is_message(), "{name}");
        let json = serde_json::to_vec(&Element::parse(&xml).unwrap().members()).unwrap();
        let same = Push::parse(&json).unwrap();
        assert_eq!((same.kind.clone(), same.fields()), (push.kind.clone(), push.fields()), "{name}: as JSON");
    }
}

#[test]
fn what_the_hub_acts_on_comes_out_of_the_samples_as_written() {
    let delivered = |msg_id: &str, status: &str| PushKind::TemplateFinished {
        msg_id: msg_id.into(),
        status: status.into(),
    };
    for (name, kind) in [
        ("msg_text", PushKind::Text { content: "opening hours?".into() }),
        ("event_subscribe_qr", PushKind::Subscribe { event_key: "qrscene_tenant42-shelf7".into() }),
        ("event_scan", PushKind::Scan { event_key: "tenant42-shelf7".into() }),
        ("event_template_block", delivered("3428411849815980002", "failed:user block")),
        ("event_template_ok", delivered("3428411849815980001", "success")),
        ("event_template_system", delivered("3428411849815980003", "failed: system failed")),
    ] {
        let sample = fs::read(fixtures().join("samples").join(format!("{name}.xml"))).unwrap();
        assert_eq!(Push::parse(&sample).unwrap().kind, kind, "{name}");
    }
}

#[test]
fn every_push_to_the_component_is_understood() {
    for (name, xml) in samples("component_") {
        let event = ComponentEvent::parse(xml.as_bytes()).unwrap();
        assert_eq!(
            (event.app_id.as_str(), event.create_time),
            ("wx00c0ffee00c0ffee", 1_735_689_600),
            "{name}"
        );
        let understood = match (name.as_str(), &event.kind) {
            ("component_verify_ticket", ComponentEventKind::VerifyTicket(ticket)) => {
                ticket.expose() == "ticket@@@inventedTicketValue0001"
            }
            ("component_authorized", ComponentEventKind::Authorized(grant))
            | ("component_updateauthorized", ComponentEventKind::UpdateAuthorized(grant)) => {
                grant.authorizer_app_id == "wx5a1b2c3d4e5f6071"
                    && grant.code.expose().starts_with("queryauthcode@@@")
                    && grant.code_expires_at == Some(1_735_693_200)
                    && grant.pre_auth_code.is_some()
            }
            ("component_unauthorized", ComponentEventKind::Unauthorized(app_id)) => {
                app_id == "wx5a1b2c3d4e5f6071"
            }
            _ => false,
        };
        assert!(understood, "{name}: {event:?}");
    }
}

#[test]
fn our_replies_are_those_of_the_samples() {
    let media = json!({"media_id": "Zk3pQ8vR-invented-media-id-01"});
    let text = |content: &str| json!({"msgtype": "text", "text": {"content": content}});
    let replies = [
        ("reply_text", text("Hello & welcome")),
        ("reply_text_release_event", text("LOCATIONfrom_callback")),
        ("reply_text_release_test", text("TESTCOMPONENT_MSG_TYPE_TEXT_callback")),
        ("reply_image", json!({"msgtype": "image", "image": media})),
        ("reply_voice", json!({"msgtype": "voice", "voice": media})),
        (
            "reply_video",
            json!({"msgtype": "video", "video": {
                "media_id": "Zk3pQ8vR-invented-media-id-01", "title": "Tour", "description": "shop tour"}}),
        ),
        (
            "reply_music",
            json!({"msgtype": "music", "music": {
                "title": "Tune", "description": "calm", "musicurl": "https://example.com/m.mp3",
                "hqmusicurl": "https://example.com/mhq.mp3", "thumb_media_id": "Zk3pQ8vR-invented-media-id-01"}}),
        ),
        (
            "reply_news",
            json!({"msgtype": "news", "news": {"articles": [{
                "title": "Sale", "description": "today", "picurl": "https://example.com/p.jpg",
                "url": "https://example.com/sale"}]}}),
        ),
        ("reply_transfer_customer_service", json!({"msgtype": "transfer_customer_service"})),
        (
            "reply_transfer_customer_service_to",
            json!({"msgtype": "transfer_customer_service", "kf_account": "anna@shopgh"}),
        ),
    ];
    for (name, published) in samples("reply_") {
        let (_, json) = replies
            .iter()
            .find(|(reply, _)| *reply == name)
            .unwrap_or_else(|| panic!("{name} has no counterpart"));
        let ours = Reply::try_from(json.clone())
            .unwrap()
            .passive_xml("oHub0aBcDeFgHiJkLmNoPqRsTuV1", "gh_7b1c9d2e4f60", 1_735_689_601)
            .unwrap();
        assert_eq!(Element::parse(&ours).unwrap(), Element::parse(&published).unwrap(), "{name}");
    }
}

#[test]
fn published_customer_service_messages_are_contents() {
    for (name, json) in samples("custom_send_") {
        let mut value: Value = serde_json::from_str(&json).unwrap();
        value.as_object_mut().unwrap().shift_remove("touser");
        let content = Content::parse(value.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(content.as_json(), &value, "{name}");
    }
}
