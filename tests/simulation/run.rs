//! Runs a history in a simulated deployment.

use std::sync::Arc;

use futures::future::join_all;
use oahub_harness::{
    deployment::SimulatedDeployment,
    faults::{Fault, FaultRates},
    settings::ADMIN_KEY,
};
use serde_json::{Value, json};
use wechat_simulator::{
    CallbackUrl, FaultKind, FollowerAction, InjectedFault, NewAccount, OwnerConsent, PushOverrides,
    xml::first_value,
};

use crate::ops::{ACCOUNTS, FANS, FanOp, FanOpKind, History, Op};

/// A follow or unfollow by a fan, as WeChat knows it.
#[derive(Debug, Clone)]
pub struct SubscriptionChange {
    pub account: usize,
    pub open_id: String,
    pub at: i64,
    pub subscribed: bool,
    pub plaintext: String,
}

/// A text that a fan typed.
#[derive(Debug, Clone)]
pub struct TypedText {
    pub account: usize,
    pub text: &'static str,
    pub plaintext: String,
}

/// A message that a program asked to be sent.
#[derive(Debug, Clone)]
pub struct RequestedMessage {
    pub account: usize,
    pub open_id: String,
    /// Unique to this message.
    pub text: String,
    /// With an idempotency key: sent once at most, however often it is requested.
    pub keyed: bool,
    pub times: usize,
    /// Message ids that were accepted with 202.
    pub accepted: Vec<String>,
}

/// A deployment with a history running in it.
pub struct Run {
    pub world: Arc<SimulatedDeployment>,
    pub apps: [String; ACCOUNTS],
    /// API keys of the two tenants.
    pub keys: [String; 2],
    pub tenants: [String; 2],
    pub fans: Vec<Vec<String>>,
    pub subscription_changes: Vec<SubscriptionChange>,
    pub typed_texts: Vec<TypedText>,
    pub sent: Vec<RequestedMessage>,
    pub unfollows: usize,
    pub acts_that_open_windows: usize,
    pub steps: usize,
    /// How often each account's tokens ended before their time, each of which explains a refresh.
    pub ended_tokens: [u32; ACCOUNTS],
    pub worst_rates: FaultRates,
}

/// The index of the tenant that an account belongs to.
pub fn tenant_of(account: usize) -> usize {
    usize::from(account == 2)
}

impl Run {
    /// A deployment at the start of a history.
    pub async fn new(seed: u64, history: &History) -> Self {
        let world = SimulatedDeployment::new(seed);
        world.create_tables().await;
        let sim = world.sim();
        let apps: [String; ACCOUNTS] = std::array::from_fn(|n| format!("wx000000000000000{n}"));
        let mut fans = Vec::new();
        sim.configure(|s| s.followers_page = 7);
        for (n, app) in apps.iter().enumerate() {
            let new = NewAccount {
                app_id: Some(app.clone()),
                original_id: Some(format!("gh_00000000000{n}")),
                followers: history.followers[n],
                open_platform: (n < 2).then(|| "together".to_owned()),
                ..NewAccount::default()
            };
            let account = sim.add_account(new).unwrap();
            let mut known = account.followers.page("", FANS / 2).unwrap();
            while known.len() < FANS {
                known.push(sim.add_follower(app, None, None, None).unwrap().openid);
            }
            fans.push(known);
            world.backends.binding_changed_at.lock().unwrap().insert(app.clone(), world.now());
        }
        sim.push_ticket().await;
        world.mark_ticked();
        let (mut keys, mut tenants) = (Vec::new(), Vec::new());
        for name in ["one", "other"] {
            let made = world.api(ADMIN_KEY, "POST", "/v1/tenants", Some(json!({"name": name})), None).await;
            let (status, made) = made.unwrap();
            assert_eq!(status, 201, "{made}");
            keys.push(made["api_key"].as_str().unwrap().to_owned());
            tenants.push(made["id"].as_str().unwrap().to_owned());
        }
        let keys: [String; 2] = keys.try_into().unwrap();
        for (n, app) in apps.iter().enumerate().filter(|(n, _)| history.bound[*n]) {
            assert_eq!(world.bind(&keys[tenant_of(n)], app, true, true).await, Some(200), "{app}");
        }
        Self {
            world,
            apps,
            keys,
            tenants: tenants.try_into().unwrap(),
            fans,
            subscription_changes: Vec::new(),
            typed_texts: Vec::new(),
            sent: Vec::new(),
            unfollows: 0,
            acts_that_open_windows: 0,
            steps: 0,
            ended_tokens: [0; ACCOUNTS],
            worst_rates: FaultRates::default(),
        }
    }

