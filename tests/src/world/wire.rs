//! How one instance of a function reaches DynamoDB, SQS and WeChat: in process, with the faults of
//! [`FaultGenerator`](super::faults::FaultGenerator), and counted.

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
use local::{lambda::chain::Chain, rights::guard};
use shared::{
    aws::AwsClients,
    wechat::transport::{Method, Request, Response, Transport, TransportError},
};
use tokio::sync::Notify;

use super::{Base, chaos::Fate, dynamo, refusals};

fn json_headers() -> Vec<(&'static str, String)> {
    vec![("content-type", "application/x-amz-json-1.0".to_owned())]
}

/// Requests of one invocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Of DynamoDB.
    pub reads: u32,
    /// Of DynamoDB.
    pub writes: u32,
    /// Of WeChat.
    pub wechat: u32,
}

/// The transport of one instance.
pub struct Wire {
    base: Arc<Base>,
    /// The function that it belongs to, whose rights apply.
    function: String,
    seen: Mutex<Seen>,
    dead: AtomicBool,
    death: Notify,
}

impl Wire {
    /// The transport of a new instance.
    pub fn new(base: &Arc<Base>, function: &str) -> Arc<Self> {
        Arc::new(Self {
            base: Arc::clone(base),
            function: function.to_owned(),
            seen: Mutex::default(),
            dead: AtomicBool::new(false),
            death: Notify::new(),
        })
    }

    /// The SDK's clients over it, without retries: faults reach the hub's own code, and the harness does
    /// the retries that the SDK would do unseen, by the seed.
    pub fn clients(self: &Arc<Self>) -> AwsClients {
        let dynamodb = aws_sdk_dynamodb::Config::builder()
            .behavior_version(shared::aws::behavior())
            .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
            .allow_no_auth()
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .endpoint_url("http://dynamodb")
            .http_client(self.client());
        let sqs = aws_sdk_sqs::Config::builder()
            .behavior_version(shared::aws::behavior())
            .region(aws_sdk_sqs::config::Region::new("us-east-1"))
            .allow_no_auth()
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .endpoint_url("http://sqs")
            .http_client(self.client());
        AwsClients {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
        }
    }

