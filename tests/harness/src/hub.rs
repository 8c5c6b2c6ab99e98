//! Pushes from WeChat to the hub: lost, unanswered, twice at once, or again much later. Records
//! what became of each.

use std::sync::Arc;

use wechat_simulator::{
    HubFuture, HubResponse, HubTransport,
    xml::{XmlDocument, first_value},
};

use crate::{
    deployment::{InProcessHub, SimulatedDeployment},
    faults::Fault,
    http_event::http_event,
    rare_states::RareState,
    records::{AcknowledgedPush, PushArrival},
};

impl HubTransport for InProcessHub {
    fn post(&self, url: String, body: String) -> HubFuture<'_> {
        let world = self.0.get().unwrap().upgrade().unwrap();
        Box::pin(async move {
            let faults = &world.backends.faults;
            let fault = faults.draw(&[Fault::PushLost, Fault::PushUnanswered, Fault::PushTwice]);
            if fault == Some(Fault::PushLost) {
                return Err("lost on the way".into());
            }
            if faults.push_is_late() {
                world.late_pushes.lock().unwrap().push((url.clone(), body.clone()));
            }
            // a function keeps running when WeChat hangs up
            let deliver = || {
                let (world, url, body) = (Arc::clone(&world), url.clone(), body.clone());
                tokio::spawn(async move { world.deliver_push(&url, &body).await })
            };
            let second = (fault == Some(Fault::PushTwice)).then(deliver);
            let answer = deliver().await.unwrap();
            if let Some(second) = second {
                second.await.unwrap().ok();
                world.backends.rare_states.reached(RareState::PushTwiceAtOnce);
            }
            if fault == Some(Fault::PushUnanswered) { Err("landed, not answered".into()) } else { answer }
        })
    }
}

impl SimulatedDeployment {
    /// Delivers a push to the function behind its URL.
    ///
    /// # Errors
    /// The function died.
    pub async fn deliver_push(&self, url: &str, body: &str) -> Result<HubResponse, String> {
        let (path, query) = url.strip_prefix("http://hub").unwrap().split_once('?').unwrap();
        let name = self.function_for("POST", path);
        let app_id = path.rsplit('/').next().unwrap().to_owned();
        let arrived_at = self.now();
        if name == "MessageCallback" {
            let first =
                PushArrival { arrived_at_ms: self.clock.now().as_millisecond(), answered_at_ms: None };
            self.arrivals.lock().unwrap().entry(self.decrypt(body)).or_insert(first);
        }
        let answer = self.invoke(&name, http_event("POST", path, query, &[], Some(body), self.now())).await;
        let Some((answer, seen)) = answer else { return Err("the function died".into()) };
        let status = u16::try_from(answer["statusCode"].as_u64().unwrap()).unwrap();
        let text = answer["body"].as_str().unwrap_or_default().to_owned();
        let violation = |what: String| self.violations.lock().unwrap().push(format!("{name}: {what}"));
        if seen.wechat > 0 {
            violation(format!("called WeChat {} times while a push waited", seen.wechat));
        }
        if name == "MessageCallback" {
            // a follow and an unfollow within one second cost a third write
            let event = first_value(&self.decrypt(body), "Event").unwrap_or_default().to_owned();
            if seen.writes > 2 + u32::from(event.ends_with("subscribe")) || seen.reads > 1 {
                violation(format!("{} writes and {} reads for one push", seen.writes, seen.reads));
            }
            if status == 200 {
                self.record_acknowledged(app_id, body, &text, arrived_at);
            }
        }
        Ok(HubResponse { status, body: text })
    }

    /// The plaintext of an encrypted body.
    pub fn decrypt(&self, body: &str) -> String {
        let sealed = XmlDocument::parse(body).unwrap();
        self.key.open(sealed.get("Encrypt").unwrap()).unwrap().0
    }

    fn record_acknowledged(&self, app_id: String, body: &str, answer: &str, arrived_at: i64) {
        let plaintext = self.decrypt(body);
        let now = self.clock.now().as_millisecond();
        if let Some(arrival) = self.arrivals.lock().unwrap().get_mut(&plaintext) {
            arrival.answered_at_ms.get_or_insert(now);
        }
        self.acknowledged.lock().unwrap().push(AcknowledgedPush {
            open_id: first_value(&plaintext, "FromUserName").unwrap().to_owned(),
            reply: (!answer.is_empty() && answer != "success").then(|| self.decrypt(answer)),
            must_be_stored: self.bound_since(&app_id, arrived_at),
            plaintext,
            app_id,
        });
    }

    /// Delivers pushes again that arrived long ago.
    pub async fn redeliver_pushes(&self) {
        let late = std::mem::take(&mut *self.late_pushes.lock().unwrap());
        for (url, body) in late {
            let app_id = url.split('?').next().unwrap().rsplit('/').next().unwrap();
            if self.backends.was_unbound(app_id) {
                self.backends.rare_states.reached(RareState::LatePushAfterUnbinding);
            }
            self.deliver_push(&url, &body).await.ok();
        }
    }
}
