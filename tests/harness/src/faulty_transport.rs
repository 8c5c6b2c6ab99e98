//! How one instance of a function reaches DynamoDB, SQS and WeChat: in process, with the faults of
//! [`FaultGenerator`](crate::faults::FaultGenerator), and counted.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    stalled_stream_protection::StalledStreamProtectionConfig,
};
use aws_smithy_types::body::SdkBody;
use futures::future::BoxFuture;
use local::{iam::authorizing_client, lambda::chain::Chain};
use shared::{
    aws::AwsClients,
    wechat::transport::{Method, Transport, TransportError, WeChatRequest, WeChatResponse},
};
use tokio::sync::Notify;

use crate::{backends::Backends, dynamo, faults::Fault, rare_states::RareState, transient_errors};

/// Status, headers and body.
type AwsResponse = (u16, Vec<(&'static str, String)>, Vec<u8>);

fn json_headers() -> Vec<(&'static str, String)> {
    vec![("content-type", "application/x-amz-json-1.0".to_owned())]
}

/// Requests of one invocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Of DynamoDB.
    pub reads: u32,
    /// Of DynamoDB.
    pub writes: u32,
    /// Of WeChat.
    pub wechat: u32,
}

/// The transport of one instance.
pub struct FaultyTransport {
    base: Arc<Backends>,
    /// The function that it belongs to, whose rights apply.
    function: String,
    counts: Mutex<RequestCounts>,
    is_dead: AtomicBool,
    crashed: Notify,
}

impl FaultyTransport {
    /// The transport of a new instance.
    pub fn new(base: &Arc<Backends>, function: &str) -> Arc<Self> {
        Arc::new(Self {
            base: Arc::clone(base),
            function: function.to_owned(),
            counts: Mutex::default(),
            is_dead: AtomicBool::new(false),
            crashed: Notify::new(),
        })
    }

    /// The SDK's clients over it, without retries: faults reach the hub's own code, and the harness does
    /// the retries that the SDK would do unseen, by the seed.
    pub fn aws_clients(self: &Arc<Self>) -> AwsClients {
        let dynamodb = aws_sdk_dynamodb::Config::builder()
            .behavior_version(shared::aws::behavior_version())
            .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
            .allow_no_auth()
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .endpoint_url("http://dynamodb")
            .http_client(self.http_client());
        let sqs = aws_sdk_sqs::Config::builder()
            .behavior_version(shared::aws::behavior_version())
            .region(aws_sdk_sqs::config::Region::new("us-east-1"))
            .allow_no_auth()
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .endpoint_url("http://sqs")
            .http_client(self.http_client());
        AwsClients {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
        }
    }

    fn http_client(self: &Arc<Self>) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(Connector(Arc::clone(self)));
        http_client_fn(move |_, _| connector.clone())
    }

    /// Resets the counts: an invocation begins.
    pub fn reset_counts(&self) {
        *self.counts.lock().unwrap() = RequestCounts::default();
    }

    /// The requests of this invocation.
    pub fn counts(&self) -> RequestCounts {
        *self.counts.lock().unwrap()
    }

    /// Returns when the process has died.
    pub async fn crashed(&self) {
        self.crashed.notified().await;
    }

    /// The process dies here: this never returns, and the caller is dropped.
    async fn crash<T>(&self) -> T {
        self.is_dead.store(true, Ordering::SeqCst);
        self.crashed.notify_one();
        std::future::pending().await
    }

    /// A dead process sends nothing more: never returns after a crash.
    async fn hang_if_dead(&self) {
        if self.is_dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    async fn aws(
        &self,
        target: String,
        trace: Option<String>,
        body: Vec<u8>,
    ) -> Result<HttpResponse, ConnectorError> {
        self.hang_if_dead().await;
        if let Err(what) = self.base.iam_monitor.check(&self.function, &target, &body) {
            return authorizing_client::access_denied(&target, &self.function, &what);
        }
        let (service, operation) = target.split_once('.').unwrap();
        let dynamodb = service.starts_with("DynamoDB");
        let is_write = dynamodb && dynamo::is_write(operation);
        {
            let mut counts = self.counts.lock().unwrap();
            counts.reads += u32::from(dynamodb && !is_write);
            counts.writes += u32::from(is_write);
        }
        let faults = &self.base.faults;
        tokio::time::sleep(faults.latency()).await;
        self.hang_if_dead().await;
        let body = String::from_utf8(body).unwrap();
        let fault = faults.for_aws_request(&body);
        let (status, headers, answer) = match fault {
            Some(Fault::Lost) => return Err(ConnectorError::io("lost on the way".into())),
            Some(Fault::Crash) => {
                if faults.random_below(2) > 0 {
                    self.deliver(&target, trace.as_deref(), &body).await;
                } else if is_write && self.counts().writes > 1 {
                    self.base.rare_states.reached(RareState::CrashBetweenWrites);
                }
                return self.crash().await;
            }
            Some(Fault::Unanswered) => {
                self.deliver(&target, trace.as_deref(), &body).await;
                return Err(ConnectorError::timeout("landed, not answered".into()));
            }
            Some(Fault::Refused) if dynamodb => {
                let run = |body: &str| self.base.dynamodb(operation, body);
                let (status, json) = transient_errors::respond(faults, operation, &body, run);
                (status, json_headers(), json.into_bytes())
            }
            Some(Fault::SdkRetried) => {
                if is_write {
                    self.base.rare_states.reached(RareState::WriteRepeatedBySdk);
                }
                self.deliver_as_sdk_retries(&target, trace.as_deref(), &body).await?
            }
            _ => self.deliver(&target, trace.as_deref(), &body).await,
        };
        let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(answer));
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }

    /// Delivers the request and loses its response; so do the SDK's attempts, up to three in all. The second
    /// response is lost one time in four.
    async fn deliver_as_sdk_retries(
        &self,
        target: &str,
        trace: Option<&str>,
        body: &str,
    ) -> Result<AwsResponse, ConnectorError> {
        let faults = &self.base.faults;
        self.deliver(target, trace, body).await;
        for _ in 1..shared::aws::MAX_ATTEMPTS {
            tokio::time::sleep(Duration::from_millis(u64::from(1 + faults.random_below_in_request(100))))
                .await;
            self.hang_if_dead().await;
            let response = self.deliver(target, trace, body).await;
            if faults.random_below_in_request(4) > 0 {
                return Ok(response);
            }
        }
        Err(ConnectorError::timeout("landed, never answered".into()))
    }

    /// Delivers the request.
    async fn deliver(&self, target: &str, trace: Option<&str>, body: &str) -> AwsResponse {
        match target.split_once('.').unwrap() {
            // a short poll asks a subset of the servers: here those without messages
            ("AmazonSQS", "ReceiveMessage") if !body.contains("\"WaitTimeSeconds\":") => {
                (200, json_headers(), b"{}".to_vec())
            }
            ("AmazonSQS", _) => {
                local_sqs::protocol::handle_traced(&self.base.sqs, target, trace, body.as_bytes()).await
            }
            (_, operation) => {
                let (status, json) = self.base.dynamodb(operation, body);
                (status, json_headers(), json.into_bytes())
            }
        }
    }

    async fn wechat(&self, request: WeChatRequest) -> Result<WeChatResponse, TransportError> {
        self.hang_if_dead().await;
        self.counts.lock().unwrap().wechat += 1;
        let faults = &self.base.faults;
        let sim = self.base.sim.get().unwrap();
        let body = request.body.map(|b| String::from_utf8(b).unwrap()).unwrap_or_default();
        let path = request.url.split_once("://").unwrap().1;
        let path = &path[path.find('/').unwrap()..];
        let _watched = self.base.refresh_monitor.call_begins(path, &body);
        tokio::time::sleep(Duration::from_millis(u64::from(10 + faults.random_below(800)))).await;
        self.hang_if_dead().await;
        let fault = faults.draw(&[Fault::WeChatLost, Fault::WeChatUnanswered, Fault::WeChatBusy]);
        match fault {
            Some(Fault::WeChatLost) if faults.random_below(2) == 0 => {
                return Err(TransportError::NotSent("lost on the way".into()));
            }
            Some(Fault::WeChatLost) => {
                return Err(TransportError::Unanswered("lost on the way, as far as one can tell".into()));
            }
            Some(Fault::WeChatBusy) => {
                let busy = br#"{"errcode":-1,"errmsg":"system error"}"#.to_vec();
                return Ok(WeChatResponse { status: 200, body: busy });
            }
            _ => {}
        }
        let method = match request.method {
            Method::Get => "GET",
            Method::Post => "POST",
        };
        let answer = sim.request(method, path, &body).await.ok().filter(|_| fault.is_none());
        let answer = answer.ok_or_else(|| TransportError::Unanswered("landed, not answered".into()))?;
        self.base.refresh_monitor.call_answered(path);
        Ok(WeChatResponse { status: answer.status, body: answer.body.into_bytes() })
    }
}

impl Transport for FaultyTransport {
    fn send<'a>(&'a self, request: WeChatRequest) -> BoxFuture<'a, Result<WeChatResponse, TransportError>> {
        Box::pin(self.wechat(request))
    }
}

#[derive(Clone)]
struct Connector(Arc<FaultyTransport>);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let wire = Arc::clone(&self.0);
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let trace = Chain::current().map(|chain| chain.to_string());
        HttpConnectorFuture::new(async move { wire.aws(target, trace, body).await })
    }
}
