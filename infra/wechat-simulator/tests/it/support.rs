//! A simulator with its own clock, and a hub that records the pushes it gets.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use shared::clock::ManualClock;
use shared::config::PlatformCredentials;
use shared::random::StdRandom;
use shared::secret::Secret;
use wechat_simulator::crypto::{AesKey, signature};
use wechat_simulator::xml::{XmlBuilder, XmlDocument};
use wechat_simulator::{
    HubFuture, HubResponse, HubTransport, OwnerConsent, Simulator, SimulatorDependencies,
};

pub const COMPONENT: &str = "wx00c0ffee00c0ffee";
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub const TOKEN: &str = "pamtest";
pub const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
pub const SERVICE: &str = "wx5a1b2c3d4e5f6071";
pub const SUBSCRIPTION: &str = "wx6b2c3d4e5f607182";
pub const UNVERIFIED: &str = "wx7c3d4e5f60718293";
pub const BIG: &str = "wx8d4e5f60718293a4";
pub const MINI: &str = "wx9e5f60718293a4b5";
/// 2025-01-01 00:00 UTC.
pub const START: i64 = 1_735_689_600;

/// What the hub does with the next push; `success` when nothing is planned.
pub enum PlannedResponse {
    Answer(u16, String),
    /// Responds with this plaintext, encrypted.
    Reply(String),
    Hang,
    Refuse,
}

#[derive(Default)]
pub struct RecordingHub {
    pub planned: Mutex<VecDeque<PlannedResponse>>,
    pub requests: Mutex<Vec<(String, String)>>,
}

impl RecordingHub {
    pub fn respond_next(&self, plan: PlannedResponse) {
        self.planned.lock().unwrap().push_back(plan);
    }

    /// The decrypted pushes so far, each checked as a hub checks them.
    pub fn decrypted_pushes(&self) -> Vec<String> {
        let key = AesKey::decode(AES_KEY).unwrap();
        let open = |(url, body): &(String, String)| {
            let url = reqwest::Url::parse(url).unwrap();
            let get = |name: &str| url.query_pairs().find(|(n, _)| n == name).unwrap().1.into_owned();
            let (timestamp, nonce) = (get("timestamp"), get("nonce"));
            let encrypted = XmlDocument::parse(body).unwrap().get("Encrypt").unwrap().to_owned();
            assert_eq!(get("encrypt_type"), "aes");
            assert_eq!(get("signature"), signature(&[TOKEN, &timestamp, &nonce]));
            assert_eq!(get("msg_signature"), signature(&[TOKEN, &timestamp, &nonce, &encrypted]));
            let (xml, app_id) = key.open(&encrypted).unwrap();
            assert_eq!(app_id, COMPONENT);
            xml
        };
        self.requests.lock().unwrap().iter().map(open).collect()
    }
}

impl HubTransport for RecordingHub {
    fn post(&self, url: String, body: String) -> HubFuture<'_> {
        self.requests.lock().unwrap().push((url, body));
        let plan = self
            .planned
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(PlannedResponse::Answer(200, "success".into()));
        Box::pin(async move {
            match plan {
                PlannedResponse::Answer(status, body) => Ok(HubResponse { status, body }),
                PlannedResponse::Reply(xml) => Ok(HubResponse { status: 200, body: sealed_reply(&xml) }),
                PlannedResponse::Hang => std::future::pending().await,
                PlannedResponse::Refuse => Err("connection refused".into()),
            }
        })
    }
}

/// A passive reply as the hub seals it.
pub fn sealed_reply(xml: &str) -> String {
    let encrypted = AesKey::decode(AES_KEY).unwrap().seal([9; 16], xml, COMPONENT);
    let parts = XmlBuilder::default().text("Encrypt", &encrypted).number("TimeStamp", 7).text("Nonce", "n");
    parts.text("MsgSignature", &signature(&[TOKEN, "7", "n", &encrypted])).build()
}

pub struct SimulatorFixture {
    pub simulator: Simulator,
    pub clock: ManualClock,
    pub hub: Arc<RecordingHub>,
    pub component_token: String,
}

impl SimulatorFixture {
    /// The demo accounts, a ticket pushed, a component token at hand.
    pub async fn new() -> Self {
        let (clock, hub) = (ManualClock::at(START), Arc::new(RecordingHub::default()));
        let simulator = Simulator::demo(SimulatorDependencies {
            component: PlatformCredentials {
                app_id: COMPONENT.into(),
                app_secret: Secret::new(SECRET),
                token: Secret::new(TOKEN),
                aes_key: Secret::new(AES_KEY),
                ..PlatformCredentials::default()
            },
            hub_url: "http://hub.example/".into(),
            clock: Arc::new(clock.clone()),
            random: Arc::new(StdRandom::seeded(1)),
            hub: hub.clone(),
        })
        .unwrap();
        let mut world = Self { simulator, clock, hub, component_token: String::new() };
        world.component_token = world.fresh_component_token().await;
        world
    }

    pub async fn fresh_component_token(&self) -> String {
        let delivery = self.simulator.push_ticket().await;
        let ticket =
            XmlDocument::parse(&delivery.plaintext).unwrap().get("ComponentVerifyTicket").unwrap().to_owned();
        let body = json!({"component_appid": COMPONENT, "component_appsecret": SECRET, "component_verify_ticket": ticket});
        let answer = self.post("/cgi-bin/component/api_component_token", &body).await;
        answer["component_access_token"].as_str().unwrap().to_owned()
    }

    pub async fn post(&self, target: &str, body: &Value) -> Value {
        let answer = self.simulator.request("POST", target, &body.to_string()).await.unwrap();
        serde_json::from_str(&answer.body).unwrap()
    }

    pub async fn get(&self, target: &str) -> Value {
        let answer = self.simulator.request("GET", target, "").await.unwrap();
        serde_json::from_str(&answer.body).unwrap()
    }

    /// A component endpoint with the component's token.
    pub async fn component(&self, endpoint: &str, mut body: Value) -> Value {
        body["component_appid"] = json!(COMPONENT);
        let target = format!("/cgi-bin/component/{endpoint}?component_access_token={}", self.component_token);
        self.post(&target, &body).await
    }

    /// Binds an account with all permission sets; its access and refresh tokens.
    pub async fn bind(&self, app_id: &str) -> (String, String) {
        self.bind_with(app_id, None).await
    }

    pub async fn bind_with(&self, app_id: &str, func_ids: Option<Vec<u32>>) -> (String, String) {
        let grant = OwnerConsent { app_id: app_id.into(), func_ids, ..OwnerConsent::default() };
        let code = self.simulator.authorize(grant).unwrap().auth_code;
        let answer = self.component("api_query_auth", json!({"authorization_code": code})).await;
        let info = &answer["authorization_info"];
        let text = |name: &str| info[name].as_str().unwrap().to_owned();
        (text("authorizer_access_token"), text("authorizer_refresh_token"))
    }
}

pub fn errcode(answer: &Value) -> i64 {
    answer["errcode"].as_i64().unwrap_or(0)
}
