//! The harness: a hub with an embedded database and a scripted WeChat.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use futures::future::BoxFuture;
use oahub_testkit::{Endpoints, account, bind, load_config, services, start_dynamodb};
use serde_json::{Value, json};
use shared::{
    aws::AwsClients,
    clock::{Clock, ManualClock},
    deadline::Deadline,
    function::Function,
    model::{
        account::{AccountRecord, AccountType},
        api_key::ApiKey,
        credentials::AccessToken,
        event::StoredEvent,
        fan::FanId,
        message::{Channel, MessageRecord, MessageStatus},
        push_decision::FanActivity,
    },
    queue::jobs::SendJob,
    secret::Secret,
    services::Services,
    store::{message_leases::LeaseAttempt, timers::DueTimer},
    wechat::transport::{Transport, TransportError, WeChatRequest, WeChatResponse},
};

pub const TENANT: &str = "ten_1";
pub const ACCOUNT: &str = "wx00000000000000aa";
pub const CUSTOM: &str = "/cgi-bin/message/custom/send";
pub const TEMPLATE: &str = "/cgi-bin/message/template/send";
pub const REFRESH: &str = "/cgi-bin/component/api_authorizer_token";

type CallResult = Result<WeChatResponse, TransportError>;

/// Accepts only the newest token, returns the scripted responses first, and then success.
#[derive(Default)]
pub struct ScriptedWeChat {
    pub requests: Mutex<Vec<(String, Value)>>,
    answers: Mutex<HashMap<String, VecDeque<CallResult>>>,
    token: Mutex<String>,
    pub latency: Mutex<Duration>,
}

pub fn errcode(errcode: i64) -> CallResult {
    json_response(&json!({ "errcode": errcode, "errmsg": "as WeChat says" }))
}

pub fn json_response(body: &Value) -> CallResult {
    Ok(WeChatResponse { status: 200, body: body.to_string().into_bytes() })
}

pub fn lost_response() -> CallResult {
    Err(TransportError::Unanswered("timed out".into()))
}

pub fn not_sent() -> CallResult {
    Err(TransportError::NotSent("no connection".into()))
}

impl ScriptedWeChat {
    pub fn script(&self, path: &str, answers: impl IntoIterator<Item = CallResult>) {
        self.answers.lock().unwrap().entry(path.to_owned()).or_default().extend(answers);
    }

    /// Makes every token invalid until the next refresh.
    pub fn replace_token(&self) {
        *self.token.lock().unwrap() = "none is good".into();
    }

    /// The bodies of all requests to `path`.
    pub fn bodies(&self, path: &str) -> Vec<Value> {
        let asked = self.requests.lock().unwrap();
        asked.iter().filter(|(p, _)| p == path).map(|(_, body)| body.clone()).collect()
    }

    /// Texts that were sent, in order.
    pub fn sent_texts(&self) -> Vec<String> {
        let text = |body: Value| body["text"]["content"].as_str().unwrap_or_default().to_owned();
        self.bodies(CUSTOM).into_iter().map(text).collect()
    }

    fn respond(&self, path: &str, token: &str) -> CallResult {
        if let Some(answer) = self.answers.lock().unwrap().get_mut(path).and_then(VecDeque::pop_front) {
            return answer;
        }
        let count = self.requests.lock().unwrap().len();
        match path {
            "/cgi-bin/component/api_component_token" => {
                json_response(&json!({ "component_access_token": "component", "expires_in": 7200 }))
            }
            REFRESH => {
                let fresh = format!("token-{count}");
                (*self.token.lock().unwrap()).clone_from(&fresh);
                json_response(
                    &json!({ "authorizer_access_token": fresh, "expires_in": 7200, "authorizer_refresh_token": "r" }),
                )
            }
            _ if token != *self.token.lock().unwrap() => errcode(40001),
            TEMPLATE => json_response(&json!({ "errcode": 0, "errmsg": "ok", "msgid": 9_000_000 + count })),
            _ => errcode(0),
        }
    }
}

