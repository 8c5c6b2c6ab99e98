//! Pushes to the hub: encrypted, signed, sent up to three times, and the passive reply decrypted.
//!
//! Each attempt is encrypted again with its own timestamp and nonce, as WeChat does; the plaintext (`MsgId`,
//! `CreateTime`) stays the same. An attempt fails without a 2xx response within five seconds.

use std::time::Duration;

use crate::crypto::signature;
use crate::faults::{FaultKind, take_fault};
use crate::hub_transport::HubResponse;
use crate::log::{PushAttempt, PushDelivery, PushOutcome};
use crate::passive_reply::{decrypt_reply, passive_reply_text};
use crate::simulator::Simulator;
use crate::state::chat::Sender;
use crate::state::outgoing_push::{CallbackUrl, OutgoingPush};
use crate::world::World;
use crate::xml::{XmlBuilder, XmlDocument, first_value};

impl Simulator {
    /// Sends a push now and returns when it has been delivered or has failed.
    pub async fn deliver(&self, push: OutgoingPush) -> PushDelivery {
        let (fault, mut delivery, settings) = self.with_world(|mut world| {
            (world.take_push_fault(&push), world.new_delivery(&push), world.state.settings.clone())
        });
        if matches!(fault, Some(FaultKind::DropPush)) {
            delivery.note = Some("a fault dropped it".into());
            self.state().deliveries.add(delivery.clone());
            return delivery;
        }
        let timeout = settings.push_timeout_ms;
        let send = async || {
            let (query, body) = self.with_world(|world| world.seal(&push));
            let url = format!("{}?{query}", self.callback_url(&push));
            tokio::time::timeout(Duration::from_millis(timeout), self.hub().post(url, body)).await
        };
        let mut answer = None;
        for attempt in 0..settings.push_attempts {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(settings.push_pause_ms)).await;
            }
            let at = self.now();
            let (status, error) = match send().await {
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
            let _ = send().await;
        }
        self.with_world(|mut world| {
            world.apply_reply(&mut delivery, answer.as_deref());
            world.state.deliveries.add(delivery.clone());
        });
        delivery
    }
}

impl World<'_> {
    fn take_push_fault(&mut self, push: &OutgoingPush) -> Option<FaultKind> {
        let (target, kind) = (format!("push/{}", push.target.name()), format!("push/{}", push.kind));
        let about = XmlDocument::parse(&push.plaintext).unwrap_or_default();
        let app_id = push.app_id.as_deref().or_else(|| about.get("AuthorizerAppid"));
        take_fault(&mut self.state.faults, &[&target, &kind], app_id)
    }

    /// Logs a push that WeChat would not send.
    pub fn record_unsent(&mut self, push: &OutgoingPush, why: &str) -> PushDelivery {
        let mut delivery = self.new_delivery(push);
        delivery.note = Some(why.to_owned());
        self.state.deliveries.add(delivery.clone());
        delivery
    }

    fn new_delivery(&mut self, push: &OutgoingPush) -> PushDelivery {
        PushDelivery {
            id: self.state.next_id(),
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

    /// The signed query and the encrypted body of one attempt.
    fn seal(&self, push: &OutgoingPush) -> (String, String) {
        let (timestamp, nonce) = (self.now().to_string(), self.random_digits(10));
        let component = self.component;
        let encrypted = self.aes_key.seal(self.random_bytes(), &push.plaintext, &component.app_id);
        let token = component.token.expose();
        let plain = signature(&[token, &timestamp, &nonce]);
        let whole = signature(&[token, &timestamp, &nonce, &encrypted]);
        let openid = push.openid.as_ref().map(|id| format!("&openid={id}")).unwrap_or_default();
        let query = format!(
            "signature={plain}&timestamp={timestamp}&nonce={nonce}{openid}&encrypt_type=aes&msg_signature={whole}"
        );
        let recipient = first_value(&push.plaintext, "ToUserName").unwrap_or_default();
        let body = match push.target {
            CallbackUrl::Component => XmlBuilder::default().text("AppId", &component.app_id),
            CallbackUrl::Message => XmlBuilder::default().text("ToUserName", recipient),
        };
        (query, body.text("Encrypt", &encrypted).build())
    }

    /// Evaluates the response and adds what the follower would see to the chat.
    fn apply_reply(&mut self, delivery: &mut PushDelivery, answer: Option<&str>) {
        let (component, key) = (self.component, &self.aes_key);
        let decrypted =
            answer.map(|body| decrypt_reply(body, &component.app_id, component.token.expose(), key));
        delivery.outcome = match decrypted {
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
        if let (PushOutcome::Replied, Some(reply)) = (delivery.outcome, &delivery.reply) {
            match passive_reply_text(reply, &delivery.plaintext) {
                Ok(Some((kind, text))) => {
                    let item = (Sender::Account, "passive", &*kind, text, reply.clone().into());
                    self.add_chat_item(app_id, openid, item);
                }
                Ok(None) => {}
                Err(why) => {
                    delivery.note = Some(why);
                    delivery.outcome = PushOutcome::Malformed;
                }
            }
        }
        // WeChat shows this notice for messages only; a failed event push stays invisible.
        if matches!(delivery.outcome, PushOutcome::Failed | PushOutcome::Malformed)
            && first_value(&delivery.plaintext, "MsgType") != Some("event")
        {
            let words = "该公众号提供的服务出现故障，请稍后再试".to_owned();
            let item = (Sender::System, "notice", "fault", words, delivery.note.clone().into());
            self.add_chat_item(app_id, openid, item);
        }
    }
}