    /// Runs one step.
    pub async fn step(&mut self, op: &Op) {
        self.steps += 1;
        let world = Arc::clone(&self.world);
        let sim = world.sim();
        match op {
            Op::Bind { account, returns, event } => {
                self.ended_tokens[*account] += 1;
                let key = &self.keys[tenant_of(*account)];
                world.bind(key, &self.apps[*account], *returns, *event).await;
                sim.deliver_pending().await;
            }
            Op::Authorize { account } => {
                self.ended_tokens[*account] += 1;
                let app_id = self.apps[*account].clone();
                sim.authorize(OwnerConsent { app_id, ..OwnerConsent::default() }).ok();
                sim.deliver_pending().await;
            }
            Op::Unauthorize { account, event } => {
                self.ended_tokens[*account] += 1;
                world.withdraw(&self.apps[*account], *event);
                sim.deliver_pending().await;
            }
            Op::Delete { account } => {
                let path = format!("/v1/accounts/{}", self.apps[*account]);
                world.api(&self.keys[tenant_of(*account)], "DELETE", &path, None, None).await;
            }
            Op::Act(deed) => self.fan_ops(std::slice::from_ref(deed)).await,
            Op::ActAndRepeatLater(deed) => {
                self.worst_rates.raise(&[(Fault::PushLate, 1)].into_iter().collect());
                world.backends.faults.make_next_push_late(true);
                self.fan_ops(std::slice::from_ref(deed)).await;
                world.backends.faults.make_next_push_late(false);
            }
            Op::Burst(deeds) => self.fan_ops(deeds).await,
            Op::Send { account, fan, content, template, keyed, times } => {
                self.send(*account, *fan, (*content, *template), *keyed, *times).await;
            }
            Op::BroadcastReport { account } => {
                let (app, now) = (&self.apps[*account], world.now());
                let to = sim.account(app).unwrap().original_id;
                let report = format!(
                    "<xml><ToUserName><![CDATA[{to}]]></ToUserName><FromUserName><![CDATA[oNobody]]></FromUserName>\
                     <CreateTime>{now}</CreateTime><MsgType><![CDATA[event]]></MsgType><Event>\
                     <![CDATA[MASSSENDJOBFINISH]]></Event><MsgID>1</MsgID></xml>"
                );
                sim.push_raw(CallbackUrl::Message, Some(app), report).await;
            }
            Op::Import { account } => {
                let path = format!("/v1/accounts/{}/imports", self.apps[*account]);
                world.api(&self.keys[tenant_of(*account)], "POST", &path, None, None).await;
            }
            Op::SetReplyRules { account, version } => {
                let path = format!("/v1/accounts/{}/reply-rules", self.apps[*account]);
                world
                    .api(&self.keys[tenant_of(*account)], "PUT", &path, Some(reply_rules(*version)), None)
                    .await;
            }
            Op::ProcessBatches { batches } => {
                world.process_batches(*batches).await;
            }
            Op::RedeliverBatches => world.redeliver_batches().await,
            Op::RedeliverPushes => world.redeliver_pushes().await,
            Op::Tick => world.tick().await,
            Op::Advance { seconds } => world.advance(*seconds).await,
            Op::DropWarmInstances => world.drop_warm_instances(),
            Op::EndTokens { account, revoke } => {
                let ended = (0..ACCOUNTS).filter(|n| account.is_none_or(|only| only == *n));
                ended.for_each(|n| self.ended_tokens[n] += 1);
                let app = account.map(|n| self.apps[n].as_str());
                if *revoke { sim.invalidate_tokens(app) } else { sim.expire_tokens(app) }
            }
            Op::RotateRefreshTokens(rotate) => sim.configure(|s| s.rotate_refresh_tokens = *rotate),
            Op::ExhaustQuota { path, times } => {
                sim.inject_fault(
                    InjectedFault::once(*path, FaultKind::Error { errcode: 45009 }).times(*times),
                );
            }
            Op::LoseSendAnswers { path, times } => {
                sim.inject_fault(InjectedFault::once(*path, FaultKind::LostResponse).times(*times));
            }
            Op::DropPushes { times } => {
                sim.inject_fault(InjectedFault::once("push/message", FaultKind::DropPush).times(*times));
            }
            Op::UnescapedRemark { account, fan, text } => {
                let open_id = self.fans[*account][*fan].clone();
                let typed =
                    |follower: &mut wechat_simulator::Follower| follower.unescaped = (*text).to_owned();
                sim.change_account(&self.apps[*account], |a| a.followers.update(&open_id, typed)).unwrap();
            }
            Op::LoseFirstJob => world.backends.faults.inject_next("page_v1", Fault::Lost),
            Op::SetFaults(rates) => {
                self.worst_rates.raise(rates);
                world.backends.faults.set_rates(rates.clone());
            }
        }
    }