impl Transport for ScriptedWeChat {
    fn send<'a>(&'a self, request: WeChatRequest) -> BoxFuture<'a, CallResult> {
        Box::pin(async move {
            let latency = *self.latency.lock().unwrap();
            if latency > Duration::ZERO {
                tokio::time::sleep(latency).await;
            }
            let (url, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
            let path = url.strip_prefix("https://api.weixin.qq.com").unwrap();
            let token = query.rsplit_once("access_token=").map_or("", |(_, token)| token);
            let body = serde_json::from_slice(&request.body.unwrap_or_default()).unwrap_or_default();
            self.requests.lock().unwrap().push((path.to_owned(), body));
            self.respond(path, token)
        })
    }
}

pub struct SendHarness {
    pub app: Arc<Services>,
    pub db: aws_sdk_dynamodb::Client,
    batches: AtomicUsize,
    pub clock: ManualClock,
    pub wechat: Arc<ScriptedWeChat>,
    pub function: Function,
}

impl SendHarness {
    /// A hub with one bound service account.
    pub async fn new() -> Self {
        let (_, url) = start_dynamodb().await;
        // There is no SQS: the database's endpoint refuses to postpone a job, which is harmless.
        let config = load_config(message_send::NEEDS, &Endpoints { dynamodb: &url, sqs: &url }, &[]);
        let clock = ManualClock::at(1_735_689_600);
        let wechat = Arc::new(ScriptedWeChat::default());
        let db = AwsClients::new(&config.resources, Credentials::new("a", "b", None, None, "test")).dynamodb;
        let app = services(config, &clock, 1, wechat.clone());
        let function = message_send::function(Arc::clone(&app));
        let world = Self { app, db, batches: AtomicUsize::new(0), clock, wechat, function };
        world.app.store.component().store_ticket(&Secret::new("ticket"), world.clock.unix()).await.unwrap();
        world.bind(ACCOUNT, AccountType::Service, &[1, 15, 4, 7, 2, 3, 11, 8]).await;
        world
    }

    pub async fn bind(&self, app_id: &str, account_type: AccountType, granted: &[u32]) {
        self.bind_for_tenant(TENANT, app_id, account_type, granted).await;
    }

    pub async fn bind_for_tenant(
        &self,
        tenant: &str,
        app_id: &str,
        account_type: AccountType,
        granted: &[u32],
    ) {
        let now = self.clock.unix();
        let account =
            AccountRecord { account_type, granted: granted.to_vec(), ..account(tenant, app_id, now) };
        let token = AccessToken { token: Secret::new("token-0"), issued_at: now, expires_in: 7200 };
        *self.wechat.token.lock().unwrap() = "token-0".into();
        bind(&self.app, account, Some(&token), now).await;
    }

    /// The fan writes, which opens a reply window of 48 hours.
    pub async fn fan_writes(&self, open_id: &str) {
        let fan = FanId { tenant: TENANT, app_id: ACCOUNT, open_id };
        self.app
            .store
            .fans()
            .record_activity(fan, &FanActivity::Message, self.clock.unix(), "M1")
            .await
            .unwrap();
    }

    pub async fn window_sends_used(&self, open_id: &str) -> u32 {
        let fan = FanId { tenant: TENANT, app_id: ACCOUNT, open_id };
        self.app.store.fans().get(fan).await.unwrap().unwrap().message_used
    }

    /// Accepts a message. Returns its job.
    pub async fn accept(&self, id: &str, to: &str, content: bool, template: bool) -> SendJob {
        self.accept_for(ACCOUNT, id, to, content, template).await
    }

    pub async fn accept_for(
        &self,
        app_id: &str,
        id: &str,
        to: &str,
        content: bool,
        template: bool,
    ) -> SendJob {
        self.accept_for_tenant(TENANT, app_id, id, to, content, template).await
    }

