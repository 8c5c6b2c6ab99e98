//! Connects the SDK to the embedded services without a socket. Over loopback, a request would take longer
//! to transmit than to answer.

use aws_sdk_dynamodb::config::Region;
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
    stalled_stream_protection::StalledStreamProtectionConfig,
};
use aws_smithy_types::body::SdkBody;
use local_sqs::{
    Sqs,
    protocol::{self, TRACE_HEADER},
};
use shared::{aws::AwsClients, config::Resources};

use crate::database::{Database, operations};

/// Both services, as the SDK's HTTP client.
#[derive(Clone)]
pub struct InProcessHttp {
    database: Database,
    sqs: Sqs,
}

impl InProcessHttp {
    /// A client of these two services.
    #[must_use]
    pub fn new(database: &Database, sqs: &Sqs) -> Self {
        Self { database: database.clone(), sqs: sqs.clone() }
    }

    /// The SDK's clients for the runner itself: no permissions are checked. Requests are not signed, since nothing
    /// verifies signatures; stalled-stream protection is off because it would abort long polls.
    #[must_use]
    pub fn clients(&self, resources: &Resources) -> AwsClients {
        let region = Region::new(resources.region.clone());
        let dynamodb = aws_sdk_dynamodb::Config::builder()
            .behavior_version(shared::aws::behavior_version())
            .region(region.clone())
            .endpoint_url("http://dynamodb")
            .allow_no_auth()
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(self.clone());
        let sqs = aws_sdk_sqs::Config::builder()
            .behavior_version(shared::aws::behavior_version())
            .region(region)
            .endpoint_url("http://sqs")
            .allow_no_auth()
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(self.clone());
        AwsClients {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
        }
    }
}

impl HttpClient for InProcessHttp {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl std::fmt::Debug for InProcessHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InProcessHttp")
    }
}

impl HttpConnector for InProcessHttp {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let wire = self.clone();
        HttpConnectorFuture::new(async move { wire.respond(&request).await })
    }
}

impl InProcessHttp {
    async fn respond(&self, request: &HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default();
        let (status, headers, body) = match target.split_once('.') {
            Some(("AmazonSQS", _)) => {
                let trace = request.headers().get(TRACE_HEADER);
                protocol::handle_traced(&self.sqs, target, trace, body).await
            }
            Some((_, operation)) => {
                let (status, json) = self.database.call(operation, body).await;
                let headers = vec![("content-type", operations::CONTENT_TYPE.to_owned())];
                (status, headers, json.into_bytes())
            }
            None => return Err(ConnectorError::user("a request without X-Amz-Target".into())),
        };
        let status = status.try_into().map_err(|_| ConnectorError::other("no status".into(), None))?;
        let mut response = HttpResponse::new(status, SdkBody::from(body));
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }
}
