//! Pushes from WeChat to the hub: lost, unanswered, twice at once, or again much later. Records
//! what became of each.

use std::sync::{Arc, OnceLock, Weak};

use serde_json::{Value, json};
use wechat_simulator::{
    HubFuture, HubResponse, HubTransport,
    xml::{XmlDocument, first_value},
};

use super::{SimulatedDeployment, faults::FaultOutcome};

/// A push that the hub answered with 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgedPush {
    /// The account.
    pub app_id: String,
    /// The follower.
    pub open_id: String,
    /// The decrypted push.
    pub plaintext: String,
    /// The decrypted reply.
    pub reply: Option<String>,
    /// The account was bound all along, so the event must be on the timeline.
    pub must_be_stored: bool,
}

/// When a push first arrived and when it was first answered with 200, in unix milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct PushArrival {
    /// When it reached the function.
    pub arrived_at_ms: i64,
    /// When the function returned.
    pub answered_at_ms: Option<i64>,
}

/// Delivers pushes to the functions in process.
#[derive(Default)]
pub struct InProcessHub(OnceLock<Weak<SimulatedDeployment>>);

impl InProcessHub {
    /// Sets the deployment that pushes go to.
    pub fn connect(&self, world: &Arc<SimulatedDeployment>) {
        self.0.set(Arc::downgrade(world)).unwrap();
    }
}

impl HubTransport for InProcessHub {
    fn post(&self, url: String, body: String) -> HubFuture<'_> {
        let world = self.0.get().unwrap().upgrade().unwrap();
        Box::pin(async move {
            let fate = world.backends.faults.for_push();
            if fate == FaultOutcome::Lost {
                return Err("lost on the way".into());
            }
            if world.backends.faults.rates().push > 0 && world.backends.faults.random_below(10) == 0 {
                world.late_pushes.lock().unwrap().push((url.clone(), body.clone()));
            }
            // a function keeps running when WeChat hangs up
            let deliver = || {
                let (world, url, body) = (Arc::clone(&world), url.clone(), body.clone());
                tokio::spawn(async move { world.deliver_push(&url, &body).await })
            };
            let second = (fate == FaultOutcome::BusyOrTwice).then(deliver);
            let answer = deliver().await.unwrap();
            if let Some(second) = second {
                second.await.unwrap().ok();
            }
            if fate == FaultOutcome::Unanswered { Err("landed, not answered".into()) } else { answer }
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
            self.deliver_push(&url, &body).await.ok();
        }
    }
}

/// What API Gateway sends for a request (payload 2.0).
pub fn http_event(
    method: &str,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
    now: i64,
) -> Value {
    let mut all = json!({"host": "hub", "content-type": "application/json"});
    for (name, value) in headers {
        all[*name] = json!(value);
    }
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": all,
        "requestContext": {
            "accountId": "000000000000", "apiId": "sim", "domainName": "hub", "domainPrefix": "hub",
            "requestId": "sim", "routeKey": "$default", "stage": "$default",
            "time": "01/Jan/2025:00:00:00 +0000", "timeEpoch": now * 1000,
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "sim",
            },
        },
        "body": body, "isBase64Encoded": false,
    })
}