    async fn fan_ops(&mut self, ops: &[FanOp]) {
        let acts = ops.iter().map(|deed| {
            let (app, open_id) = (self.apps[deed.account].clone(), self.fans[deed.account][deed.fan].clone());
            let world = Arc::clone(&self.world);
            let act = follower_action(deed.kind);
            async move { world.sim().act(&app, &open_id, act, PushOverrides::default()).await }
        });
        let done = join_all(acts).await;
        for (deed, delivery) in ops.iter().zip(done) {
            let Ok(delivery) = delivery else { continue };
            self.unfollows += usize::from(deed.kind == FanOpKind::Unfollow);
            self.acts_that_open_windows +=
                usize::from(first_value(&delivery.plaintext, "MsgType") == Some("event"));
            if let FanOpKind::Paste(text) = deed.kind {
                let plaintext = delivery.plaintext.clone();
                self.typed_texts.push(TypedText { account: deed.account, text, plaintext });
            }
            if !matches!(delivery.kind.as_str(), "subscribe" | "unsubscribe") {
                continue;
            }
            let at = delivery.plaintext.split("<CreateTime>").nth(1).unwrap();
            self.subscription_changes.push(SubscriptionChange {
                account: deed.account,
                open_id: self.fans[deed.account][deed.fan].clone(),
                at: at.split('<').next().unwrap().parse().unwrap(),
                subscribed: delivery.kind == "subscribe",
                plaintext: delivery.plaintext,
            });
        }
    }

    async fn send(&mut self, account: usize, fan: usize, what: (bool, bool), keyed: bool, times: usize) {
        let text = format!("op{}.", self.steps);
        let open_id = self.fans[account][fan].clone();
        let mut body = json!({"to": open_id});
        if what.0 {
            body["content"] = json!({"msgtype": "text", "text": {"content": text}});
        }
        if what.1 {
            let value = |value: &str| json!({"value": value});
            body["template"] = json!({
                "template_id": "TMsimulatedOrderReady000000000000000000000001",
                "data": {"thing1": value(&text), "time2": value("now"), "amount3": value("1")},
            });
        }
        let path = format!("/v1/accounts/{}/messages", self.apps[account]);
        let once = keyed.then(|| format!("key-{}", self.steps));
        let key = &self.keys[tenant_of(account)];
        let tries =
            (0..times).map(|_| self.world.api(key, "POST", &path, Some(body.clone()), once.as_deref()));
        let accepted = join_all(tries).await.into_iter().flatten();
        let accepted = accepted.filter(|(status, _)| *status == 202);
        let accepted = accepted.map(|(_, message)| message["id"].as_str().unwrap().to_owned()).collect();
        self.sent.push(RequestedMessage { account, open_id, text, keyed, times, accepted });
    }
}

fn follower_action(what: FanOpKind) -> FollowerAction {
    let text = |content: &str| FollowerAction::Text { content: content.into(), bizmsgmenuid: None };
    match what {
        FanOpKind::Follow => FollowerAction::Follow { scene: None },
        FanOpKind::FollowByCode => FollowerAction::Follow { scene: Some("shop".into()) },
        FanOpKind::Unfollow => FollowerAction::Unfollow,
        FanOpKind::Ask => text("ask"),
        FanOpKind::AskForMore => text("more"),
        FanOpKind::Chat => text("anything"),
        FanOpKind::Paste(content) => text(content),
        FanOpKind::Click => FollowerAction::Click { key: "menu".into() },
        FanOpKind::Scan => FollowerAction::Scan { scene: "shop".into() },
    }
}

/// Follows and `ask` get a passive reply, `more` a reply that only a customer-service message can carry.
fn reply_rules(version: u32) -> Value {
    let text = |text: String| json!({"msgtype": "text", "text": {"content": text}});
    let program = json!({
        "msgtype": "miniprogrampage",
        "miniprogrampage": {
            "title": format!("more {version}"), "appid": "wx1111111111111111", "pagepath": "p", "thumb_media_id": "m",
        },
    });
    json!({
        "on_subscribe": text(format!("welcome {version}")),
        "keywords": [
            {"keyword": "ask", "match": "exact", "reply": text(format!("answer {version}"))},
            {"keyword": "more", "match": "contains", "reply": program},
        ],
        "default": null,
    })
}
