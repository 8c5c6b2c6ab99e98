//! What a function has in its hands: settings, time, randomness, store, queues and WeChat, each built once.

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_smithy_http_client::{Builder, tls};

use crate::{
    clock::{Clock, SystemClock},
    config::{Config, ConfigError, Resources},
    envelope::Envelope,
    metrics::Metrics,
    queue::Queues,
    random::{Rand, Random},
    store::Store,
    wechat::{self, http::HttpTransport, transport::Transport},
};

/// Everything that a handler may reach.
pub struct App {
    /// Settings.
    pub config: Config,
    /// Opens callbacks and seals replies.
    pub envelope: Envelope,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// DynamoDB.
    pub store: Store,
    /// SQS.
    pub queues: Queues,
    /// WeChat's server API.
    pub wechat: wechat::Client,
    /// CloudWatch.
    pub metrics: Metrics,
}

/// What can be put in another's place: by the local runner and by the simulation tests.
pub struct Parts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// How WeChat is reached.
    pub transport: Arc<dyn Transport>,
    /// How DynamoDB and SQS are reached.
    pub aws: AwsClients,
}

/// The SDK's clients; clones share their connections.
#[derive(Clone)]
pub struct AwsClients {
    /// DynamoDB.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// SQS.
    pub sqs: aws_sdk_sqs::Client,
}

impl AwsClients {
    /// Clients for `resources`: its endpoints where it names some, AWS's own else. `credentials` are those that
    /// Lambda puts in the environment.
    #[must_use]
    pub fn new(resources: &Resources, credentials: Credentials) -> Self {
        let http = if resources.dynamodb_url.is_some() && resources.sqs_url.is_some() {
            Builder::new().build_http()
        } else {
            Builder::new()
                .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
                .build_https()
        };
        let dynamodb = aws_sdk_dynamodb::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_dynamodb::config::Region::new(resources.region.clone()))
            .credentials_provider(credentials.clone())
            .http_client(http.clone());
        let dynamodb = match &resources.dynamodb_url {
            Some(url) => dynamodb.endpoint_url(url),
            None => dynamodb,
        };
        let sqs = aws_sdk_sqs::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_sqs::config::Region::new(resources.region.clone()))
            .credentials_provider(credentials)
            .http_client(http);
        let sqs = match &resources.sqs_url {
            Some(url) => sqs.endpoint_url(url),
            None => sqs,
        };
        Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
        }
    }
}

impl App {
    /// A function's own, from Lambda's environment.
    ///
    /// # Errors
    /// The first setting that is missing or malformed.
    #[expect(clippy::disallowed_methods, reason = "Lambda's own credentials, not a setting of ours")]
    pub fn from_env() -> Result<Arc<Self>, ConfigError> {
        let config = Config::from_env()?;
        let env = |name: &str| std::env::var(name).unwrap_or_default();
        let credentials = Credentials::new(
            env("AWS_ACCESS_KEY_ID"),
            env("AWS_SECRET_ACCESS_KEY"),
            Some(env("AWS_SESSION_TOKEN")).filter(|token| !token.is_empty()),
            None,
            "environment",
        );
        let aws = AwsClients::new(&config.resources, credentials);
        Self::new(
            config,
            Parts {
                clock: Arc::new(SystemClock),
                random: Arc::new(Rand::from_system()),
                transport: Arc::new(HttpTransport::new()),
                aws,
            },
        )
    }

    /// With parts of the caller's choice.
    ///
    /// # Errors
    /// The AES keys do not decode.
    pub fn new(config: Config, parts: Parts) -> Result<Arc<Self>, ConfigError> {
        Ok(Arc::new(Self {
            envelope: Envelope::new(&config.component)?,
            store: Store::new(parts.aws.dynamodb, &config.resources, Arc::clone(&parts.clock)),
            queues: Queues::new(parts.aws.sqs, &config.resources),
            wechat: wechat::Client::new(parts.transport, config.wechat_api_url.clone()),
            metrics: Metrics::new(config.resources.stack.clone()),
            clock: parts.clock,
            random: parts.random,
            config,
        }))
    }

    /// A fresh id with `prefix`.
    #[must_use]
    pub fn fresh_id(&self, prefix: &str) -> String {
        crate::ids::fresh(prefix, &*self.clock, &*self.random)
    }
}