    fn client(self: &Arc<Self>) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(Line(Arc::clone(self)));
        http_client_fn(move |_, _| connector.clone())
    }

    /// Resets the counts: an invocation begins.
    pub fn begin(&self) {
        *self.seen.lock().unwrap() = Seen::default();
    }

    /// The requests of this invocation.
    pub fn seen(&self) -> Seen {
        *self.seen.lock().unwrap()
    }

    /// Returns when the process has died.
    pub async fn death(&self) {
        self.death.notified().await;
    }

    /// The process dies here: this never returns, and the caller is dropped.
    async fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.death.notify_one();
        self.alive().await;
    }

    /// A dead process sends nothing more: never returns after a crash.
    async fn alive(&self) {
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    async fn aws(
        &self,
        target: String,
        trace: Option<String>,
        body: Vec<u8>,
    ) -> Result<HttpResponse, ConnectorError> {
        self.alive().await;
        if let Err(what) = self.base.usage.check(&self.function, &target, &body) {
            return guard::refusal(&target, &self.function, &what);
        }
        let (service, operation) = target.split_once('.').unwrap();
        let dynamodb = service.starts_with("DynamoDB");
        {
            let mut seen = self.seen.lock().unwrap();
            seen.reads += u32::from(dynamodb && !dynamo::writes(operation));
            seen.writes += u32::from(dynamodb && dynamo::writes(operation));
        }
        let chaos = &self.base.chaos;
        tokio::time::sleep(chaos.latency()).await;
        self.alive().await;
        let body = String::from_utf8(body).unwrap();
        let fate = chaos.aws(&body);
        if fate == Fate::Lost {
            return Err(ConnectorError::io("lost on the way".into()));
        }
        if fate == Fate::Crash && chaos.roll(2) == 0 {
            self.die().await;
        }
        let (status, headers, answer) = match fate {
            Fate::Refused if dynamodb => {
                let run = |body: &str| self.base.dynamodb(operation, body);
                let (status, json) = refusals::answer(chaos, operation, &body, run);
                (status, json_headers(), json.into_bytes())
            }
            Fate::Repeated => {
                let mut attempt = 1;
                loop {
                    let answer = self.land(&target, trace.as_deref(), &body).await;
                    // the first response is always lost, the second one time in four; three attempts in all
                    if attempt > 1 && chaos.pick(4) > 0 {
                        break answer;
                    }
                    if attempt == shared::aws::ATTEMPTS {
                        return Err(ConnectorError::timeout("landed, never answered".into()));
                    }
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(u64::from(1 + chaos.pick(100)))).await;
                    self.alive().await;
                }
            }
            _ => self.land(&target, trace.as_deref(), &body).await,
        };
        match fate {
            Fate::Crash => self.die().await,
            Fate::Unanswered => return Err(ConnectorError::timeout("landed, not answered".into())),
            Fate::Fine | Fate::Lost | Fate::Odd | Fate::Repeated | Fate::Refused => {}
        }
        let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(answer));
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }

    /// Delivers the request.
    async fn land(
        &self,
        target: &str,
        trace: Option<&str>,
        body: &str,
    ) -> (u16, Vec<(&'static str, String)>, Vec<u8>) {
        match target.split_once('.').unwrap() {
            // a short poll asks a subset of the servers: here those without messages
            ("AmazonSQS", "ReceiveMessage") if !body.contains("\"WaitTimeSeconds\":") => {
                (200, json_headers(), b"{}".to_vec())
            }
            ("AmazonSQS", _) => {
                local::sqs::protocol::handle_traced(&self.base.sqs, target, trace, body.as_bytes()).await
            }
            (_, operation) => {
                let (status, json) = self.base.dynamodb(operation, body);
                (status, json_headers(), json.into_bytes())
            }
        }
    }

    async fn wechat(&self, request: Request) -> Result<Response, TransportError> {
        self.alive().await;
        self.seen.lock().unwrap().wechat += 1;
        let chaos = &self.base.chaos;
        let sim = self.base.sim.get().unwrap();
        let body = request.body.map(|b| String::from_utf8(b).unwrap()).unwrap_or_default();
        let path = request.url.split_once("://").unwrap().1;
        let path = &path[path.find('/').unwrap()..];
        let _watched = self.base.flights.take_off(path, &body);
        tokio::time::sleep(Duration::from_millis(u64::from(10 + chaos.roll(800)))).await;
        self.alive().await;
        let fate = chaos.wechat();
        match fate {
            Fate::Lost if chaos.roll(2) == 0 => {
                return Err(TransportError::NotSent("lost on the way".into()));
            }
            Fate::Lost => {
                return Err(TransportError::Unanswered("lost on the way, as far as one can tell".into()));
            }
            Fate::Odd => {
                let busy = br#"{"errcode":-1,"errmsg":"system error"}"#.to_vec();
                return Ok(Response { status: 200, body: busy });
            }
            Fate::Fine | Fate::Unanswered | Fate::Crash | Fate::Repeated | Fate::Refused => {}
        }
        let method = match request.method {
            Method::Get => "GET",
            Method::Post => "POST",
        };
        let answer = sim.request(method, path, &body).await;
        let lost = || TransportError::Unanswered("landed, not answered".into());
        if fate == Fate::Unanswered {
            return Err(lost());
        }
        let answer = answer.map_err(|_| lost())?;
        self.base.flights.landed(path);
        Ok(Response { status: answer.status, body: answer.body.into_bytes() })
    }
}

impl Transport for Wire {
    fn send<'a>(&'a self, request: Request) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(self.wechat(request))
    }
}

#[derive(Clone)]
struct Line(Arc<Wire>);

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

impl HttpConnector for Line {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let wire = Arc::clone(&self.0);
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let trace = Chain::current().map(|chain| chain.to_string());
        HttpConnectorFuture::new(async move { wire.aws(target, trace, body).await })
    }
}
