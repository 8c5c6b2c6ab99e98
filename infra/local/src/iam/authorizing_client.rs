//! Between a function's SDK and the services: refuses forbidden requests as IAM does, without sending them.

use std::{fmt, sync::Arc};

use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use local_sqs::protocol::TRACE_HEADER;
use serde_json::json;
use shared::aws::AwsClients;

use super::permission::Permissions;
use crate::lambda::chain::Chain;

/// The SDK's clients of one function, which refuse requests beyond its permissions.
#[must_use]
pub fn clients(
    function: &str,
    rights: &Permissions,
    http: &(impl HttpClient + Clone + 'static),
    aws: &AwsClients,
) -> AwsClients {
    let guard =
        AuthorizingClient { principal: Arc::new((function.to_owned(), rights.clone())), inner: http.clone() };
    let dynamodb = aws.dynamodb.config().to_builder().http_client(guard.clone());
    let sqs = aws.sqs.config().to_builder().http_client(guard);
    AwsClients {
        dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
        sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
    }
}

#[derive(Clone)]
struct AuthorizingClient<T> {
    principal: Arc<(String, Permissions)>,
    inner: T,
}

impl<T> fmt::Debug for AuthorizingClient<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorizingClient of {}", self.principal.0)
    }
}

impl<T: HttpClient + Clone> HttpClient for AuthorizingClient<T> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(AuthorizingClient { principal: Arc::clone(&self.principal), inner })
    }
}

impl HttpConnector for AuthorizingClient<SharedHttpConnector> {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let (function, rights) = &*self.principal;
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let target = target.as_str();
        match rights.check(target, request.body().bytes().unwrap_or_default()) {
            Ok(_) => {
                // on Lambda the SDK reads the trace header from its environment
                if let Some(chain) = Chain::current().filter(|_| target.starts_with("AmazonSQS.Send")) {
                    request.headers_mut().insert(TRACE_HEADER, chain.to_string());
                }
                self.inner.call(request)
            }
            Err(what) => {
                tracing::error!(function, what, "template.yaml does not allow {function}: {what}");
                HttpConnectorFuture::ready(access_denied(target, function, &what))
            }
        }
    }
}

/// The response of a service to a caller without permission.
///
/// # Errors
/// Never in practice: the status is valid.
pub fn access_denied(target: &str, function: &str, what: &str) -> Result<HttpResponse, ConnectorError> {
    let status = if target.starts_with("AmazonSQS") { 403 } else { 400 };
    let status = status.try_into().map_err(|_| ConnectorError::other("no status".into(), None))?;
    let message = format!("User: {function} is not authorized to perform: {what}");
    let body = json!({"__type": "com.amazon.coral.service#AccessDeniedException", "Message": message, "message": message});
    let mut response = HttpResponse::new(status, SdkBody::from(body.to_string()));
    response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    Ok(response)
}