    pub async fn accept_for_tenant(
        &self,
        tenant: &str,
        app_id: &str,
        id: &str,
        to: &str,
        content: bool,
        template: bool,
    ) -> SendJob {
        let content = content.then(|| json!({ "msgtype": "text", "text": { "content": id } }));
        let template = template.then(|| json!({ "template_id": "t1", "data": { "first": { "value": id } } }));
        let created_at = self.clock.now().as_millisecond();
        let message = MessageRecord {
            id: id.into(),
            tenant_id: tenant.into(),
            app_id: app_id.into(),
            to: to.into(),
            status: MessageStatus::Queued,
            channel: None,
            content: content.as_ref().map(Value::to_string),
            template: template.as_ref().map(Value::to_string),
            wechat_msg_id: None,
            error: None,
            created_at,
            sent_at: None,
            claimed_at: None,
            claimed_by: None,
            first_claimed_at: None,
        };
        assert!(self.app.store.messages().create(&message).await.unwrap().is_none());
        SendJob::MessageV1 {
            message_id: id.into(),
            tenant_id: tenant.into(),
            app_id: app_id.into(),
            to: to.into(),
            content,
            template,
            created_at,
        }
    }

    /// Deletes an item, and returns it.
    pub async fn take_item(
        &self,
        table: &str,
        pk: &str,
        sk: &str,
    ) -> Option<HashMap<String, AttributeValue>> {
        let delete = self.db.delete_item().table_name(table).return_values(ReturnValue::AllOld);
        let delete = delete.key("pk", AttributeValue::S(pk.into())).key("sk", AttributeValue::S(sk.into()));
        delete.send().await.unwrap().attributes
    }

    /// Delivers a batch for the `receives`-th time. Returns the indexes of the jobs that failed.
    pub async fn deliver<'a>(
        &self,
        jobs: impl IntoIterator<Item = &'a SendJob>,
        receives: u32,
    ) -> Vec<usize> {
        self.deliver_late(jobs, receives, 0).await
    }

    /// The same for jobs that were in the queue for `lag` milliseconds.
    pub async fn deliver_late<'a>(
        &self,
        jobs: impl IntoIterator<Item = &'a SendJob>,
        receives: u32,
        lag: i64,
    ) -> Vec<usize> {
        let batch = self.batches.fetch_add(1, Ordering::SeqCst);
        let sent_at = self.clock.now().as_millisecond() - lag;
        let records: Vec<Value> = jobs
            .into_iter()
            .enumerate()
            .map(|(n, job)| sqs_record(&format!("{n} {batch}"), job, receives, sent_at))
            .collect();
        let answer = self.function.call(json!({ "Records": records }), self.deadline()).await.unwrap();
        let failures = answer["batchItemFailures"].as_array().unwrap();
        let place = |id: &Value| id.as_str().unwrap().split_once(' ').unwrap().0.parse().unwrap();
        let mut failed: Vec<usize> = failures.iter().map(|f| place(&f["itemIdentifier"])).collect();
        failed.sort_unstable();
        failed
    }

    /// Leases messages like a worker that then dies. Returns how many it got.
    pub async fn lease_and_die(&self, claims: &[(&str, Option<Channel>)]) -> usize {
        let store = &self.app.store;
        let (claims, _) = store
            .message_leases()
            .acquire(store.new_writer_id(), self.clock.unix(), claims, &[])
            .await
            .unwrap();
        claims.iter().filter(|claim| matches!(claim, LeaseAttempt::Acquired)).count()
    }

    /// The deadline of an invocation that begins now, as in the template.
    fn deadline(&self) -> Deadline {
        Deadline::after(&self.clock, Duration::from_secs(30))
    }

    /// The operator suspends the tenant.
    pub async fn suspend(&self) {
        self.create_tenant(TENANT, "suspended").await;
    }

    /// A tenant that the operator knows.
    pub async fn create_tenant(&self, id: &str, status: &str) {
        let tenant = json!({
            "id": id, "name": "Invented Cafe", "status": status, "created_at": self.clock.now(),
        });
        let tenant = serde_json::from_value(tenant).unwrap();
        let key = ApiKey { id: format!("key_of_{id}"), tenant_id: id.into(), ..ApiKey::default() };
        self.app.store.tenants().create(&tenant, &key, &Secret::new(format!("oak_{id}"))).await.unwrap();
    }

    /// The fan leaves.
    pub async fn fan_leaves(&self, open_id: &str) {
        let fan = FanId { tenant: TENANT, app_id: ACCOUNT, open_id };
        self.app
            .store
            .fans()
            .record_activity(fan, &FanActivity::Unfollowed, self.clock.unix(), "E1")
            .await
            .unwrap();
    }

    /// Takes the jobs of all timers that are due, in their order.
    pub async fn take_due_jobs(&self) -> Vec<SendJob> {
        let due = self.due_timers(self.clock.now().as_millisecond()).await;
        self.app.store.timers().delete(&due).await.unwrap();
        due.iter().map(|due| serde_json::from_str(&due.timer.body).unwrap()).collect()
    }

    /// Timers that are due by a clock that shows the unix millisecond `now`.
    pub async fn due_timers(&self, now: i64) -> Vec<DueTimer> {
        let mut timers = Vec::new();
        for shard in shared::timers::all_shards() {
            timers.extend(self.app.store.timers().due(shard, now, 100, None).await.unwrap().timers);
        }
        timers
    }

    /// The ids of template messages that WeChat was asked to send, in order.
    pub fn template_message_ids(&self) -> Vec<String> {
        let id = |body: &Value| body["client_msg_id"].as_str().unwrap_or_default().to_owned();
        self.wechat.bodies(TEMPLATE).iter().map(id).collect()
    }

    /// Makes the item whose key ends with `key` unreadable for this release.
    pub async fn corrupt_item(&self, table: &str, key: &str) {
        let found = self.db.scan().table_name(table).send().await.unwrap().items.unwrap();
        let is = |item: &&HashMap<String, AttributeValue>| {
            ["pk", "sk"].iter().any(|part| item[*part].as_s().unwrap().ends_with(key))
        };
        let mut item = found.iter().find(is).unwrap().clone();
        for (name, value) in &mut item {
            if !["pk", "sk", "claimed_by", "people", "customer_id"].contains(&name.as_str()) {
                *value = AttributeValue::Bool(true);
            }
        }
        self.db.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
    }

    pub async fn message(&self, id: &str) -> MessageRecord {
        self.app.store.messages().get(TENANT, id).await.unwrap().unwrap()
    }

    pub async fn failure_code(&self, id: &str) -> String {
        self.message(id).await.error.map(|e| e.code.to_string()).unwrap_or_default()
    }

    pub async fn events(&self, open_id: &str) -> Vec<StoredEvent> {
        let fan = FanId { tenant: TENANT, app_id: ACCOUNT, open_id };
        self.app.store.timeline().list(&[fan], None, 50, None).await.unwrap().0
    }
}

fn sqs_record(id: &str, job: &SendJob, receives: u32, sent_at: i64) -> Value {
    let mut attributes = json!({
        "ApproximateReceiveCount": receives.to_string(), "SentTimestamp": sent_at.to_string(),
        "MessageGroupId": job.group(),
    });
    // the others come by a standard queue
    if matches!(job, SendJob::MessageV1 { .. } | SendJob::WaitedV1 { .. }) {
        attributes["SequenceNumber"] = "1".into();
    }
    json!({
        "messageId": id,
        "receiptHandle": format!("handle {id}"),
        "body": serde_json::to_string(job).unwrap(),
        "attributes": attributes,
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "awsRegion": "us-east-1",
    })
}
